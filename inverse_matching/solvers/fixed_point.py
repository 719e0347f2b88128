"""z_to_x of an autoregressive teacher from passes of its network: one for each dimension, or until nothing changes.

`sweep(x).x = z_to_x(z; theta(x))` is one parallel pass. The map is strictly triangular in the teacher's order, so k sweeps make
the first k dimensions final and T sweeps are exact; a fixed point is usually reached in far fewer (Song et al., 2021,
"Accelerating feedforward computation via parallel nonlinear equation solving"). An x that hardly moves need not be near it: a
walk of a thousand tiny steps moves by one tiny step a sweep. So x must also be encoded as z, which a sweep sees for nothing.
"""
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.types import Array, Swept

TOLERANCE = 1e-5  # relative to max |x| of the example; smaller ones are below the noise of float32
ENCODED = 100  # times the tolerance: by how much a settled x may be encoded as another z, relative to max(1, |z|)
Sweep = Callable[[Array], Swept]  # x [B, *event] -> the next one


class Solution(NamedTuple):
  """A solved z_to_x."""
  x: Array  # [B, *event]
  sweeps: Array  # [B] network passes that the example used
  change: Array  # [B] change of x in the last sweep, relative to max(1, max |x|); 0 where x is exact


class Progress(NamedTuple):
  """A fixed point on its way."""
  x: Array  # [B, *event]
  active: Array  # [B] whether the example still changes
  sweeps: Array  # [B]
  change: Array  # [B]
  count: Array  # sweeps done by any example


def _finite(x: Array) -> Array:
  # An unsettled dimension may overflow before the ones it depends on are final; zero cannot spread through 0 * inf.
  return jnp.where(jnp.isfinite(x), x, 0.0)


def exact(x: Array, sweeps: int) -> Solution:
  """A Solution that no tolerance applies to."""
  return Solution(x, jnp.full(x.shape[0], sweeps), jnp.zeros(x.shape[0]))


def ancestral(sweep: Sweep, z: Array, order: tuple[int, ...] | None = None, num: int | None = None) -> Solution:
  """The plain reference: dimension by dimension, T passes; only the first `num` dimensions if given."""
  event = z.shape[1:]
  num_dims = int(np.prod(event))
  order = jnp.arange(num_dims) if order is None else jnp.asarray(order)

  def one(t, x):
    here = jnp.arange(num_dims) == order[t]
    return jnp.where(here.reshape(event), sweep(x).x, x)

  return exact(jax.lax.fori_loop(0, num or num_dims, one, jnp.zeros_like(z)), num or num_dims)


def begin(z: Array, init: Array | None = None) -> Progress:
  """A fixed point before its first sweep, from `init` or from zeros."""
  # Derived from z so that it varies over the same mapped axes as the rest of a loop's carry.
  active = jnp.all(jnp.ones_like(z, bool), range(1, z.ndim))
  return Progress(jnp.zeros_like(z) if init is None else _finite(init), active, active.astype(jnp.int32) * 0,
                  jnp.where(active, jnp.inf, 0.0), jnp.int32(0))


def advance(sweep: Sweep, progress: Progress, tolerance: float, limit: Array | int) -> Progress:
  """Sweeps until no example changes or `limit` sweeps are done in all."""
  axes = tuple(range(1, progress.x.ndim))
  num_dims = int(np.prod(progress.x.shape[1:]))

  def one(progress):
    x, active, sweeps, change, count = progress
    new, residual = sweep(x)
    # Not a comparison of the sanitised values: an overflow must count as a change.
    moved = jnp.max(jnp.where(jnp.isfinite(new), jnp.abs(new - x), jnp.inf), axes)
    moved = moved / jnp.maximum(1.0, jnp.max(jnp.abs(_finite(new)), axes))
    unlike = jnp.max(jnp.where(jnp.isfinite(residual), residual, jnp.inf), axes)
    going_on = (moved > tolerance) | (unlike > ENCODED * tolerance)
    last = count == num_dims - 1  # exact: there is nothing left to overflow for
    new = jnp.where(last, new, _finite(new))
    x = jnp.where(active.reshape(-1, *(1,) * len(axes)), new, x)
    return Progress(x, active & going_on & ~last, sweeps + active,
                    jnp.where(active, jnp.where(last, 0.0, moved), change), count + 1)

  return jax.lax.while_loop(lambda p: jnp.any(p.active) & (p.count < limit), one, progress)


def max_sweeps_of(z: Array, max_sweeps: int | None) -> int:
  """T, at which a fixed point is exact, or fewer if so asked."""
  num_dims = int(np.prod(z.shape[1:]))
  if max_sweeps is not None and max_sweeps < 1:
    raise InputError(f'max_sweeps must be at least 1, got {max_sweeps}.')
  return num_dims if max_sweeps is None else min(max_sweeps, num_dims)


def fixed_point(sweep: Sweep, z: Array, *, init: Array | None = None, tolerance: float = TOLERANCE,
                max_sweeps: int | None = None) -> Solution:
  """Sweeps all dimensions at once until a sweep changes nothing; never more than T sweeps.

  Each example stops by itself: when no dimension moves by more than `tolerance` times max(1, max |x|), and T(x) is z to within
  100 `tolerance` max(1, |z|) and the rounding of x (4 units in the last place) in every dimension, it is frozen. So a result
  does not depend on the rest of the batch.

  Args:
    sweep: one pass, x [B, *event] -> Swept.
    z: [B, *event].
    init: start [B, *event]; zeros if None. A good guess (a student's sample) saves sweeps.
    tolerance: relative change below which an example is settled.
    max_sweeps: stop there, settled or not (see Solution.change); None is T.
  """
  done = advance(sweep, begin(z, init), tolerance, max_sweeps_of(z, max_sweeps))
  return Solution(done.x, done.sweeps, done.change)
