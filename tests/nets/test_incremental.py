"""Cached activations: the same network, evaluated part by part."""
import functools

import constructors
import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import solvers, teachers
from inverse_matching.teachers import build

# Depth, width, resolutions and images that no period divides; one row, one column, one pixel; several channels.
CASES = {
    'deep': ((3, 5, 1), dict(num_blocks=1, num_filters=5, num_levels=3)),
    'wide': ((4, 3, 2), dict(num_blocks=2, num_filters=6, num_levels=1)),
    'colour': ((3, 2, 3), dict(num_blocks=1, num_filters=4, num_levels=2)),
    'row': ((1, 5, 1), dict(num_blocks=1, num_filters=4, num_levels=1)),
    'column': ((5, 1, 1), dict(num_blocks=1, num_filters=4, num_levels=2)),
    'pixel': ((1, 1, 3), dict(num_blocks=1, num_filters=4, num_levels=1)),
    'permuted': ((2, 3, 1), dict(num_blocks=1, num_filters=4, num_levels=1, order=(5, 2, 0, 1, 4, 3))),
}
# Heads other than the Gaussian.
HEADS = {
    'discretized': ((1, 2, 2), dict(elementwise='discretized_mixture_of_logistics', levels=6, num_mixtures=2)),
    'mixture': ((2, 1, 2), dict(elementwise='mixture_of_logistics', num_mixtures=2)),
    'categorical': ((2, 2, 1), dict(elementwise='categorical', levels=4, prior='uniform', order=(3, 1, 2, 0))),
    'neural': ((1, 2, 2), dict(elementwise='neural', num_units=2)),
    'logistic': ((1, 2, 2), dict(elementwise='logistic')),
}
SLOW_HEADS = [name for name in HEADS if name != 'discretized']

# The others run with the slow tests: a sampler of several resolutions takes its time to compile.
QUICK = ('wide', 'colour', 'pixel')
names = pytest.mark.parametrize('name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                         for name in CASES])


def make(shape, settings):
  teacher = teachers.make('pixelcnn', shape, **settings)
  params = constructors.random_params(teacher.init, 0.8)
  return teacher, params, jax.random.normal(jax.random.key(5), (3, *shape))


def solve(teacher, params, z, **settings):
  return jax.jit(lambda params, z: solvers.solve(teacher, params, z, **settings))(params, z)


@functools.cache
def solution(name, solver):
  return solve(*make(*CASES[name]), solver=solver)


def check_cached(teacher, expected, params, got):
  if expected[0].size > 3:
    assert np.std(teacher.conditional(params, expected).mean, axis=0).max() > 0.05, 'nothing depends on x: no proof'
  assert constructors.relative_error(got.x, expected) < 1e-5
  np.testing.assert_array_equal(got.sweeps, 1)


@names
def test_cached_is_ancestral(name):
  """Pixel by pixel from cached activations = one whole pass per dimension, on conditionals that are not trivial."""
  teacher, params, _ = make(*CASES[name])
  check_cached(teacher, solution(name, 'ancestral').x, params, solution(name, 'cached'))


@pytest.mark.parametrize('name', ['discretized', *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_HEADS)])
def test_cached_is_ancestral_for_every_head(name):
  """What a network sees of x, and how channels depend on each other, is the same by parts."""
  shape, settings = HEADS[name]
  teacher, params, _ = make(shape, dict(num_blocks=1, num_filters=4, num_levels=1, **settings))
  z = teacher.prior.sample(jax.random.split(jax.random.key(5), 3))
  expected = solve(teacher, params, z, solver='ancestral').x
  theta = teacher.conditional(params, expected)
  assert max(np.std(leaf, axis=0).max() for leaf in theta) > 0.05, 'nothing depends on x: no proof'
  assert constructors.relative_error(solve(teacher, params, z, solver='cached').x, expected) < 1e-5


