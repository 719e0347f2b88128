"""From the outputs of an image network to theta of an elementwise map, sub-pixel by sub-pixel."""
import math
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.elementwise import discrete
from inverse_matching.errors import InputError
from inverse_matching.types import Array, Elementwise

MAX_LOG_SCALE = 7.0  # a smooth bound; the floor is that of PixelCNN++


class Head(NamedTuple):
  """The last step of a network over images with C sub-pixels."""
  num_outputs: int  # of the network at each pixel
  see: Callable[[Array], Array]  # x -> the input of the network, of the same shape
  theta: Callable[[Array, Array], Any]  # (raw [..., num_outputs], x [..., C]) -> theta [..., C]


def make(elementwise: Elementwise, channels: int, max_log_scale: float | None = None) -> Head:
  """The head of an elementwise map.

  Sub-pixels are ordered within a pixel: the means of a channel (its logits, where there are none) depend linearly on the
  channels before it, with coefficients that depend on the pixels before (Salimans et al., 2017, section 2.2). Log-scales are
  bounded. A discrete x = k + u is seen as k, scaled to [-1, 1].

  Args:
    elementwise: whose theta is a named tuple; one with a field `mean` or `logits` if there are several channels.
    channels: C.
    max_log_scale: the smooth bound of log-scales from above; None is MAX_LOG_SCALE, which they have from below too.

  Raises:
    InputError: several channels and nothing that could depend on them; a bound that is not positive, or of a map without
      log-scales.
  """
  num_params, levels = elementwise.num_params, elementwise.levels
  raw_shape = jax.ShapeDtypeStruct((channels, num_params), jnp.float32)
  shapes = jax.eval_shape(elementwise.split, raw_shape)
  if max_log_scale is not None and (max_log_scale <= 0 or not hasattr(shapes, 'log_scale')):
    raise InputError(f'max_log_scale is {max_log_scale}: set it to a positive number, for an elementwise map with log-scales '
                     '(its theta has a field log_scale), or leave it out.')
  location = next((name for name in ('mean', 'logits') if hasattr(shapes, name)), None)
  if channels > 1 and location is None:
    raise InputError(f'The images have {channels} channels, and theta of this elementwise map has no field mean or logits, '
                     'through which a channel depends on those before it: name one of its fields so.')
  size = math.prod(getattr(shapes, location).shape[1:]) if channels > 1 else 0  # locations of a sub-pixel
  split_at = channels * num_params
  later, earlier = np.tril_indices(channels, -1)

  def see(x):
    return x if levels is None else discrete.level(x, levels) * (2 / (levels - 1)) - 1

  def theta(raw, x):
    own = raw[..., :split_at].reshape(*raw.shape[:-1], num_params, channels)
    value = elementwise.split(jnp.moveaxis(own, -1, -2))
    if channels > 1:
      mean = getattr(value, location)
      coefficients = jnp.tanh(raw[..., split_at:].reshape(*raw.shape[:-1], len(later), size))
      matrix = jnp.zeros((*raw.shape[:-1], channels, channels, size)).at[..., later, earlier, :].set(coefficients)
      shift = jnp.einsum('...ijl,...j->...il', matrix, see(x), precision=jax.lax.Precision.HIGHEST)
      value = value._replace(**{location: mean + shift.reshape(mean.shape)})
    if hasattr(value, 'log_scale'):
      # The slope at 0 is 1 on both sides.
      bound = MAX_LOG_SCALE if max_log_scale is None else jnp.where(value.log_scale > 0, max_log_scale, MAX_LOG_SCALE)
      value = value._replace(log_scale=bound * jnp.tanh(value.log_scale / bound))
    return value

  return Head(split_at + len(later) * size, see, theta)
