"""Teachers from their parts: one causal function, any invertible map, or a chain of teachers."""
from typing import Any, Callable, Sequence

import jax
import jax.numpy as jnp

from inverse_matching import random, solvers
from inverse_matching.elementwise import discrete, gaussian
from inverse_matching.errors import InputError
from inverse_matching.exactness import exact
from inverse_matching.teachers import orders
from inverse_matching.types import (
  Array,
  Conditional,
  Elementwise,
  Params,
  Prior,
  Swept,
  Teacher,
  XToZ,
  ZToX,
  check_arguments,
  check_event,
  sum_event,
)


def _exact(teacher: Teacher) -> Teacher:
  maps = {name: getattr(teacher, name) for name in ('conditional', 'x_to_z', 'log_prob', 'z_to_x', 'sample', 'sweep', 'cached')}
  return teacher._replace(**{name: exact(function) for name, function in maps.items() if function is not None})


def autoregressive(event_shape: tuple[int | None, ...], init: Callable[[Array], Params], conditional: Conditional, *,
                   elementwise: Elementwise = gaussian, order: str | Sequence[int] | None = None,
                   cached: Callable[[Callable[[Array, Any], Array]], ZToX] | None = None) -> Teacher:
  """A teacher from one causal function.

  Args:
    event_shape: shape of one example.
    init: key -> params.
    conditional: (params, x [B, *event], cond, key) -> theta, causal in the raster order of the event.
    elementwise: the scalar map between x_t and z_t given theta_t. If it is discrete the conditional sees k = floor(x).
    order: see orders.make; dimension order[k] is generated k-th, and the conditional sees the permuted event. None is raster
      order.
    cached: if the network can keep its activations, elementwise.z_to_x -> the teacher's z_to_x dimension by dimension. Its own
      network must see floor(x) if the map is discrete.

  Raises:
    InputError: `order` is neither a permutation of the dimensions nor the name of one, or the conditional does not take these
      arguments.
  """
  check_arguments('The conditional', conditional, 'params, x, cond, key')
  levels = elementwise.levels
  order = orders.make(order, event_shape)
  in_order = orders.reordered(conditional, order)
  prior = elementwise.prior(event_shape)

  def theta_of(params, x, cond=None, key=None):
    check_event('x', x, event_shape)
    return in_order(params, x if levels is None else discrete.level(x, levels), cond, key)

  def x_to_z(params, x, cond=None):
    z, log_det = elementwise.x_to_z(x, theta_of(params, x, cond))
    return z, sum_event(log_det)

  def log_prob(params, x, cond=None, key=None, mask=None):
    z, log_det = elementwise.x_to_z(x, theta_of(params, x, cond, key))
    return sum_event(prior.log_density(z), mask) + sum_event(log_det, mask)

  def residual(z, x, theta):
    """See Swept."""
    encoded, log_slope = elementwise.x_to_z(x, theta)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(x) * jnp.exp(log_slope)
    return jnp.maximum(0, jnp.abs(encoded - z) - rounding) / jnp.maximum(1, jnp.abs(z))

  def solved_by(draw):
    """The fields with which `solvers` computes x_t = draw(z_t, theta_t) for all t."""
    if draw is None:
      return {}

    def sweep(params, z, x, cond=None):
      theta = theta_of(params, x, cond)
      # A sampler of its own need not be the inverse of x_to_z.
      return Swept(draw(z, theta), residual(z, x, theta) if draw is elementwise.z_to_x else jnp.zeros_like(x))

    return {'sweep': sweep, 'cached': orders.reordered(cached(draw), order) if cached else None}

  def z_to_x(params, z, cond=None):
    return solvers.solve(teacher, params, z, cond).x

  def sample(params, keys, cond=None):
    random.check_keys(keys)
    if elementwise.sample is not None:
      u = random.uniform(random.stream(keys, 'prior'), event_shape)
      return solvers.solve(teacher._replace(**solved_by(elementwise.sample)), params, u, cond).x
    if elementwise.z_to_x is None:
      raise InputError('This teacher cannot be inverted and has no sampler of its own.')
    return z_to_x(params, prior.sample(random.stream(keys, 'prior')), cond)

  teacher = _exact(Teacher(
      event_shape=tuple(event_shape), prior=prior, init=init, conditional=theta_of, x_to_z=x_to_z, log_prob=log_prob,
      z_to_x=None if elementwise.z_to_x is None else z_to_x, sample=sample, order=order,
      differentiable=elementwise.differentiable, levels=levels, elementwise=elementwise, **solved_by(elementwise.z_to_x)))
  return teacher


def from_transform(event_shape: tuple[int | None, ...], prior: Prior, init: Callable[[Array], Params],
                   x_to_z: XToZ, z_to_x: ZToX | None = None) -> Teacher:
  """A teacher from an invertible map that need not be autoregressive.

  Args:
    event_shape: shape of one example.
    prior: distribution of z.
    init: key -> params.
    x_to_z: (params, x, cond) -> (z [B, *event], log |det dz/dx| [B]).
    z_to_x: (params, z, cond) -> x, exact; or None.

  Raises:
    InputError: a map does not take these arguments.
  """
  check_arguments('x_to_z', x_to_z, 'params, x, cond')
  if z_to_x is not None:
    check_arguments('z_to_x', z_to_x, 'params, z, cond')

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
    return sum_event(prior.log_density(z)) + log_det

  def sample(params, keys, cond=None):
    random.check_keys(keys)
    if z_to_x is None:
      raise InputError('This teacher has no z_to_x to sample with.')
    return z_to_x(params, prior.sample(random.stream(keys, 'prior')), cond)

  return _exact(Teacher(event_shape=tuple(event_shape), prior=prior, init=init, conditional=None, x_to_z=checked_x_to_z,
                        log_prob=log_prob, z_to_x=None if z_to_x is None else checked_z_to_x, sample=sample))


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
      total = total + sum_event(log_det)
    return sum_event(prior.log_density(x)) + total

  return teacher._replace(blocks=blocks, log_prob=exact(log_prob), differentiable=all(block.differentiable for block in blocks),
                          levels=blocks[0].levels)
