"""The orders in which the dimensions of an image are generated, as permutations of the flat indices of (H, W, C).

order[k] is the index of the k-th dimension. The paper allows any (section 2: "an arbitrary ordering").
"""
import math
from typing import Callable, Sequence

import jax
import numpy as np

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.types import Array


def _pixels(event_shape: tuple[int, int, int]) -> np.ndarray:
  """Flat indices [H, W, C]."""
  return np.arange(math.prod(event_shape)).reshape(event_shape)


def _random(event_shape: tuple[int, int, int]) -> np.ndarray:
  flat = _pixels(event_shape).reshape(-1, event_shape[-1])
  return flat[np.random.default_rng(0).permutation(len(flat))]


# name -> flat indices of the event in that order, of any shape. The channels of a pixel stay together, in their own order.
ORDERS = {
    'raster': _pixels,
    'reversed': lambda event_shape: _pixels(event_shape).reshape(-1, event_shape[-1])[::-1],
    'columns': lambda event_shape: _pixels(event_shape).swapaxes(0, 1),
    'random': _random,
}


def make(order: str | Sequence[int] | None, event_shape: tuple[int | None, ...]) -> tuple[int, ...] | None:
  """The permutation of that name: 'raster', 'reversed', 'columns' (each from the top), 'random' (pixels, always the same).

  Args:
    order: a name in ORDERS; or a permutation, which is returned as it is; or None, which is raster order.
    event_shape: (H, W, C), or (T,) for all but columns; any shape if the order is a permutation or None.

  Returns:
    The permutation; None for raster order.

  Raises:
    InputError: no such order, or not a permutation.
  """
  if order is None or isinstance(order, str) and order == 'raster':
    return None
  if isinstance(order, str):
    named = registry.choose('order', ORDERS, order, ', or a permutation of the flat indices')
    order = named(event_shape if len(event_shape) > 1 else (*event_shape, 1)).reshape(-1)
  order, num_dims = tuple(int(i) for i in order), math.prod(n or 0 for n in event_shape)
  if sorted(order) != list(range(num_dims)):
    raise InputError(f'order must be a permutation of 0..{num_dims - 1} for event shape {tuple(event_shape)}, got '
                     f'{len(order)} entries.')
  return order


def patches(event_shape: tuple[int, int, int], size: int) -> np.ndarray:
  """Flat indices [N, size * size * C] of the square patches, which follow each other in raster order.

  Raises:
    InputError: the patches do not tile the image.
  """
  height, width, channels = event_shape
  if size < 1 or height % size or width % size:
    raise InputError(f'patch_size must divide images of {height}x{width}, got {size}.')
  grid = _pixels(event_shape).reshape(height // size, size, width // size, size, channels).swapaxes(1, 2)
  return grid.reshape(-1, size * size * channels)


def permute(order: Sequence[int]) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
  """(to, back): `to` puts dimension order[k] of the flattened event at place k; `back` undoes it.

  Both take [B, *event] of len(order) dimensions in all, or with trailing parameters [B, *event, K], and keep the shape.
  """
  order = np.asarray(order)
  inverse = np.argsort(order)

  def apply(index, value):
    return value.reshape(value.shape[0], len(order), -1)[:, index].reshape(value.shape)

  return lambda value: apply(order, value), lambda value: apply(inverse, value)


def reordered(function: Callable, order: Sequence[int] | None) -> Callable:
  """The function (params, value [B, *event], ...) -> pytree of [B, *event, ...] for events whose dimensions come in that order.

  The function sees the first dimension of the order first, and so on; what it returns is put back in place. With order None it
  stays as it is.
  """
  if order is None:
    return function
  to, back = permute(order)
  return lambda params, value, *args: jax.tree.map(back, function(params, to(value), *args))
