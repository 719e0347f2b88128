"""Distances against numpy, and Proposition 2 of the paper."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching.errors import InputError
from inverse_matching.losses import distances

TRIPLES = np.random.default_rng(0).normal(size=(3, 400, 5)).astype(np.float32)


def test_distances_against_numpy():
  """Means over the event, so that sizes compare."""
  a, b = np.random.default_rng(0).normal(size=(2, 6, 2, 3)).astype(np.float32)
  error = (a - b).astype(np.float64).reshape(6, -1)
  expected = {'l1': np.abs(error).mean(-1), 'l2': np.square(error).mean(-1)}
  expected['l1_l2'] = 0.5 * (expected['l1'] + expected['l2'])
  expected['euclidean'] = np.linalg.norm(error, axis=-1) / np.sqrt(6)
  assert set(expected) == set(distances.DISTANCES)
  for name, value in expected.items():
    np.testing.assert_allclose(distances.make(name)(a, b), value, rtol=1e-5)


def test_unknown_distance_names_the_allowed_ones():
  """One sentence."""
  words = 'Unknown distance \'l3\' .did you mean \'l2\'..: use one of l1, l2, l1_l2, euclidean, features'
  with pytest.raises(InputError, match=words):
    distances.make('l3')


def axioms(distance) -> dict[str, bool]:
  """The axioms of a metric on random triples, and on pairs that differ in the first dimension only."""
  a, b, c = TRIPLES
  ab, bc, ac = (np.asarray(distance(*pair), np.float64) for pair in ((a, b), (b, c), (a, c)))
  near = a.copy()
  near[:, 0] += 1
  return {
      'zero': bool(np.all(np.asarray(distance(a, a)) == 0)),
      'separates': bool(np.all(ab > 0) and np.all(np.asarray(distance(a, near)) > 0)),
      'symmetric': bool(np.allclose(ab, distance(b, a), rtol=1e-6)),
      'triangle': bool(np.all(ac <= ab + bc + 1e-5)),
  }


def test_equal_events_have_a_gradient():
  """Of the Euclidean distance, 0 at 0 and of norm 1 / sqrt(T) elsewhere, and finite where a mask counts nothing."""
  euclidean = distances.make('euclidean')
  a = jnp.zeros((2, 4)).at[1, 2].set(1e-4)
  gradient = jax.grad(lambda a: jnp.sum(euclidean(a, jnp.zeros_like(a))))(a)
  np.testing.assert_allclose(gradient, [[0] * 4, [0, 0, 0.5, 0]], atol=1e-6)
  mask = jnp.ones((2, 4)).at[0].set(0.0)
  assert np.all(np.isfinite(jax.grad(lambda a: jnp.sum(euclidean(a, jnp.ones_like(a), mask)))(a)))


@pytest.mark.parametrize('name', ['l1', 'euclidean'])
def test_proposition_2(name):
  """d_T is a metric for an injective T and a metric d, and does not separate points where T does not."""
  case = constructors.teacher_case('chain')
  encode = constructors.encode('chain')
  metric = dict.fromkeys(('zero', 'separates', 'symmetric', 'triangle'), True)
  assert axioms(distances.make(name)) == metric
  assert axioms(distances.induced(distances.make(name), lambda x: encode(case.params, x)[0])) == metric
  forgets = distances.induced(distances.make(name), lambda x: x[:, 1:])  # not injective
  assert axioms(forgets) == {**metric, 'separates': False}


def test_squared_error_is_not_a_metric():
  """The triangle inequality fails, directly and through T; the other axioms hold."""
  case = constructors.teacher_case('gaussian')
  encode = constructors.encode('gaussian')
  metric_but = dict(zero=True, separates=True, symmetric=True, triangle=False)
  assert axioms(distances.l2) == metric_but
  assert axioms(distances.induced(distances.l2, lambda x: encode(case.params, x)[0])) == metric_but
  a, b, c = np.float32([[0.0]]), np.float32([[1.0]]), np.float32([[2.0]])
  assert distances.l2(a, c)[0] == 4 > distances.l2(a, b)[0] + distances.l2(b, c)[0] == 2


def test_induced_is_the_distance_of_the_images():
  """d_T(a, b) = d(T(a), T(b)), exactly."""
  a, b, _ = TRIPLES
  np.testing.assert_array_equal(distances.induced(distances.l1, np.exp)(a, b), distances.l1(np.exp(a), np.exp(b)))


@pytest.mark.parametrize('name', [*distances.DISTANCES, 'examples.own_loss:log_cosh'])
def test_events_of_two_shapes_have_no_distance(name):
  """Broadcast, they would have one that means nothing."""
  distance = distances.make(name)
  assert distance(np.ones((2, 3, 1)), np.zeros((2, 3, 1))).shape == (2,)
  for other in (np.zeros((2, 1, 1)), np.zeros((3, 1)), np.zeros((1, 3, 1))):
    with pytest.raises(InputError, match=r'of events of shapes \[2, 3, 1\] and \[.*\]: they must be the same'):
      distance(np.ones((2, 3, 1)), other)


def test_a_distance_of_ones_own():
  """log cosh, by its formula."""
  a, b = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
  expected = np.log(np.cosh((a - b).astype(np.float64))).mean(1)
  np.testing.assert_allclose(distances.make('examples.own_loss:log_cosh')(a, b), expected, rtol=1e-4)


def test_distance_of_features():
  """Of linear depths in closed form; of the event alone it is l2; the name needs a classifier."""
  a, b, _ = TRIPLES
  matrix = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
  measure = distances.of_features(lambda x: [x, x @ matrix])
  expected = 0.5 * (np.mean((a - b)**2, axis=1) + np.mean(((a - b) @ matrix)**2, axis=1))
  np.testing.assert_allclose(measure(a, b), expected, rtol=1e-4)
  assert distances.make(measure) is measure
  np.testing.assert_array_equal(distances.of_features(lambda x: [x])(a, b), distances.l2(a, b))
  with pytest.raises(InputError, match='use it with launch.distill and --features'):
    distances.make('features')
