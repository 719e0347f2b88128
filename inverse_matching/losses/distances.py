"""Distances between batches of events. All reduce by the mean over the event, so they compare across sizes.

With a mask [B, T] they reduce by the mean over the time steps that count.
"""
from typing import Callable

import jax.numpy as jnp

from inverse_matching import registry
from inverse_matching.types import Array, mean_event

Distance = Callable[..., Array]  # (a, b [B, *event], mask [B, T] or None) -> [B]


def l1(a: Array, b: Array, mask: Array | None = None) -> Array:
  """Mean absolute error over the event, [B]. A metric."""
  return mean_event(jnp.abs(a - b), mask)


def l2(a: Array, b: Array, mask: Array | None = None) -> Array:
  """Mean squared error over the event, [B]. Not a metric: the triangle inequality fails."""
  return mean_event(jnp.square(a - b), mask)


def l1_l2(a: Array, b: Array, mask: Array | None = None) -> Array:
  """The average of l1 and l2, [B] (figure 5e of the paper)."""
  return 0.5 * (l1(a, b, mask) + l2(a, b, mask))


def euclidean(a: Array, b: Array, mask: Array | None = None) -> Array:
  """Root mean squared error over the event, [B]: the Euclidean norm over sqrt(T). A metric."""
  return jnp.sqrt(l2(a, b, mask))


DISTANCES: dict[str, Distance] = {'l1': l1, 'l2': l2, 'l1_l2': l1_l2, 'euclidean': euclidean}


def make(name: str) -> Distance:
  """The distance of that name; InputError if there is none."""
  return registry.choose('distance', DISTANCES, name)


def induced(distance: Distance, transform: Callable[[Array], Array]) -> Distance:
  """d_T(a, b) = d(T(a), T(b)): a metric if and only if d is one and T is injective (Proposition 2 of the paper)."""
  return lambda a, b, mask=None: distance(transform(a), transform(b), mask)
