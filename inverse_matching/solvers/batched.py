"""T^-1 of many examples: in chunks, over devices, and without work on examples that are done."""
import functools
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import solvers
from inverse_matching.runtime.devices import choose_devices, default_chunk, map_chunks, map_examples
from inverse_matching.solvers.fixed_point import Progress, Solution, advance, begin, max_sweeps_of
from inverse_matching.types import Teacher

SWEEPS = 4  # between two looks at what is done: a look costs about as much as a sweep of few examples
SMALLEST = 8  # examples; a smaller batch is hardly faster, and each size is a program to compile


def solver_fn(teacher: Teacher, solver: str = 'auto', devices: int | None = None, *, chunk: int | None = None,
              **settings: Any) -> Callable[..., Solution]:
  """Runs solvers.solve over many examples.

  Args:
    teacher: the teacher.
    solver: see solvers.solve.
    devices: number of local devices, or None for all.
    chunk: examples per device and call, by default devices.default_chunk(); part of what fixes the bits of a result.
    **settings: tolerance and max_sweeps, see solvers.solve.

  Returns:
    run(params, z [N, *event], cond=None, init=None, progress=None) -> Solution of numpy arrays [N, ...]; `cond` is a pytree
    with leading [N], `init` a start [N, *event], and `progress` is called with numbers of examples done. An example's result
    is the same bits whatever N and the number of devices.
  """
  solvers.check(teacher, solver)
  num_devices = choose_devices(requested=devices)
  if solver == 'auto' and teacher.sweep is not None:
    solver = solvers.choose(teacher)
  if solver == 'fixed_point' and not teacher.blocks:
    mapped = map_chunks(compacting(teacher, **settings), num_devices, chunk)
  else:
    mapped = map_examples(lambda params, z, cond, init: solvers.solve(teacher, params, z, cond, solver=solver, init=init,
                                                                      **settings), num_devices, chunk or default_chunk())
  return lambda params, z, cond=None, init=None, progress=None: mapped(params, z, cond, init, progress=progress)


def compacting(teacher: Teacher, *, tolerance: float = solvers.TOLERANCE,
               max_sweeps: int | None = None) -> Callable[..., Solution]:
  """The fixed point as a loop on the host: (params, z [B, *event], cond=None, init=None) -> Solution of numpy arrays.

  The batch is halved whenever half of it is done, so that done examples cost no work.
  """

  @jax.jit
  def go_on(params, z, cond, state, limit):
    return advance(functools.partial(teacher.sweep, params, z, cond=cond), state, tolerance, limit)

  def solve(params, z, cond=None, init=None):
    limit = max_sweeps_of(z, max_sweeps)
    state, index, out = jax.jit(begin)(z, init), np.arange(len(z)), None
    count = 0
    while True:
      size = len(index)
      count = min(count + SWEEPS, limit) if size >= 2 * SMALLEST else limit
      state = go_on(params, z, cond, state, count)
      active = np.asarray(state.active)
      going_on = active.any() and count < limit
      while going_on and size >= 2 * SMALLEST and size % 2 == 0 and active.sum() <= size // 2:
        size //= 2
      if going_on and size == len(index):
        continue
      # What is still at work is written too, and again when it is done.
      here = jax.device_get(Solution(state.x, state.sweeps, state.change))
      if out is None:
        out = jax.tree.map(np.array, here)
      else:
        for whole, part in zip(out, here):
          whole[index] = part
      if not going_on:
        return out
      keep = np.argsort(~active, kind='stable')[:size]  # the active ones first
      index, (z, cond) = index[keep], jax.tree.map(lambda a, keep=keep: jnp.asarray(a)[keep], (z, cond))
      state = Progress(*(a[keep] for a in state[:-1]), state.count)

  return solve
