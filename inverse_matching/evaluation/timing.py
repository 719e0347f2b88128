"""Seconds per image of the ways to sample, measured side by side in one run."""
import time
from typing import Any, Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import solvers
from inverse_matching.runs import StudentRun, TeacherRun, prior_draws


def _median_seconds(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
  """Interleaved rounds, so that a busy moment of the machine hits all alike; the first call of each only compiles."""
  times = {name: [] for name in functions}
  for function in functions.values():
    jax.block_until_ready(function())
  for _ in range(rounds):
    for name, function in functions.items():
      start = time.perf_counter()
      jax.block_until_ready(function())
      times[name].append(time.perf_counter() - start)
  return {name: float(np.median(values)) for name, values in times.items()}


def sampling_rows(run: TeacherRun, students: Mapping[str, StudentRun], *, batch: int, seed: int,
                  rounds: int = 3) -> list[dict[str, Any]]:
  """Rows {"solver", "shape", "batch", "seconds_per_image", "sweeps", "speedup_over_ancestral", "passes"} on one device.

  Args:
    run: the teacher, solved by ancestral sampling and by the fixed point.
    students: name -> student, one pass each.
    batch: images in a call.
    seed: of the prior draws.
    rounds: the median of so many interleaved ones.
  """
  teacher = run.teacher
  z = jnp.asarray(prior_draws(teacher, seed, np.arange(batch)))
  generate = {name: jax.jit(lambda params, z, s=s.student: s.z_to_x(params, z).x) for name, s in students.items()}
  solve = {solver: jax.jit(lambda params, z, solver=solver: solvers.solve(teacher, params, z, solver=solver))
           for solver in ('ancestral', 'fixed_point')}
  one_pass = jax.jit(lambda params, z: teacher.x_to_z(params, z)[0])
  functions = {name: lambda f=f, name=name: f(students[name].params, z) for name, f in generate.items()}
  functions |= {'teacher pass': lambda: one_pass(run.params, z)}
  functions |= {solver: lambda f=f: f(run.params, z) for solver, f in solve.items()}
  seconds = _median_seconds(functions, rounds)
  sweeps = {solver: float(np.max(f(run.params, z).sweeps)) for solver, f in solve.items()}
  return [{'solver': name, 'shape': list(z.shape[1:]), 'batch': batch, 'seconds_per_image': value / batch,
           'sweeps': sweeps.get(name, 1.0), 'speedup_over_ancestral': seconds['ancestral'] / value,
           'passes': value / seconds['teacher pass']} for name, value in seconds.items()]