@pytest.mark.slow
@hypothesis.settings(max_examples=20, deadline=None, derandomize=True)
@hypothesis.given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), blocks=st.integers(1, 3),
                  filters=st.integers(1, 8), levels=st.integers(1, 3))
def test_cached_is_ancestral_at_random(shape, blocks, filters, levels):
  """The same for random depths, widths, image shapes and channels."""
  teacher, params, z = make(shape, dict(num_blocks=blocks, num_filters=filters, num_levels=levels))
  expected = solve(teacher, params, z, solver='ancestral').x
  assert constructors.relative_error(solve(teacher, params, z, solver='cached').x, expected) < 1e-5


@names
def test_blockwise_is_ancestral(name):
  """Blocks of rows, each solved to its fixed point."""
  expected, got = solution(name, 'ancestral').x, solution(name, 'blockwise')
  assert constructors.relative_error(got.x, expected) < 5e-5
  assert np.all(got.change <= solvers.TOLERANCE) and np.all(got.sweeps <= expected[0].size + 1)


def test_a_start_at_the_solution_takes_one_sweep_a_block():
  """And one more to keep the block's activations."""
  teacher, params, z = make(*CASES['wide'])
  warm = solve(teacher, params, z, solver='blockwise', init=solution('wide', 'ancestral').x, tolerance=1e-4)
  np.testing.assert_array_equal(warm.sweeps, 2)


@names
def test_blocks_make_the_whole_pass(name):
  """At any x, solution or not, sweeping block after block = one sweep of the whole image."""
  teacher, params, z = make(*CASES[name])
  x = 2 * jax.random.normal(jax.random.key(6), z.shape)
  parts = teacher.incremental

  @jax.jit
  def by_parts(params, z, x):
    cache, outs = parts.init(params, len(z)), []
    for z_block, x_block in zip(parts.split(z), parts.split(x)):
      out, cache = parts.sweep(params, cache, z_block, x_block)
      outs.append(out)
    return parts.join(jnp.stack(outs))

  assert constructors.relative_error(by_parts(params, z, x), teacher.sweep(params, z, x)) < 1e-5


def test_split_and_join():
  """join undoes split; the padding is zero."""
  teacher, _, z = make((5, 3, 1), CASES['deep'][1])
  blocks = teacher.incremental.split(z)
  assert blocks.shape == (2, 3, 4, 3, 1)  # five rows in blocks of four
  np.testing.assert_array_equal(blocks[1, :, 1:], 0)
  np.testing.assert_array_equal(teacher.incremental.join(blocks), z)


@pytest.mark.parametrize('solver', ['cached', 'blockwise'])
def test_a_chain_is_solved_block_by_block(solver):
  """Two autoregressive blocks of opposite orders."""
  settings = dict(num_blocks=1, num_filters=4, num_levels=1)
  chain = build.chain([teachers.make('pixelcnn', (3, 3, 1), **settings),
                            teachers.make('pixelcnn', (3, 3, 1), order=range(8, -1, -1), **settings)])
  params = constructors.random_params(chain.init, 0.8)
  x = jax.random.normal(jax.random.key(2), (3, 3, 3, 1))
  z = chain.x_to_z(params, x)[0]
  assert constructors.relative_error(solve(chain, params, z, solver=solver).x, x) < 5e-5


@pytest.mark.slow
def test_padding_cannot_spoil_an_answer():
  """The columns and rows past the end, computed for shape's sake, are never read, whatever stands there."""
  teacher, params, z = make((3, 3, 1), CASES['column'][1])
  params['head']['bias'] = params['head']['bias'].at[1].set(8.0)  # the log-scale: values grow from pixel to pixel
  expected = solve(teacher, params, z, solver='ancestral').x
  assert np.isfinite(expected).all() and np.abs(expected).max() > 1e3
  for solver in ('cached', 'blockwise'):
    assert constructors.relative_error(solve(teacher, params, z, solver=solver).x, expected) < 1e-4
