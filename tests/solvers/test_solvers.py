"""z_to_x: exact, early, independent of the batch, safe against overflow."""
import functools

import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import solvers, teachers
from inverse_matching.errors import InputError
from inverse_matching.teachers import build
from inverse_matching.types import Gaussian

SOLVABLE = ['pixelcnn', 'pixelcnn_3_channels', 'pixelcnn_permuted', 'dense', 'dense_reversed', 'chain']


def solve(model, params, z, **settings):
  return jax.jit(lambda p, z: solvers.solve(model, p, z, **settings))(params, z)


def recurrent(coefficient, num_dims=8):
  """x_t = coefficient x_{t-1} + z_t: every dimension waits for the one before."""

  def conditional(params, x, cond=None, key=None):
    return Gaussian(coefficient * jnp.pad(x[:, :-1], ((0, 0), (1, 0))), jnp.zeros_like(x))

  return build.autoregressive((num_dims,), lambda key: (), conditional)


@pytest.mark.parametrize('name', SOLVABLE)
def test_solvers_agree(name):
  """Ancestral sampling = the fixed point = the inverse of x_to_z, on sharp conditionals."""
  case = constructors.teacher_case(name)
  z = constructors.encode(name)(case.params, case.events)[0]
  ancestral = solve(case.model, case.params, z, solver='ancestral')
  fixed = solve(case.model, case.params, z, solver='fixed_point')
  assert constructors.relative_error(ancestral.x, case.events) < 2e-4
  assert constructors.relative_error(fixed.x, ancestral.x) < 1e-4
  blocks = max(1, len(case.model.blocks))
  num_dims = z[0].size
  np.testing.assert_array_equal(ancestral.sweeps, num_dims * blocks)
  assert np.all((1 < fixed.sweeps) & (fixed.sweeps <= num_dims * blocks))
  assert not np.any(ancestral.change) and np.all(fixed.change <= solvers.TOLERANCE)


def test_ancestral_follows_the_order():
  """With the order of another teacher the answer is wrong: the order is used."""
  case = constructors.teacher_case('dense_reversed')
  z = constructors.encode('dense_reversed')(case.params, case.events)[0]
  sweep = lambda x: case.model.sweep(case.params, z, x)
  right = solvers.ancestral(sweep, z, case.order)
  wrong = solvers.ancestral(sweep, z, None)
  assert constructors.relative_error(right.x, case.events) < 1e-4
  assert constructors.relative_error(wrong.x, case.events) > 1e-2


def test_k_sweeps_settle_k_dimensions():
  """After k sweeps the first k dimensions in the order of generation are final."""
  case = constructors.teacher_case('dense_reversed')
  z = constructors.encode('dense_reversed')(case.params, case.events)[0]
  x = jnp.zeros_like(z)
  for k in range(1, 7):
    x = case.model.sweep(case.params, z, x).x
    done = list(case.order[:k])
    np.testing.assert_allclose(x[:, done], case.events[:, done], atol=1e-4)
    if k < 4:
      assert np.abs(x - case.events)[:, list(case.order[k + 1:])].max() > 1e-2, 'settled too early to prove anything'


def test_examples_stop_by_themselves():
  """Sweeps differ between examples, and a result has the same bits whatever its batchmates are."""
  model = constructors.dense_teacher((12,), scale=1.0)
  params = model.init(jax.random.key(0))
  run = jax.jit(lambda z: solvers.solve(model, params, z))
  z = model.prior.sample(jax.random.split(jax.random.key(1), 16))
  whole = run(z)
  assert len(np.unique(whole.sweeps)) > 1
  assert int(whole.sweeps.min()) < 11
  for fill in (z[::-1], 100 * z, jnp.full_like(z, jnp.nan)):
    mixed = run(jnp.where(np.arange(16)[:, None] % 2 == 0, z, fill))
    np.testing.assert_array_equal(mixed.x[::2], whole.x[::2])
    np.testing.assert_array_equal(mixed.sweeps[::2], whole.sweeps[::2])


def test_a_settled_example_is_frozen():
  """Beside slower ones it stops where it stops among copies of itself, though further sweeps would change its bits."""
  model = constructors.dense_teacher((12,), scale=1.0)
  params = model.init(jax.random.key(0))
  run = jax.jit(lambda z: solvers.solve(model, params, z, tolerance=0.03))
  z = model.prior.sample(jax.random.split(jax.random.key(1), 16))
  whole = run(z)
  first = int(np.argmin(whole.sweeps))
  assert whole.sweeps[first] < whole.sweeps.max()
  alone = run(jnp.broadcast_to(z[first], z.shape))
  np.testing.assert_array_equal(alone.x[first], whole.x[first])
  np.testing.assert_array_equal(alone.sweeps, whole.sweeps[first])
  assert np.any(model.sweep(params, z, whole.x).x[first] != whole.x[first])


