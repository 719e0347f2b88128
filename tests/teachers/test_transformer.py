"""The transformer flow: what each block reads, and its samplers."""
import functools

import constructors
import jax
import numpy as np
import pytest

from inverse_matching import solvers, teachers
from inverse_matching.errors import InputError
from inverse_matching.teachers import orders

SHAPE, PATCH, PATCHES = (4, 6, 2), 2, 6
SETTINGS = dict(num_blocks=2, num_layers=2, width=6, num_heads=2, patch_size=PATCH)


@functools.cache
def make():
  """(flow, sharp parameters, x [2, H, W, C])."""
  flow = teachers.make('transformer', SHAPE, **SETTINGS)
  return flow, constructors.random_params(flow.init, 1.2), jax.random.normal(jax.random.key(0), (2, *SHAPE))


@functools.cache
def solution(solver):
  """(solution, z), of z = T(x)."""
  flow, params, x = make()
  z = jax.jit(flow.x_to_z)(params, x)[0]
  return jax.jit(lambda z: solvers.solve(flow, params, z, solver=solver))(z), z


def test_it_begins_at_the_identity():
  """Exactly, whatever the other weights."""
  flow, x = teachers.make('transformer', (2, 4, 1), **{**SETTINGS, 'num_blocks': 1, 'num_layers': 1}), make()[2][:, :2, :4, :1]
  params, (z, log_det) = jax.jit(lambda key, x: (params := flow.init(key), flow.x_to_z(params, x)))(jax.random.key(1), x)
  assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(params))
  np.testing.assert_array_equal(z, x)
  np.testing.assert_array_equal(log_det, 0)


@pytest.mark.parametrize('i', range(2))
def test_a_patch_reads_the_patches_before_it_and_nothing_else(i):
  """Exact zeros in the Jacobian of theta, within a patch too; raster order and reversed in turn."""
  flow, params, x = make()
  block, num_dims = flow.blocks[i], x[0].size
  order = orders.patches(SHAPE, PATCH)[::1 - 2 * i].reshape(-1)
  assert block.order == tuple(order)
  theta = lambda event: [leaf.reshape(-1) for leaf in block.conditional(params[i], event.reshape(1, *SHAPE))]
  place = np.arange(num_dims) // (num_dims // PATCHES)  # of the dimensions in their order
  before = place[:, None] > place
  for jacobian in jax.jit(jax.jacfwd(theta))(x[0].reshape(-1)):
    ordered = np.asarray(jacobian)[order][:, order]
    np.testing.assert_array_equal(ordered[~before], 0)
    assert np.all(ordered[before] != 0)


@pytest.mark.parametrize('solver', ['cached', 'fixed_point', pytest.param('ancestral', marks=pytest.mark.slow)])
def test_every_solver_undoes_the_chain(solver):
  """Block after block: from kept keys and values, by sweeps, and the reference."""
  flow, params, x = make()
  got, z = solution(solver)
  assert constructors.relative_error(got.x, x) < 5e-5
  assert np.std(np.asarray(z - x)) > 0.3, 'nothing to undo: no proof'


def test_as_many_sweeps_as_patches():
  """All dimensions of a patch are final at once; one more sweep a block sees that nothing changes."""
  sweeps = solution('fixed_point')[0].sweeps
  assert np.all(sweeps <= 2 * (PATCHES + 1)) and np.all(sweeps > 2 * 2)
  np.testing.assert_array_equal(solution('cached')[0].sweeps, 2)


def test_what_is_not_settled_yet_does_not_reach_back():
  """A patch of 1e38 changes no theta of the patches up to it, and leaves the others finite."""
  flow, params, x = make()
  block, far = flow.blocks[0], x.at[:, 2:4, 2:4].set(1e38)
  theta = jax.jit(block.conditional)
  before, after = (np.asarray(theta(params[0], each).mean).reshape(2, -1)[:, list(block.order)] for each in (x, far))
  count = 5 * PATCH**2 * SHAPE[2]
  np.testing.assert_array_equal(before[:, :count], after[:, :count])
  assert np.isfinite(after).all() and np.any(before[:, count:] != after[:, count:])


@pytest.mark.parametrize('settings,words', [
    (dict(patch_size=3), 'patch_size must divide images of 4x6, got 3'),
    (dict(patch_size=0), 'patch_size must divide'),
    (dict(num_heads=4), 'num_heads must divide the width, got 4 heads and width 6'),
    (dict(num_blocks=0), 'num_blocks must be at least 1, got 0'),
    (dict(num_layers=0), 'num_layers must be at least 1'),
    (dict(num_filters=3), "config.teacher does not fit 'transformer': .*num_filters")])
def test_settings_that_do_not_fit(settings, words):
  """Refused when it is built."""
  with pytest.raises(InputError, match=words):
    teachers.make('transformer', SHAPE, **{**SETTINGS, **settings})
