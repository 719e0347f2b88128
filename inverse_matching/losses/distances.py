"""Distances between batches of events. All reduce by the mean over the event, so they compare across sizes.

With a mask [B, T] they reduce by the mean over the time steps that count. Both events must have one shape. A distance of one's
own is a function (a, b [B, *event], mask) -> [B], named in a config as 'package.module:function', or given as it is.
"""
from typing import Callable, Sequence

import jax.numpy as jnp

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.types import Array, check_arguments, mean_event

Distance = Callable[..., Array]  # (a, b [B, *event], mask [B, T] or None) -> [B]


def _check_shapes(a: Array, b: Array) -> None:
  if jnp.shape(a) != jnp.shape(b):  # broadcast, they would have a distance that means nothing
    raise InputError(f'A distance is taken of events of shapes {list(jnp.shape(a))} and {list(jnp.shape(b))}: they must be the '
                     'same.')


def l1(a: Array, b: Array, mask: Array | None = None) -> Array:
  """Mean absolute error over the event, [B]. A metric."""
  _check_shapes(a, b)
  return mean_event(jnp.abs(a - b), mask)


def l2(a: Array, b: Array, mask: Array | None = None) -> Array:
  """Mean squared error over the event, [B]. Not a metric: the triangle inequality fails."""
  _check_shapes(a, b)
  return mean_event(jnp.square(a - b), mask)


def l1_l2(a: Array, b: Array, mask: Array | None = None) -> Array:
  """The average of l1 and l2, [B] (figure 5e of the paper)."""
  return 0.5 * (l1(a, b, mask) + l2(a, b, mask))


def euclidean(a: Array, b: Array, mask: Array | None = None) -> Array:
  """Root mean squared error over the event, [B]: the Euclidean norm over sqrt(T). A metric."""
  return power(l2(a, b, mask), 0.5)


def power(squared: Array, exponent: float) -> Array:
  """squared^exponent, for an exponent between 0 and 1, whose gradient at 0 is taken as 0: there it has none."""
  is_apart = squared > 0
  return jnp.where(is_apart, jnp.where(is_apart, squared, 1.0) ** exponent, 0.0)


DISTANCES: dict[str, Distance] = {'l1': l1, 'l2': l2, 'l1_l2': l1_l2, 'euclidean': euclidean}
FEATURES = 'features'  # in a config; it takes a classifier, which runs.distill has


def make(name: str | Distance) -> Distance:
  """The distance of that name, or one's own; InputError if there is none, or when it is called and does not return [B]."""
  if callable(name):
    return name
  if name == FEATURES:
    raise InputError('The distance features is one of images in a classifier\'s layers: use it with launch.distill and '
                     '--features, or give distances.of_features(depths) itself.')
  if not registry.is_own(name):
    return registry.choose('distance', DISTANCES, name, f", {FEATURES}, or your own as 'package.module:function'")
  function = registry.imported('distance', name)
  check_arguments(f'The distance {name!r}', function, 'a, b, mask')

  def distance(a, b, mask=None):
    _check_shapes(a, b)
    value = function(a, b, mask)
    if jnp.shape(value) != jnp.shape(a)[:1]:
      raise InputError(f'The distance {name!r} has shape {list(jnp.shape(value))} for events of {list(jnp.shape(a))}: return a '
                       f'number for each example, {list(jnp.shape(a)[:1])}.')
    return value

  return distance


def of_features(depths: Callable[[Array], Sequence[Array]]) -> Distance:
  """The mean over several depths of l2 between what a network makes of both events there (Johnson et al., 2016).

  With the event itself among the depths, it is 0 for equal events alone.

  Args:
    depths: events [B, *event] -> arrays [B, ...], scaled as they shall count.
  """

  def distance(a, b, mask=None):
    _check_shapes(a, b)
    if mask is not None:
      raise InputError('The distance features is one of images, which have no mask: choose l1 or l2 for speech.')
    pairs = list(zip(depths(a), depths(b)))
    return sum(l2(u, v) for u, v in pairs) / len(pairs)

  return distance


def induced(distance: Distance, transform: Callable[[Array], Array]) -> Distance:
  """d_T(a, b) = d(T(a), T(b)): a metric if and only if d is one and T is injective (Proposition 2 of the paper)."""
  return lambda a, b, mask=None: distance(transform(a), transform(b), mask)
