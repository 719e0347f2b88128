"""Teachers from their parts (autoregressive, from_transform, chain), and the map from pixels to the teacher's space."""
import math
from typing import Callable, NamedTuple, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import random, solvers
from inverse_matching.elementwise import discrete, gaussian
from inverse_matching.errors import InputError
from inverse_matching.types import Array, Conditional, Elementwise, Incremental, Params, Prior, Teacher, check_event


def permute(order: Sequence[int]) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
  """(to, back): `to` puts dimension order[k] of the flattened event at place k; `back` undoes it.

  Both take [B, *event] of len(order) dimensions in all, or with trailing parameters [B, *event, K], and keep the shape.
  """
  order = np.asarray(order)
  inverse = np.argsort(order)

  def apply(index, value):
    return value.reshape(value.shape[0], len(order), -1)[:, index].reshape(value.shape)

  return lambda value: apply(order, value), lambda value: apply(inverse, value)


def autoregressive(event_shape: tuple[int | None, ...], init: Callable[[Array], Params], conditional: Conditional, *,
                   elementwise: Elementwise = gaussian, order: Sequence[int] | None = None,
                   incremental: Callable[[Callable], Incremental] | None = None) -> Teacher:
  """A teacher from one causal function.

  Args:
    event_shape: shape of one example.
    init: key -> params.
    conditional: (params, x [B, *event], cond, key) -> theta, causal in the raster order of the event.
    elementwise: the scalar map between x_t and z_t given theta_t. If it is discrete the conditional sees k = floor(x).
    order: a permutation of the flat indices; dimension order[k] is generated k-th. The conditional then sees the permuted
      event. None is raster order.
    incremental: cached evaluation of `conditional`, if there is one: elementwise.z_to_x -> Incremental. Its own network must
      see floor(x) if the map is discrete.

  Raises:
    InputError: `order` is not a permutation of the dimensions.
  """
  levels = elementwise.levels
  see = (lambda x: x) if levels is None else lambda x: discrete.level(x, levels)
  if order is None:

    def inner(params, x, cond=None, key=None):
      return conditional(params, see(x), cond, key)
  else:
    order = tuple(int(i) for i in order)
    if None in event_shape or sorted(order) != list(range(math.prod(event_shape))):
      raise InputError(f'order must be a permutation of 0..{math.prod(n or 0 for n in event_shape) - 1} for event shape '
                       f'{event_shape}, got {len(order)} entries.')
    to, back = permute(order)

    def inner(params, x, cond=None, key=None):
      return jax.tree.map(back, conditional(params, to(see(x)), cond, key))

  prior = elementwise.prior(event_shape)

  def theta_of(params, x, cond=None, key=None):
    check_event('x', x, event_shape)
    return inner(params, x, cond, key)

  def x_to_z(params, x, cond=None, key=None):
    z, log_det = elementwise.x_to_z(x, theta_of(params, x, cond, key))
    return z, jnp.sum(log_det.reshape(x.shape[0], -1), axis=-1)

  def log_prob(params, x, cond=None, key=None, mask=None):
    if mask is None:
      z, log_det = x_to_z(params, x, cond, key)
      return prior.log_prob(z) + log_det
    z, log_det = elementwise.x_to_z(x, theta_of(params, x, cond, key))
    steps = elementwise.prior(()).log_prob(z.reshape(-1)).reshape(z.shape) + log_det
    return jnp.sum(jnp.where(mask[..., None] > 0, steps.reshape(*mask.shape, -1), 0.0), axis=(1, 2))

  def solved_by(draw):
    """The fields with which `solvers` computes x_t = draw(z_t, theta_t) for all t."""
    if draw is None:
      return {}
    parts = incremental(draw) if incremental else None
    if parts and order is not None:
      parts = parts._replace(z_to_x=lambda params, z, cond=None, f=parts.z_to_x: back(f(params, to(z), cond)),
                             split=lambda value, f=parts.split: f(to(value)), join=lambda blocks, f=parts.join: back(f(blocks)))
    return {'sweep': lambda params, z, x, cond=None: draw(z, inner(params, x, cond)), 'incremental': parts}

  def z_to_x(params, z, cond=None):
    return solvers.solve(teacher, params, z, cond).x

  def sample(params, keys, cond=None):
    if elementwise.sample is not None:
      u = random.uniform(random.stream(keys, 'prior'), event_shape)
      return solvers.solve(teacher._replace(**solved_by(elementwise.sample)), params, u, cond).x
    if elementwise.z_to_x is None:
      raise InputError('This teacher cannot be inverted and has no sampler of its own.')
    return z_to_x(params, prior.sample(random.stream(keys, 'prior')), cond)

  teacher = Teacher(
      event_shape=tuple(event_shape), prior=prior, init=init, conditional=theta_of,
      x_to_z=lambda params, x, cond=None: x_to_z(params, x, cond), log_prob=log_prob,
      z_to_x=None if elementwise.z_to_x is None else z_to_x, sample=sample, order=order,
      differentiable=elementwise.differentiable, levels=levels, elementwise=elementwise, **solved_by(elementwise.z_to_x))
  return teacher


