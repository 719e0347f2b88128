"""Functions of utterances of different lengths, each padded to one of a few lengths, so that there are few programs."""
import itertools
import math
from typing import Any, Callable, Sequence

import jax
import numpy as np

from inverse_matching import random
from inverse_matching.runs.models import TeacherRun
from inverse_matching.runtime.devices import choose_devices, map_examples
from inverse_matching.solvers import batched
from inverse_matching.types import Student, Teacher

SMALLEST = 32  # frames
FACTOR = 1.5  # from one length to the next
CHUNK = 8  # utterances per device and call


def bucket(num_frames: int) -> int:
  """Returns the length in frames that an utterance is padded to, at most half as much again."""
  return next(size for k in itertools.count() if (size := math.ceil(SMALLEST * FACTOR**k)) >= num_frames)


def over_utterances(mapped: Callable) -> Callable[..., list[np.ndarray]]:
  """Serves utterances of different lengths to a run(params, *values [N, T, ...], cond [N, F, D], progress=None) -> [N, T].

  What stands behind the end of an utterance must not change what stands before it: so it is for T, T^-1 and S.

  Returns:
    run(params, *values, conds, progress=None) -> list of [T_i], where each of `values` is a list of [T_i] and `conds` a list of
    [F_i, D]; `progress` is called with numbers of utterances done.
  """

  def run(params: Any, *values: Sequence[np.ndarray], progress: Callable[[int], None] | None = None) -> list[np.ndarray]:
    conds = values[-1]
    sizes = [bucket(len(cond)) for cond in conds]
    out: list[Any] = [None] * len(conds)
    for size in sorted(set(sizes)):
      index = [i for i, other in enumerate(sizes) if other == size]
      padded = [np.stack([_padded(some[i], size * (len(some[i]) // len(conds[i]))) for i in index]) for some in values]
      results = mapped(params, *padded, progress=progress)
      for i, result in zip(index, results):
        out[i] = result[:len(values[0][i])]
    return out

  return run


def _padded(value: np.ndarray, length: int) -> np.ndarray:
  return np.pad(value, ((0, length - len(value)), *((0, 0),) * (value.ndim - 1)))


def prior_draws(teacher: Teacher, seed: int, positions: np.ndarray, num_frames: Sequence[int], hop: int) -> list[np.ndarray]:
  """Returns z [T_i] of each utterance, at its position [N] in the stream of a seed; T_i = hop * num_frames[i]."""
  out: list[Any] = [None] * len(num_frames)
  for size in sorted({bucket(n) for n in num_frames}):
    index = [i for i, n in enumerate(num_frames) if bucket(n) == size]
    draw = jax.jit(lambda p, size=size: teacher.prior.sample(random.stream(random.keys_at(seed, p), 'prior'), size * hop))
    for i, z in zip(index, np.asarray(draw(np.asarray(positions, np.uint32)[index]))):
      out[i] = z[:num_frames[i] * hop]
  return out


def map_utterances(function: Callable, num_devices: int, chunk: int | None = None) -> Callable[..., list[np.ndarray]]:
  """Applies `over_utterances` to a causal function(params, *values [B, T, ...], cond [B, F, D]) -> [B, T], over devices."""
  return over_utterances(map_examples(function, num_devices, chunk or CHUNK))


def solver_fn(teacher: Teacher, solver: str, devices: int | None = None,
              chunk: int | None = None) -> Callable[..., list[np.ndarray]]:
  """Makes T^-1 of utterances, run(params, z, conds, progress=None) -> x, lists of arrays; see batched.solver_fn."""
  solve = batched.solver_fn(teacher, solver, devices, chunk=chunk or CHUNK)
  return over_utterances(lambda params, z, cond, progress: solve(params, z, cond, progress=progress).x)


def student_fn(student: Student, num_devices: int, chunk: int | None = None) -> Callable[..., list[np.ndarray]]:
  """Makes S of utterances, run(params, z, conds) -> x, lists of arrays."""
  return map_utterances(lambda params, z, cond: student.z_to_x(params, z, cond).x, num_devices, chunk)


def encoder(teacher: Teacher, num_devices: int) -> Callable[..., list[np.ndarray]]:
  """Makes T of utterances, run(params, x, conds, progress=None) -> z, lists of arrays."""
  return map_utterances(lambda params, x, cond: teacher.x_to_z(params, x, cond)[0], num_devices)


def pair_maker(run: TeacherRun, seed: int, solver: str, pairs_from: str,
               devices: int | None) -> Callable[[np.ndarray, Callable[[int], None]], dict[str, list[np.ndarray]]]:
  """Makes (positions [N], progress) -> lists 'z', 'x' and 'cond' of N arrays.

  Position i has the features of training utterance i, or of i less a multiple of their number; 'x' is its recording where
  pairs_from is 'data', and T^-1(z) where it is 'z'.
  """
  utterances, hop = run.source.data.train, run.space.codec.hop
  function = (encoder(run.teacher, choose_devices(requested=devices)) if pairs_from == 'data' else
              solver_fn(run.teacher, solver, devices))

  def make(positions, progress):
    chosen = [utterances[i % len(utterances)] for i in positions]
    conds = [u.features for u in chosen]
    if pairs_from == 'data':
      x = [u.waveform for u in chosen]
      return {'z': function(run.params, x, conds, progress=progress), 'x': x, 'cond': conds}
    z = prior_draws(run.teacher, seed, positions, [len(cond) for cond in conds], hop)
    return {'z': z, 'x': function(run.params, z, conds, progress=progress), 'cond': conds}

  return make
