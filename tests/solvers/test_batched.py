"""Many examples: chunks, devices, and the loop that drops what is done."""
import constructors
import jax
import numpy as np
import pytest

from inverse_matching import solvers
from inverse_matching.errors import InputError
from inverse_matching.solvers import batched

MODEL = constructors.dense_teacher((12,), scale=1.0)
PARAMS = MODEL.init(jax.random.key(0))
Z = np.asarray(MODEL.prior.sample(jax.random.split(jax.random.key(1), 64)))


def jitted(z, **settings):
  return jax.jit(lambda z: solvers.solve(MODEL, PARAMS, z, solver='fixed_point', **settings))(z)


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """A batch of 64 is halved five times, and looked at often."""
  monkeypatch.setattr(batched, 'SMALLEST', 2)
  monkeypatch.setattr(batched, 'SWEEPS', 1)


@pytest.mark.parametrize('settings', [{}, {'tolerance': 0.01}, {'max_sweeps': 3}, {'tolerance': 0.0}])
def test_compacting_is_the_fixed_point(settings):
  """The loop on the host, which drops examples that are done, and the jitted one: the same x, sweeps and change."""
  got, expected = batched.compacting(MODEL, **settings)(PARAMS, Z), jitted(Z, **settings)
  np.testing.assert_allclose(got.x, expected.x, atol=1e-5)
  np.testing.assert_array_equal(got.sweeps, expected.sweeps)
  np.testing.assert_allclose(got.change, expected.change, atol=1e-6)


def test_done_examples_cost_no_work(monkeypatch):
  """Batches shrink by halves, to no less than holds those at work, and down to 2."""
  sizes, advance = [], batched.advance

  def spy(sweep, progress, *args):
    sizes.append(len(progress.x))  # called once for each size that is compiled
    return advance(sweep, progress, *args)

  monkeypatch.setattr(batched, 'advance', spy)
  sweeps = batched.compacting(MODEL)(PARAMS, Z).sweeps
  assert sizes[0] == 64 and sizes == sorted(sizes, reverse=True) and set(sizes) <= {64, 32, 16, 8, 4, 2} and len(sizes) > 2
  assert sizes[-1] >= np.sum(sweeps == sweeps.max()) and len(np.unique(sweeps)) > 2


def test_a_start_saves_sweeps():
  """From the solution, one sweep."""
  solve = batched.solver_fn(MODEL, 'fixed_point', tolerance=1e-4)
  warm = solve(PARAMS, Z, init=solve(PARAMS, Z).x)
  np.testing.assert_array_equal(warm.sweeps, 1)


@pytest.mark.parametrize('solver', ['ancestral', 'fixed_point', 'auto'])
def test_bits_do_not_depend_on_the_devices(solver):
  """One device or eight, all examples or a few: the same bits."""
  settings = dict(solver=solver, chunk=16)
  one, eight = (batched.solver_fn(MODEL, devices=n, **settings)(PARAMS, Z[:40]) for n in (1, 8))
  jax.tree.map(np.testing.assert_array_equal, one, eight)
  few = batched.solver_fn(MODEL, devices=3, **settings)(PARAMS, Z[:32])
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:32], b), one, few)


@pytest.mark.parametrize('name', [pytest.param('pixelcnn', marks=pytest.mark.slow), 'chain'])
def test_networks_and_chains(name):
  """The solvers that serve them give T^-1."""
  case = constructors.teacher_case(name)
  z = np.asarray(constructors.encode(name)(case.params, case.events)[0])
  for solver in ['auto', 'fixed_point']:
    got = batched.solver_fn(case.model, solver, 1, chunk=4)(case.params, z)
    assert got.x.shape == z.shape and constructors.relative_error(got.x, case.events) < 2e-4


def test_progress_counts_examples():
  """Every example once, for both ways over the devices."""
  for solver in ('ancestral', 'fixed_point'):
    counts = []
    batched.solver_fn(MODEL, solver, 2, chunk=16)(PARAMS, Z[:40], progress=counts.append)
    assert sum(counts) == 40 and len(counts) > 1


def test_refused_before_work():
  """When the function is made, not when it is called."""
  with pytest.raises(InputError, match='Unknown solver'):
    batched.solver_fn(MODEL, 'newton')
  with pytest.raises(InputError, match='keeps no activations'):
    batched.solver_fn(MODEL, 'cached')