def from_transform(event_shape: tuple[int | None, ...], prior: Prior, init: Callable[[Array], Params],
                   x_to_z: Callable[..., tuple[Array, Array]], z_to_x: Callable[..., Array] | None = None) -> Teacher:
  """A teacher from an invertible map that need not be autoregressive.

  Args:
    event_shape: shape of one example.
    prior: distribution of z.
    init: key -> params.
    x_to_z: (params, x, cond) -> (z [B, *event], log |det dz/dx| [B]).
    z_to_x: (params, z, cond) -> x, exact; or None.
  """

  def checked_x_to_z(params, x, cond=None):
    check_event('x', x, event_shape)
    return x_to_z(params, x, cond)

  def checked_z_to_x(params, z, cond=None):
    check_event('z', z, event_shape)
    return z_to_x(params, z, cond)

  def log_prob(params, x, cond=None, key=None, mask=None):
    del key
    if mask is not None:
      raise InputError('A mask counts time steps, and a teacher from a transform has one density for the whole event: give '
                       'examples without a mask, or an autoregressive teacher.')
    z, log_det = checked_x_to_z(params, x, cond)
    return prior.log_prob(z) + log_det

  def sample(params, keys, cond=None):
    if z_to_x is None:
      raise InputError('This teacher has no z_to_x to sample with.')
    return z_to_x(params, prior.sample(random.stream(keys, 'prior')), cond)

  return Teacher(event_shape=tuple(event_shape), prior=prior, init=init, conditional=None, x_to_z=checked_x_to_z,
                 log_prob=log_prob, z_to_x=None if z_to_x is None else checked_z_to_x, sample=sample)


def chain(teachers: Sequence[Teacher]) -> Teacher:
  """Composition: x_to_z applies the teachers in turn; z_to_x solves them one by one from the last.

  Parameters are the tuple of the teachers' parameters. The prior is that of the last.

  Raises:
    InputError: no teachers, teachers of different event shapes, or one of discrete data that is not the first.
  """
  blocks = tuple(teachers)
  if not blocks or len({block.event_shape for block in blocks}) > 1:
    raise InputError(f'chain needs one or more teachers of one event shape, got {[block.event_shape for block in blocks]}.')
  if any(block.levels is not None for block in blocks[1:]):
    raise InputError('A teacher of discrete data can only be the first of a chain: what the others see is continuous.')
  prior = blocks[-1].prior

  def init(key):
    return tuple(block.init(k) for block, k in zip(blocks, jax.random.split(key, len(blocks))))

  def x_to_z(params, x, cond=None):
    total = 0.0
    for block, block_params in zip(blocks, params):
      x, log_det = block.x_to_z(block_params, x, cond)
      total = total + log_det
    return x, total

  def z_to_x(params, z, cond=None):
    for block, block_params in zip(reversed(blocks), reversed(params)):
      z = block.z_to_x(block_params, z, cond)
    return z

  inverse = None if any(block.z_to_x is None for block in blocks) else z_to_x
  teacher = from_transform(blocks[0].event_shape, prior, init, x_to_z, inverse)

  def log_prob(params, x, cond=None, key=None, mask=None):
    if key is None or mask is not None:
      return teacher.log_prob(params, x, cond, mask=mask)
    keys, total = random.stream(key, 'dropout'), 0.0
    for i, (block, block_params) in enumerate(zip(blocks, params)):
      if block.conditional is None:
        x, log_det = block.x_to_z(block_params, x, cond)
      else:  # blocks of one architecture must not drop the same units
        x, log_det = block.elementwise.x_to_z(x, block.conditional(block_params, x, cond, random.fold(keys, i)))
      total = total + jnp.sum(log_det.reshape(x.shape[0], -1), axis=-1)
    return prior.log_prob(x) + total

  return teacher._replace(blocks=blocks, log_prob=log_prob, differentiable=all(block.differentiable for block in blocks),
                          levels=blocks[0].levels)


