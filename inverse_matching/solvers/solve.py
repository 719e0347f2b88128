"""x = T^-1(z) of one batch by a named solver."""
import functools

import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.solvers.fixed_point import TOLERANCE, Solution, ancestral, exact, fixed_point
from inverse_matching.types import Array, Cond, Params, Teacher, check_event

SOLVERS = ('auto', 'ancestral', 'cached', 'fixed_point')


def choose(teacher: Teacher) -> str:
  """The solver that 'auto' stands for: 'cached' where the network keeps activations, else 'fixed_point'.

  On a CPU `cached` was the fastest at every size and batch of results/sampling.
  """
  return 'fixed_point' if teacher.cached is None else 'cached'


def check(teacher: Teacher, solver: str) -> None:
  """Raises InputError unless the solver exists and serves the teacher."""
  if solver not in SOLVERS:
    raise InputError(f'Unknown solver {solver!r}: use one of {", ".join(SOLVERS)}.')
  for block in teacher.blocks or (teacher,):
    if block.sweep is None and (block.z_to_x is None or solver != 'auto'):
      raise InputError('This teacher has no autoregressive form to solve: use solver=auto with a teacher that has z_to_x, or '
                       'train on pairs (x, T(x)).')
    if solver == 'cached' and block.cached is None:
      raise InputError('This teacher keeps no activations, which solver=cached needs: use fixed_point or ancestral, or give '
                       'inverse_matching.autoregressive its `cached`.')


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
      dimensions. 'auto': see `choose`; the teacher's own z_to_x if it is not autoregressive.
    init: start for the fixed point, [B, *event].
    tolerance: for the fixed point, relative to max |x| of each example.
    max_sweeps: for the fixed point; None is as many as it takes.

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
    return exact(teacher.cached(params, z, cond), 1)
  sweep = functools.partial(teacher.sweep, params, z, cond=cond)
  if solver == 'ancestral':
    return ancestral(sweep, z, teacher.order)
  return fixed_point(sweep, z, init=init, **settings)
