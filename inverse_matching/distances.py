"""Distances between batches of events. All reduce by the mean over the event, so they compare across sizes."""
from typing import Callable

import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.types import Array

Distance = Callable[[Array, Array], Array]  # a, b [B, *event] -> [B]


def _mean_event(value: Array) -> Array:
  return jnp.mean(value.reshape(value.shape[0], -1), axis=-1)


def l1(a: Array, b: Array) -> Array:
  """Mean absolute error over the event, [B]. A metric."""
  return _mean_event(jnp.abs(a - b))


def l2(a: Array, b: Array) -> Array:
  """Mean squared error over the event, [B]. Not a metric: the triangle inequality fails."""
  return _mean_event(jnp.square(a - b))


def l1_l2(a: Array, b: Array) -> Array:
  """The average of l1 and l2, [B] (figure 5e of the paper)."""
  return 0.5 * (l1(a, b) + l2(a, b))


def euclidean(a: Array, b: Array) -> Array:
  """Root mean squared error over the event, [B]: the Euclidean norm over sqrt(T). A metric."""
  return jnp.sqrt(l2(a, b))


DISTANCES: dict[str, Distance] = {'l1': l1, 'l2': l2, 'l1_l2': l1_l2, 'euclidean': euclidean}


def make(name: str) -> Distance:
  """The distance of that name; InputError if there is none."""
  if name not in DISTANCES:
    raise InputError(f'Unknown distance {name!r}: use one of {", ".join(DISTANCES)}.')
  return DISTANCES[name]


def induced(distance: Distance, transform: Callable[[Array], Array]) -> Distance:
  """d_T(a, b) = d(T(a), T(b)): a metric if and only if d is one and T is injective (Proposition 2 of the paper)."""
  return lambda a, b: distance(transform(a), transform(b))