@pytest.mark.parametrize('name', ['pixelcnn', 'dense_reversed'])
def test_a_start_at_the_solution_takes_one_sweep(name):
  """A good guess saves sweeps and changes the answer by no more than the tolerance."""
  case = constructors.teacher_case(name)
  z = constructors.encode(name)(case.params, case.events)[0]
  cold = solve(case.model, case.params, z, solver='fixed_point')
  again = functools.partial(solvers.solve, solver='fixed_point', tolerance=1e-4)
  warm = jax.jit(lambda p, z, x: again(case.model, p, z, init=x))(case.params, z, cold.x)
  np.testing.assert_array_equal(warm.sweeps, 1)
  assert constructors.relative_error(warm.x, cold.x) < 1e-4


def test_a_start_that_overflowed_costs_accuracy_nothing():
  """A student's sample that is not finite is a bad guess, not a bad answer."""
  case = constructors.teacher_case('dense')
  z = constructors.encode('dense')(case.params, case.events)[0]
  for bad in (jnp.inf, jnp.nan):
    init = case.events.at[:, 1].set(bad)
    got = jax.jit(lambda p, z, x: solvers.solve(case.model, p, z, init=x))(case.params, z, init)
    np.testing.assert_allclose(got.x, case.events, atol=1e-4)
    assert np.all(got.sweeps <= 6)


@pytest.mark.parametrize('tolerance', [solvers.TOLERANCE, 0.0])
def test_never_more_than_one_sweep_per_dimension(tolerance):
  """The worst case, a recurrence, takes T sweeps, and the answer is that of the recurrence in float64."""
  model, z = recurrent(1.5), np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
  got = solve(model, (), z, tolerance=tolerance)
  np.testing.assert_array_equal(got.sweeps, 8)
  x = np.zeros((4, 8))
  for t in range(8):
    x[:, t] = 1.5 * (x[:, t - 1] if t else 0) + z[:, t]
  np.testing.assert_allclose(got.x, x, rtol=1e-6, atol=1e-6)


def test_tolerance_is_relative_to_the_example():
  """A weak recurrence stops as soon as its changes fall below the tolerance; a larger tolerance stops earlier."""
  z = np.ones((1, 8), np.float32)
  sweeps = [int(solve(recurrent(0.1), (), z, tolerance=t).sweeps[0]) for t in (1e-1, 1e-3, 1e-5)]
  assert sweeps == [2, 4, 6]  # sweep k changes x by 0.1^(k - 1), and max |x| is 1.1
  large = solve(recurrent(0.1), (), 1000 * z, tolerance=1e-3)
  assert int(large.sweeps[0]) == sweeps[1], 'the scale of an example must not matter above one'


def test_small_steps_beside_the_tolerance_are_not_lost():
  """A walk of steps of 1e-6, which no sweep moves by more, also with z near 0; one from 0.1 on, where the rounding of x is a
  hundredth of a step; and one of 2e-3 beside a dimension of 1000."""
  num_dims, z = 200, np.abs(np.random.default_rng(0).normal(size=(3, 200))).astype(np.float32)

  def walk(scale, offset, start=0.0):

    def conditional(params, x, cond=None, key=None):
      before = jnp.pad(x[:, :-1], ((0, 0), (1, 0)))
      # The second dimension does not begin at the first, which is far away.
      mean = jnp.where(jnp.arange(num_dims) == 0, offset, jnp.where(jnp.arange(num_dims) == 1, start, before))
      return Gaussian(mean, jnp.full_like(x, np.log(scale)))

    return build.autoregressive((num_dims,), lambda key: (), conditional)

  for scale, offset in ((1e-6, 0.0), (2e-3, 1000.0)):
    got = solve(walk(scale, offset), (), z, solver='fixed_point')
    expected = scale * np.cumsum(z[:, 1:].astype(np.float64), axis=1)
    np.testing.assert_allclose(got.x[:, 1:], expected, rtol=1e-4)
    assert np.all(got.sweeps > 100)
  near_zero = 0.02 * z / z.max()
  np.testing.assert_allclose(solve(walk(1e-6, 0.0), (), near_zero, solver='fixed_point').x[:, 1:],
                             1e-6 * np.cumsum(near_zero[:, 1:].astype(np.float64), axis=1), rtol=1e-4)
  far = solve(walk(1e-6, 0.0, start=0.1), (), z, solver='fixed_point', init=np.full_like(z, 0.1))
  np.testing.assert_allclose(far.x[:, 1:] - 0.1, 1e-6 * np.cumsum(z[:, 1:].astype(np.float64), axis=1), atol=5e-7)


def test_a_solution_that_is_cut_short_says_so():
  """max_sweeps stops early and tells the last change; at T sweeps the answer is exact, whatever the change."""
  z = np.ones((3, 8), np.float32)
  cut = solve(recurrent(0.5), (), z, max_sweeps=3)
  np.testing.assert_array_equal(cut.sweeps, 3)
  np.testing.assert_allclose(cut.change, 0.25 / 1.75)  # x = 1.75 after three sweeps, 1.5 after two
  identity = build.autoregressive((8,), lambda key: (), lambda params, x, cond=None, key=None: Gaussian(0 * x, 0 * x))
  for blocks in ((recurrent(0.5), identity), (identity, recurrent(0.5))):  # of a chain, that of the block that changes most
    chained = solve(build.chain(blocks), ((), ()), z, max_sweeps=3)
    np.testing.assert_allclose(chained.change, 0.25 / 1.75)
  whole = solve(recurrent(1.5), (), z, max_sweeps=100)
  np.testing.assert_array_equal(whole.sweeps, 8)
  np.testing.assert_array_equal(whole.change, 0)
  with pytest.raises(InputError, match='max_sweeps must be at least 1, got 0'):
    solve(recurrent(0.5), (), z, max_sweeps=0)


