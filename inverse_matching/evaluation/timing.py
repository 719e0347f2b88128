"""Seconds per image of the ways to sample, measured side by side in one run."""
import time
from typing import Any, Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import solvers
from inverse_matching.runs import prior_draws
from inverse_matching.solvers.batched import solver_fn
from inverse_matching.types import Params, Student, Teacher

ANCESTRAL_DIMS = 128  # an image of more dimensions is timed on the first few, which cost the same as any others
TIMED_DIMS = 16
LONG = 10.0  # seconds; what takes longer is timed once


def _median_seconds(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
  """Interleaved rounds, so that a busy moment of the machine hits all alike; the first call of each only compiles."""
  times = {name: [] for name in functions}
  for function in functions.values():
    jax.block_until_ready(function())
  for _ in range(rounds):
    for name, function in functions.items():
      if times[name] and times[name][0] > LONG:
        continue
      start = time.perf_counter()
      jax.block_until_ready(function())
      times[name].append(time.perf_counter() - start)
  return {name: float(np.median(values)) for name, values in times.items()}


def _ancestral(teacher: Teacher, params: Params, z: jax.Array, num: int) -> jax.Array:
  """The first `num` dimensions of each block of a teacher, which is one block if it is no chain."""
  for block, block_params in reversed(list(zip(teacher.blocks, params))) if teacher.blocks else [(teacher, params)]:
    sweep = lambda x, block=block, block_params=block_params, z=z: block.sweep(block_params, z, x)
    z = solvers.ancestral(sweep, z, block.order, num).x
  return z


def sampling_rows(teacher: Teacher, params: Params, students: Mapping[str, tuple[Student, Params]], *, batch: int, seed: int,
                  rounds: int = 3, warm_start: str | None = None) -> list[dict[str, Any]]:
  """Rows of the exact solvers that serve the teacher, of its own pass, and of its students, on one device.

  Args:
    teacher: any with a T^-1.
    params: its parameters.
    students: name -> (student, its parameters), one pass each.
    batch: images in a call.
    seed: of the prior draws.
    rounds: the median of so many interleaved ones.
    warm_start: name of a student whose samples also start the fixed point; its pass is counted.

  Returns:
    Rows {"solver", "shape", "batch", "seconds_per_image", "sweeps" (mean over images), "sweeps_max", "speedup_over_ancestral",
    "speedup_over_best_exact", "passes" (time over that of one pass of the teacher), "timed_dims"}. Ancestral sampling of many
    dimensions is timed on "timed_dims" of them and scaled. A teacher that no solver serves has its own z_to_x, as 'auto', and
    no speed-up over ancestral sampling (None).
  """
  z = jnp.asarray(prior_draws(teacher, seed, np.arange(batch)))
  num_dims = z[0].size
  timed = num_dims if num_dims <= ANCESTRAL_DIMS else TIMED_DIMS
  first = jax.jit(lambda params, z: _ancestral(teacher, params, z, timed))
  one_pass = jax.jit(lambda params, z: teacher.x_to_z(params, z)[0])
  generate = {name: jax.jit(lambda params, z, s=s: s.z_to_x(params, z).x) for name, (s, _) in students.items()}
  iterative = solvers.serves(teacher, 'fixed_point')
  names = [name for name in ('fixed_point', 'cached') if solvers.serves(teacher, name)] or ['auto']
  solve = {name: solver_fn(teacher, name, 1, chunk=batch) for name in names}

  exact = {'ancestral': lambda: first(params, z)} if iterative else {}
  exact |= {name: lambda f=f: f(params, z) for name, f in solve.items()}
  if warm_start is not None and iterative:
    start = lambda: generate[warm_start](students[warm_start][1], z)
    exact[f'fixed_point from {warm_start}'] = lambda: solve['fixed_point'](params, z, init=start())
  passes = {'teacher pass': lambda: one_pass(params, z)}
  passes |= {name: lambda f=f, name=name: f(students[name][1], z) for name, f in generate.items()}

  seconds = _median_seconds({**exact, **passes}, rounds)
  sweeps = {name: np.asarray(function().sweeps, float) for name, function in exact.items() if name != 'ancestral'}
  if iterative:
    seconds['ancestral'] *= num_dims / timed
    sweeps['ancestral'] = np.array([float(num_dims * max(1, len(teacher.blocks)))])
  best = min(seconds[name] for name in exact)
  return [{'solver': name, 'shape': list(z.shape[1:]), 'batch': batch, 'seconds_per_image': value / batch,
           'sweeps': float(np.mean(sweeps.get(name, 1.0))), 'sweeps_max': float(np.max(sweeps.get(name, 1.0))),
           'speedup_over_ancestral': seconds['ancestral'] / value if iterative else None,
           'speedup_over_best_exact': best / value, 'passes': value / seconds['teacher pass'],
           'timed_dims': timed if name == 'ancestral' else num_dims}
          for name, value in seconds.items()]
