"""z_to_x of autoregressive teachers: exact sampling by ancestral passes or by a fixed point with early stop.

Both iterate `sweep(x) = z_to_x(z; theta(x))`, one parallel pass of the network. The map is strictly triangular in the
teacher's order, so k sweeps make the first k dimensions final and T sweeps are exact; a fixed point is usually reached in
far fewer (Song et al., 2021, "Accelerating feedforward computation via parallel nonlinear equation solving").
"""
import functools
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.types import Array, Cond, Params, Teacher, check_event

TOLERANCE = 1e-5  # relative to max |x| of the example; smaller ones are below the noise of float32

Sweep = Callable[[Array], Array]  # x [B, *event] -> x [B, *event]


class Solution(NamedTuple):
  """A solved z_to_x."""
  x: Array  # [B, *event]
  sweeps: Array  # [B] network passes that the example used


def _finite(x: Array) -> Array:
  # An unsettled dimension may overflow before the ones it depends on are final; zero cannot spread through 0 * inf.
  return jnp.where(jnp.isfinite(x), x, 0.0)


def ancestral(sweep: Sweep, z: Array, order: tuple[int, ...] | None = None) -> Solution:
  """The plain reference: dimension by dimension, T passes."""
  event = z.shape[1:]
  num_dims = int(np.prod(event))
  order = jnp.arange(num_dims) if order is None else jnp.asarray(order)

  def one(t, x):
    here = jnp.arange(num_dims) == order[t]
    return jnp.where(here.reshape(event), sweep(x), x)

  x = jax.lax.fori_loop(0, num_dims, one, jnp.zeros_like(z))
  return Solution(x, jnp.full(z.shape[0], num_dims))


def fixed_point(sweep: Sweep, z: Array, *, init: Array | None = None, tolerance: float = TOLERANCE) -> Solution:
  """Sweeps all dimensions at once until a sweep changes nothing; never more than T sweeps.

  Each example stops by itself: when no dimension moves by more than `tolerance` times max(1, max |x|), it is frozen, so a
  result does not depend on the rest of the batch.

  Args:
    sweep: one pass, [B, *event] -> [B, *event].
    z: [B, *event].
    init: start [B, *event]; zeros if None. A good guess (a student's sample) saves sweeps.
    tolerance: relative change below which an example is settled.
  """
  num_dims = int(np.prod(z.shape[1:]))
  axes = tuple(range(1, z.ndim))

  def body(carry):
    x, active, sweeps, k = carry
    new = sweep(x)
    # Not a comparison of the sanitised values: an overflow must count as a change.
    change = jnp.max(jnp.where(jnp.isfinite(new), jnp.abs(new - x), jnp.inf), axes)
    scale = jnp.maximum(1.0, jnp.max(jnp.abs(_finite(new)), axes))
    x = jnp.where(active.reshape(-1, *(1,) * len(axes)), jnp.where(k == num_dims - 1, new, _finite(new)), x)
    return x, active & (change > tolerance * scale), sweeps + active, k + 1

  start = jnp.zeros_like(z) if init is None else _finite(init)
  # Derived from z so that it varies over the same mapped axes as the rest of the carry.
  active = jnp.all(jnp.ones_like(z, bool), axes)
  x, _, sweeps, _ = jax.lax.while_loop(
      lambda carry: jnp.any(carry[1]) & (carry[3] < num_dims), body, (start, active, active.astype(jnp.int32) * 0, 0))
  return Solution(x, sweeps)


SOLVERS = ('auto', 'ancestral', 'fixed_point')


def solve(teacher: Teacher, params: Params, z: Array, cond: Cond = None, *, solver: str = 'auto', init: Array | None = None,
          tolerance: float = TOLERANCE) -> Solution:
  """x = T^-1(z) by a named solver; may be jitted.

  Args:
    teacher: an autoregressive teacher, a chain of them, or any teacher with z_to_x.
    params: its parameters.
    z: [B, *event].
    cond: pytree with leading [B], or None.
    solver: 'ancestral', 'fixed_point' or 'auto' (fixed_point where the teacher has a sweep, else its own z_to_x).
    init: start for the fixed point, [B, *event].
    tolerance: for the fixed point, relative to max |x| of each example.

  Raises:
    InputError: unknown solver, wrong shape, or a teacher that cannot be inverted.
  """
  check_event('z', z, teacher.event_shape)
  if solver not in SOLVERS:
    raise InputError(f'Unknown solver {solver!r}: use one of {", ".join(SOLVERS)}.')
  if teacher.blocks:
    # x_to_z applies the blocks in order, so z_to_x undoes the last one first. A start is known only for the final x.
    sweeps = 0
    for i in reversed(range(len(teacher.blocks))):
      start = init if i == 0 else None
      z, used = solve(teacher.blocks[i], params[i], z, cond, solver=solver, init=start, tolerance=tolerance)
      sweeps = sweeps + used
    return Solution(z, sweeps)
  if teacher.sweep is None:
    if teacher.z_to_x is None or solver != 'auto':
      raise InputError('This teacher has no autoregressive form to solve: use solver=auto with a teacher that has z_to_x, or '
                       'train on pairs (x, T(x)).')
    return Solution(teacher.z_to_x(params, z, cond), jnp.ones(z.shape[0], jnp.int32))
  sweep = functools.partial(teacher.sweep, params, z, cond=cond)
  if solver == 'ancestral':
    return ancestral(sweep, z, teacher.order)
  return fixed_point(sweep, z, init=init, tolerance=tolerance)
