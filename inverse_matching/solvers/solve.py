"""z_to_x of autoregressive teachers: exact sampling by ancestral passes, from cached activations, or by a fixed point.

`sweep(x) = z_to_x(z; theta(x))` is one parallel pass of the network. The map is strictly triangular in the teacher's order, so
k sweeps make the first k dimensions final and T sweeps are exact; a fixed point is usually reached in far fewer (Song et al.,
2021, "Accelerating feedforward computation via parallel nonlinear equation solving"). Where a network can keep its
activations (types.Incremental), dimension after dimension costs about as much as one pass or two.
"""
import functools

import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.solvers.fixed_point import TOLERANCE, Solution, ancestral, exact, fixed_point
from inverse_matching.types import Array, Cond, Incremental, Params, Teacher, check_event


def blockwise(parts: Incremental, params: Params, z: Array, cond: Cond = None, *, init: Array | None = None,
              tolerance: float = TOLERANCE, max_sweeps: int | None = None) -> Solution:
  """The fixed point of one block after the other, with the activations of the blocks before cached.

  Args:
    parts: of the teacher.
    params: its parameters.
    z: [B, *event].
    cond: pytree with leading [B], or None.
    init: start [B, *event]; zeros if None.
    tolerance: see fixed_point; for each block by itself.
    max_sweeps: in each block.

  Returns:
    Solution; `sweeps` counts block sweeps over the number of blocks, with one for each block's activations.
  """
  real = parts.split(jnp.ones_like(z))  # padding must neither overflow nor keep a block unsettled

  def one(cache, block):
    z, start, real = block
    sweep = lambda x: jnp.where(real > 0, parts.sweep(params, cache, z, x, cond)[0], 0.0)
    solution = fixed_point(sweep, z, init=start, tolerance=tolerance, max_sweeps=max_sweeps)
    return parts.sweep(params, cache, z, solution.x, cond)[1], solution

  blocks = (parts.split(z), parts.split(jnp.zeros_like(z) if init is None else init), real)
  _, solved = jax.lax.scan(one, parts.init(params, len(z), cond), blocks)
  return Solution(parts.join(solved.x), jnp.mean(solved.sweeps + 1.0, axis=0), jnp.max(solved.change, axis=0))


SOLVERS = ('auto', 'ancestral', 'cached', 'fixed_point', 'blockwise')


def choose(teacher: Teacher) -> str:
  """The solver that 'auto' stands for: 'cached' where the network keeps activations, else 'fixed_point'.

  On a CPU `cached` was the fastest at every size and batch of results/sampling.
  """
  return 'fixed_point' if teacher.incremental is None else 'cached'


def check(teacher: Teacher, solver: str) -> None:
  """Raises InputError unless the solver exists and serves the teacher."""
  if solver not in SOLVERS:
    raise InputError(f'Unknown solver {solver!r}: use one of {", ".join(SOLVERS)}.')
  for block in teacher.blocks or (teacher,):
    if block.sweep is None and (block.z_to_x is None or solver != 'auto'):
      raise InputError('This teacher has no autoregressive form to solve: use solver=auto with a teacher that has z_to_x, or '
                       'train on pairs (x, T(x)).')
    if solver in ('cached', 'blockwise') and block.incremental is None:
      raise InputError(f'This teacher keeps no activations, which solver={solver} needs: use fixed_point or ancestral, or give '
                       'inverse_matching.autoregressive its `incremental`.')
    if solver == 'blockwise' and block.incremental.sweep is None:
      raise InputError('This teacher keeps its activations dimension by dimension, not in blocks: use solver=cached.')


def serves(teacher: Teacher, solver: str) -> bool:
  """Whether the solver, one of SOLVERS, can serve the teacher."""
  try:
    check(teacher, solver)
  except InputError:
    return False
  return True


def solve(teacher: Teacher, params: Params, z: Array, cond: Cond = None, *, solver: str = 'auto', init: Array | None = None,
          tolerance: float = TOLERANCE, max_sweeps: int | None = None) -> Solution:
  """x = T^-1(z) by a named solver; may be jitted.

  Args:
    teacher: an autoregressive teacher, a chain of them, or any teacher with z_to_x.
    params: its parameters.
    z: [B, *event].
    cond: pytree with leading [B], or None.
    solver: 'ancestral': T passes. 'cached': dimension by dimension from cached activations. 'fixed_point': sweeps over all
      dimensions. 'blockwise': the fixed point block by block. 'auto': see `choose`; the teacher's own z_to_x if it is not
      autoregressive.
    init: start for the fixed points, [B, *event].
    tolerance: for the fixed points, relative to max |x| of each example.
    max_sweeps: for the fixed points; None is as many as it takes.

  Raises:
    InputError: unknown solver, wrong shape, or a teacher that the solver does not serve.
  """
  check_event('z', z, teacher.event_shape)
  check(teacher, solver)
  settings = dict(tolerance=tolerance, max_sweeps=max_sweeps)
  if teacher.blocks:
    # x_to_z applies the blocks in order, so z_to_x undoes the last one first. A start is known only for the final x.
    sweeps, change = 0, 0.0
    for i in reversed(range(len(teacher.blocks))):
      start = init if i == 0 else None
      z, used, moved = solve(teacher.blocks[i], params[i], z, cond, solver=solver, init=start, **settings)
      sweeps, change = sweeps + used, jnp.maximum(change, moved)
    return Solution(z, sweeps, change)
  if teacher.sweep is None:
    return exact(teacher.z_to_x(params, z, cond), 1)
  if solver == 'auto':
    solver = choose(teacher)
  if solver == 'cached':
    return exact(teacher.incremental.z_to_x(params, z, cond), 1)
  if solver == 'blockwise':
    return blockwise(teacher.incremental, params, z, cond, init=init, **settings)
  sweep = functools.partial(teacher.sweep, params, z, cond=cond)
  if solver == 'ancestral':
    return ancestral(sweep, z, teacher.order)
  return fixed_point(sweep, z, init=init, **settings)
