"""The map from pixels to the teacher's space: uniform noise within a grey level, and for densities the logit."""
import math
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.elementwise import discrete
from inverse_matching.errors import InputError
from inverse_matching.types import Array


class Preprocess(NamedTuple):
  """The bijection between dequantised pixels and the teacher's space X, with its Jacobian.

  Attributes:
    levels: number of grey levels.
    to_x: (pixels [B, *event] integers, keys [B]) -> x [B, *event]; adds uniform noise.
    to_data: x [B, *event] -> integers [B, *event] in 0..levels - 1.
    to_unit: x [B, *event] -> v = (pixel + u) / levels [B, *event] in (0, 1), with a gradient.
    log_det: x [B, *event] -> log |dx/dv| [B] for v = (pixel + u) / levels in (0, 1).
    bits_per_dim: (log p(x) [B], x) -> [B], of the integer data: the dequantised bound (Theis et al., 2016),
      exact for discrete heads.
  """
  levels: int
  to_x: Callable[[Array, Array], Array]
  to_data: Callable[[Array], Array]
  to_unit: Callable[[Array], Array]
  log_det: Callable[[Array], Array]
  bits_per_dim: Callable[[Array, Array], Array]


def _preprocess(levels: int, to_x: Callable[[Array, Array], Array], to_data: Callable[[Array], Array],
                to_unit: Callable[[Array], Array], log_det: Callable[[Array], Array]) -> Preprocess:

  def sum_log_det(x):
    return jnp.sum(log_det(x).reshape(x.shape[0], -1), axis=-1)

  def bits_per_dim(log_prob, x):
    num_dims = math.prod(x.shape[1:])
    return math.log2(levels) - (log_prob + sum_log_det(x)) / (num_dims * math.log(2))

  return Preprocess(levels, to_x, to_data, to_unit, sum_log_det, bits_per_dim)


def dequantise_uniform(levels: int) -> Preprocess:
  """Makes x = pixel + u, u ~ U(0, 1), on which discrete heads are defined. Their bits are exact; those of a density a bound.

  Raises:
    InputError: levels below 2.
  """
  if levels < 2:
    raise InputError(f'dequantise_uniform needs levels >= 2, got {levels}.')

  def to_x(pixels, keys):
    return discrete.join(pixels.astype(jnp.float32), random.uniform(random.stream(keys, 'dequantise'), pixels.shape[1:]))

  def to_data(x):
    return discrete.level(x, levels).astype(jnp.int32)

  return _preprocess(levels, to_x, to_data, lambda x: x / levels, lambda x: jnp.full_like(x, math.log(levels)))


def dequantise_logit(levels: int, logit_lambda: float) -> Preprocess:
  """Makes x = logit(lambda + (1 - 2 lambda) (pixel + u) / levels), u ~ U(0, 1) (Papamakarios et al., 2017, appendix).

  Lambda sets the scale of a black pixel's conditional, and with it how z-reconstruction and reverse KL behave: 0.99 at 1e-6,
  0.021 at 0.05 for 256 levels.

  Raises:
    InputError: levels below 2 or lambda outside (0, 1/2).
  """
  if levels < 2 or not 0 < logit_lambda < 0.5:
    raise InputError(f'config.data.logit_lambda must lie between 0 and 0.5, and images have 2 levels or more, got '
                     f'{logit_lambda} and {levels}: without the logit, logit_lambda is None.')
  width = 1 - 2 * logit_lambda

  def to_x(pixels, keys):
    noise = random.uniform(random.stream(keys, 'dequantise'), pixels.shape[1:])
    pixels = pixels.astype(jnp.float32)
    # 1 - p is formed by itself: at lambda = 1e-6 a float32 p near one has lost it.
    p = logit_lambda + width * (pixels + noise) / levels
    q = logit_lambda + width * ((levels - 1 - pixels) + (1 - noise)) / levels
    return jnp.log(p) - jnp.log(q)

  def to_unit(x):
    return (jax.nn.sigmoid(x) - logit_lambda) / width

  def to_data(x):
    return jnp.clip(jnp.floor(to_unit(x) * levels), 0, levels - 1).astype(jnp.int32)

  def log_det(x):
    # p = sigmoid(x) and dx/dv = width / (p (1 - p)).
    return math.log(width) + jax.nn.softplus(x) + jax.nn.softplus(-x)

  return _preprocess(levels, to_x, to_data, to_unit, log_det)