class Preprocess(NamedTuple):
  """The bijection between dequantised pixels and the teacher's space X, with its Jacobian.

  Attributes:
    to_x: (pixels [B, *event] integers, keys [B]) -> x [B, *event]; adds uniform noise.
    to_pixels: x [B, *event] -> integers [B, *event] in 0..levels - 1.
    log_det: x [B, *event] -> log |dx/dv| [B] for v = (pixel + u) / levels in (0, 1).
    bits_per_dim: (log p(x) [B], x) -> [B], of the integer data: the dequantised bound (Theis et al., 2016),
      exact for discrete heads.
  """
  to_x: Callable[[Array, Array], Array]
  to_pixels: Callable[[Array], Array]
  log_det: Callable[[Array], Array]
  bits_per_dim: Callable[[Array, Array], Array]


def _preprocess(levels: int, to_x: Callable[[Array, Array], Array], to_pixels: Callable[[Array], Array],
                log_det: Callable[[Array], Array]) -> Preprocess:

  def sum_log_det(x):
    return jnp.sum(log_det(x).reshape(x.shape[0], -1), axis=-1)

  def bits_per_dim(log_prob, x):
    num_dims = math.prod(x.shape[1:])
    return math.log2(levels) - (log_prob + sum_log_det(x)) / (num_dims * math.log(2))

  return Preprocess(to_x, to_pixels, sum_log_det, bits_per_dim)


def dequantise_uniform(levels: int) -> Preprocess:
  """x = pixel + u, u ~ U(0, 1): what discrete heads are defined on. Their bits are exact; those of a density are the bound.

  Raises:
    InputError: levels below 2.
  """
  if levels < 2:
    raise InputError(f'dequantise_uniform needs levels >= 2, got {levels}.')

  def to_x(pixels, keys):
    return discrete.join(pixels.astype(jnp.float32), random.uniform(random.stream(keys, 'dequantise'), pixels.shape[1:]))

  def to_pixels(x):
    return discrete.level(x, levels).astype(jnp.int32)

  return _preprocess(levels, to_x, to_pixels, lambda x: jnp.full_like(x, math.log(levels)))


def dequantise_logit(levels: int, logit_lambda: float) -> Preprocess:
  """x = logit(lambda + (1 - 2 lambda) (pixel + u) / levels), u ~ U(0, 1) (Papamakarios et al., 2017, appendix).

  Lambda sets the scale of a black pixel's conditional, and with it how z-reconstruction and reverse KL behave: 0.99 at 1e-6,
  0.021 at 0.05 for 256 levels.

  Raises:
    InputError: levels below 2 or lambda outside (0, 1/2).
  """
  if levels < 2 or not 0 < logit_lambda < 0.5:
    raise InputError(f'dequantise_logit needs levels >= 2 and 0 < logit_lambda < 0.5, got {levels} and {logit_lambda}.')
  width = 1 - 2 * logit_lambda

  def to_x(pixels, keys):
    noise = random.uniform(random.stream(keys, 'dequantise'), pixels.shape[1:])
    pixels = pixels.astype(jnp.float32)
    # 1 - p is formed by itself: at lambda = 1e-6 a float32 p near one has lost it.
    p = logit_lambda + width * (pixels + noise) / levels
    q = logit_lambda + width * ((levels - 1 - pixels) + (1 - noise)) / levels
    return jnp.log(p) - jnp.log(q)

  def to_pixels(x):
    v = (jax.nn.sigmoid(x) - logit_lambda) / width
    return jnp.clip(jnp.floor(v * levels), 0, levels - 1).astype(jnp.int32)

  def log_det(x):
    # p = sigmoid(x) and dx/dv = width / (p (1 - p)).
    return math.log(width) + jax.nn.softplus(x) + jax.nn.softplus(-x)

  return _preprocess(levels, to_x, to_pixels, log_det)
