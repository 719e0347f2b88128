"""Cached activations: the same network, evaluated pixel by pixel."""
import functools

import constructors
import hypothesis
from hypothesis import strategies as st
import jax
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
    'intensity': ((2, 3, 2), dict(num_blocks=1, num_filters=4, num_levels=2, network_input='intensity')),
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

# The others run with the slow tests: a sampler of several resolutions takes its time to compile.
QUICK = ('colour', 'pixel')
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
    assert np.std(jax.jit(teacher.conditional)(params, expected).mean, axis=0).max() > 0.05, 'nothing depends on x: no proof'
  assert constructors.relative_error(got.x, expected) < 1e-5
  np.testing.assert_array_equal(got.sweeps, 1)


@names
def test_cached_is_ancestral(name):
  """Pixel by pixel from cached activations = one whole pass per dimension, on conditionals that are not trivial."""
  teacher, params, _ = make(*CASES[name])
  check_cached(teacher, solution(name, 'ancestral').x, params, solution(name, 'cached'))


@pytest.mark.slow
@pytest.mark.parametrize('name', HEADS)
def test_cached_is_ancestral_for_every_head(name):
  """What a network sees of x, and how channels depend on each other, is the same by parts."""
  shape, settings = HEADS[name]
  teacher, params, _ = make(shape, dict(num_blocks=1, num_filters=4, num_levels=1, **settings))
  z = teacher.prior.sample(jax.random.split(jax.random.key(5), 3))
  expected = solve(teacher, params, z, solver='ancestral').x
  theta = jax.jit(teacher.conditional)(params, expected)
  assert max(np.std(leaf, axis=0).max() for leaf in theta) > 0.05, 'nothing depends on x: no proof'
  assert constructors.relative_error(solve(teacher, params, z, solver='cached').x, expected) < 1e-5


@pytest.mark.slow
@hypothesis.settings(max_examples=20, deadline=None, derandomize=True)
@hypothesis.given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), blocks=st.integers(1, 3),
                  filters=st.integers(1, 8), levels=st.integers(1, 3))
def test_cached_is_ancestral_at_random(shape, blocks, filters, levels):
  """For random depths, widths, image shapes and channels: a sweep over all pixels leaves it, and only ancestral's, as it is.

  Both side by side would differ by what becomes of rounding along an image, which is no error.
  """
  levels = min(levels, max(shape[:2]).bit_length())  # more are refused
  teacher, params, z = make(shape, dict(num_blocks=blocks, num_filters=filters, num_levels=levels))
  found = solve(teacher, params, z, solver='cached').x
  assert constructors.relative_error(teacher.sweep(params, z, found).x, found) < 2e-6


def test_a_chain_is_solved_block_by_block():
  """Two autoregressive blocks of opposite orders."""
  settings = dict(num_blocks=1, num_filters=4, num_levels=1)
  chain = build.chain([teachers.make('pixelcnn', (3, 3, 1), **settings),
                       teachers.make('pixelcnn', (3, 3, 1), order=range(8, -1, -1), **settings)])
  params = constructors.random_params(chain.init, 0.8)
  x = jax.random.normal(jax.random.key(2), (3, 3, 3, 1))
  z = chain.x_to_z(params, x)[0]
  assert constructors.relative_error(solve(chain, params, z, solver='cached').x, x) < 5e-5


@pytest.mark.slow
def test_padding_cannot_spoil_an_answer():
  """The columns and rows past the end, computed for shape's sake, are never read, whatever stands there."""
  teacher, params, z = make((3, 3, 1), CASES['column'][1])
  params['head']['bias'] = params['head']['bias'].at[1].set(8.0)  # the log-scale: values grow from pixel to pixel
  expected = solve(teacher, params, z, solver='ancestral').x
  assert np.isfinite(expected).all() and np.abs(expected).max() > 1e3
  assert constructors.relative_error(solve(teacher, params, z, solver='cached').x, expected) < 1e-4