def overflowing(num_dims=10):
  """log_scale_t = 100 (1 - x_{t-1}) by a masked dense matmul: at x = 0 it overflows, at the solution x is near 1."""
  weight = np.zeros((num_dims, num_dims), np.float32)
  weight[np.arange(num_dims - 1), np.arange(1, num_dims)] = -100.0
  bias = np.where(np.arange(num_dims) > 0, 100.0, 0.0).astype(np.float32)

  def conditional(params, x, cond=None, key=None):
    return Gaussian(jnp.ones_like(x), jnp.matmul(x, weight, precision='highest') + bias)

  return build.autoregressive((num_dims,), lambda key: (), conditional)


@pytest.mark.parametrize('solver', ['ancestral', 'fixed_point'])
def test_overflow_before_settling_does_not_spoil_the_answer(solver):
  """Sweeps of unsettled dimensions reach inf, which a dense matmul would spread as 0 * inf; the answer is exact."""
  model, z = overflowing(), np.random.default_rng(0).uniform(-2e-3, 2e-3, (5, 10)).astype(np.float32)
  first = model.sweep((), z, jnp.zeros_like(z)).x
  assert np.isinf(first[:, 1:]).all(), 'no overflow: the test proves nothing'
  assert np.isnan(model.sweep((), z, first).x).any(), 'inf does not spread: the test proves nothing'
  x = np.zeros((5, 10))
  for t in range(10):
    x[:, t] = 1 + np.exp(100 * (1 - x[:, t - 1]) if t else 0.0) * z[:, t]
  got = solve(model, (), z, solver=solver)
  assert np.abs(x - 1).max() < 0.01
  np.testing.assert_allclose(got.x, x, atol=1e-5)


def test_an_answer_that_overflows_is_shown():
  """If x itself is not finite, the solver does not make up a number."""

  def conditional(params, x, cond=None, key=None):
    return Gaussian(jnp.zeros_like(x), jnp.full_like(x, 100.0))

  model = build.autoregressive((3,), lambda key: (), conditional)
  got = solve(model, (), jnp.ones((2, 3)))
  assert np.isinf(got.x).all()


def test_solve_uses_the_inverse_of_a_teacher_that_has_no_order():
  """'auto' takes z_to_x; the named solvers are refused."""
  case = constructors.teacher_case('gaussian')
  z = constructors.encode('gaussian')(case.params, case.events)[0]
  assert constructors.relative_error(solvers.solve(case.model, case.params, z).x, case.events) < 1e-4
  for solver in ('ancestral', 'fixed_point'):
    with pytest.raises(InputError, match='no autoregressive form'):
      solvers.solve(case.model, case.params, z, solver=solver)


def test_a_teacher_without_cached_activations_is_refused():
  """One sentence that names what serves it; a chain is looked into."""
  for name in ('dense', 'chain'):
    case = constructors.teacher_case(name)
    with pytest.raises(InputError, match='keeps no activations, which solver=cached needs: use fixed_point or ancestral'):
      solvers.solve(case.model, case.params, case.events, solver='cached')


def test_auto_is_cached_where_there_is_a_cache():
  """The named choice, and the same bits."""
  case = constructors.teacher_case('samplernn')
  assert solvers.choose(case.model) == 'cached' and solvers.choose(constructors.teacher_case('dense').model) == 'fixed_point'
  z = constructors.encode('samplernn')(case.params, case.events)[0]
  auto, cached = (solve(case.model, case.params, z, solver=solver) for solver in ('auto', 'cached'))
  np.testing.assert_array_equal(auto.x, cached.x)
  np.testing.assert_array_equal(auto.sweeps, 1)


def test_unknown_solver_names_the_allowed_ones():
  """One sentence."""
  with pytest.raises(InputError, match="Unknown solver 'newton': use one of auto, ancestral, cached, fixed_point"):
    solvers.solve(teachers.gaussian((3,)), None, jnp.zeros((1, 3)), solver='newton')


def test_cond_reaches_every_sweep():
  """Both solvers invert x_to_z under the same cond."""
  case = constructors.teacher_case('dense_reversed')
  cond = jnp.array([0.5, -1.0, 2.0])
  z = constructors.encode('dense_reversed')(case.params, case.events, cond)[0]
  for solver in ('ancestral', 'fixed_point'):
    got = jax.jit(lambda p, z, c, s=solver: solvers.solve(case.model, p, z, c, solver=s))(case.params, z, cond)
    np.testing.assert_allclose(got.x, case.events, atol=1e-4)
