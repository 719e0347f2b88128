"""The map from pixels to the teacher's space: noise within a grey level, uniform or not, and for densities the logit."""
import math
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.elementwise import discrete
from inverse_matching.errors import InputError
from inverse_matching.types import Array

END_NOISE = ('gaussian',)  # see dequantise_logit
CUT = 3.5  # standard deviations to which that noise is cut


class Preprocess(NamedTuple):
  """The map from integer pixels to the teacher's space X by noise within their grey levels, and back.

  Attributes:
    levels: number of grey levels.
    range: (lowest, highest) x of any image.
    to_x: (pixels [B, *event] integers, keys [B]) -> x [B, *event], one draw of q(x | pixels).
    to_data: x [B, *event] -> integers [B, *event] in 0..levels - 1.
    to_unit: x [B, *event] -> v = (pixel + u) / levels [B, *event] in (0, 1), with a gradient.
    log_noise: x [B, *event] -> log q(x | to_data(x)) [B].
    bits_per_dim: (log p(x) [B], x) -> [B], of the integer data: the dequantised bound, that is log q - log p in bits
      (Theis et al., 2016; Ho et al., 2019, section 3.1), exact for discrete heads.
  """
  levels: int
  range: tuple[float, float]
  to_x: Callable[[Array, Array], Array]
  to_data: Callable[[Array], Array]
  to_unit: Callable[[Array], Array]
  log_noise: Callable[[Array], Array]
  bits_per_dim: Callable[[Array, Array], Array]


def _preprocess(levels: int, ends: tuple[float, float], to_x: Callable[[Array, Array], Array],
                to_data: Callable[[Array], Array], to_unit: Callable[[Array], Array],
                log_noise: Callable[[Array], Array]) -> Preprocess:

  def sum_log_noise(x):
    return jnp.sum(log_noise(x).reshape(x.shape[0], -1), axis=-1)

  def bits_per_dim(log_prob, x):
    return (sum_log_noise(x) - log_prob) / (math.prod(x.shape[1:]) * math.log(2))

  return Preprocess(levels, ends, to_x, to_data, to_unit, sum_log_noise, bits_per_dim)


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

  return _preprocess(levels, (0.0, float(levels)), to_x, to_data, lambda x: x / levels, jnp.zeros_like)


def dequantise_logit(levels: int, logit_lambda: float, end_noise: str | None = None) -> Preprocess:
  """Makes x = logit(lambda + (1 - 2 lambda) (pixel + u) / levels), u ~ U(0, 1) (Papamakarios et al., 2017, appendix).

  Lambda sets the scale of a black pixel's conditional, and with it how z-reconstruction and reverse KL behave: 0.99 at 1e-6,
  0.021 at 0.05 for 256 levels.

  No Gaussian conditional maps the x of a black pixel to a normal z: what is uniform within a level is skewed in the logit. With
  end_noise 'gaussian' x of the first and of the last level is normal instead, around the middle of what the level has of
  the logit, 3.5 standard deviations of it to either side; inner levels stay as they are.

  Args:
    levels: number of grey levels.
    logit_lambda: lambda.
    end_noise: None or 'gaussian'.

  Raises:
    InputError: levels below 2, lambda outside (0, 1/2), or another end_noise.
  """
  if levels < 2 or not 0 < logit_lambda < 0.5:
    raise InputError(f'config.data.logit_lambda must lie between 0 and 0.5, and images have 2 levels or more, got '
                     f'{logit_lambda} and {levels}: without the logit, logit_lambda is None.')
  if end_noise not in (None, *END_NOISE):
    raise InputError(f'config.data.end_noise is {end_noise!r}: use gaussian, or None for uniform noise in every level.')
  width = 1 - 2 * logit_lambda
  logit = lambda p: math.log(p) - math.log1p(-p)
  first, last = logit(logit_lambda), logit(logit_lambda + width / levels)  # of x of a black pixel
  middle, std = (first + last) / 2, (last - first) / 2 / (CUT + 0.01)  # the rest is for rounding
  mass = math.erf(CUT / math.sqrt(2))

  def to_x(pixels, keys):
    noise = random.uniform(random.stream(keys, 'dequantise'), pixels.shape[1:])
    values = pixels.astype(jnp.float32)
    # 1 - p is formed by itself: at lambda = 1e-6 a float32 p near one has lost it.
    p = logit_lambda + width * (values + noise) / levels
    q = logit_lambda + width * ((levels - 1 - values) + (1 - noise)) / levels
    x = jnp.log(p) - jnp.log(q)
    if end_noise is None:
      return x
    normal = std * jnp.clip(jax.scipy.special.ndtri((1 - mass) / 2 + mass * noise), -CUT, CUT)
    return jnp.where(pixels == 0, middle + normal, jnp.where(pixels == levels - 1, normal - middle, x))

  def to_unit(x):
    return (jax.nn.sigmoid(x) - logit_lambda) / width

  def to_data(x):
    return jnp.clip(jnp.floor(to_unit(x) * levels), 0, levels - 1).astype(jnp.int32)

  def log_noise(x):
    # With p = sigmoid(x) and v = (pixel + u) / levels, dv/dx = p (1 - p) / width.
    uniform = math.log(levels / width) - jax.nn.softplus(x) - jax.nn.softplus(-x)
    if end_noise is None:
      return uniform
    normal = -0.5 * jnp.square((jnp.abs(x) + middle) / std) - math.log(std * math.sqrt(2 * math.pi) * mass)
    return jnp.where(jnp.abs(x) > -last, normal, uniform)

  return _preprocess(levels, (first, -first), to_x, to_data, to_unit, log_noise)
