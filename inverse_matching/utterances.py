"""Functions of utterances of different lengths, each padded to one of a few lengths, so that there are few programs."""
import itertools
import math
from typing import Any, Callable, Sequence

import jax
import numpy as np

from inverse_matching import parallel, random, solvers
from inverse_matching.data.speech import Speech
from inverse_matching.types import Params, Student, Teacher

SMALLEST = 32  # frames
FACTOR = 1.5  # from one length to the next
CHUNK = 8  # utterances per device and call


def bucket(num_frames: int) -> int:
  """The length in frames that an utterance is padded to, at most half as much again."""
  return next(size for k in itertools.count() if (size := math.ceil(SMALLEST * FACTOR**k)) >= num_frames)


def map_utterances(function: Callable, num_devices: int, chunk: int | None = None) -> Callable[..., list[np.ndarray]]:
  """Maps a causal function(params, *values [B, T, ...], cond [B, F, D]) -> [B, T] over utterances.

  What stands behind the end of an utterance must not change what stands before it: so it is for T, T^-1 and S.

  Returns:
    run(params, *values, conds, progress=None) -> list of [T_i], where each of `values` is a list of [T_i] and `conds` a list of
    [F_i, D]; `progress` is called with numbers of utterances done.
  """
  mapped = parallel.map_examples(function, num_devices, chunk or CHUNK)

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
  """z [T_i] of each utterance, at its position [N] in the stream of a seed; T_i = hop * num_frames[i]."""
  out: list[Any] = [None] * len(num_frames)
  for size in sorted({bucket(n) for n in num_frames}):
    index = [i for i, n in enumerate(num_frames) if bucket(n) == size]
    draw = jax.jit(lambda p, size=size: teacher.prior.sample(random.stream(random.keys_at(seed, p), 'prior'), size * hop))
    for i, z in zip(index, np.asarray(draw(np.asarray(positions, np.uint32)[index]))):
      out[i] = z[:num_frames[i] * hop]
  return out


def solver_fn(teacher: Teacher, solver: str, num_devices: int, chunk: int | None = None) -> Callable[..., list[np.ndarray]]:
  """T^-1 of utterances: run(params, z, conds, progress=None) -> x, lists of arrays; see map_utterances and solvers.solve."""
  solvers.check(teacher, solver)
  return map_utterances(lambda params, z, cond: solvers.solve(teacher, params, z, cond, solver=solver).x, num_devices, chunk)


def student_fn(student: Student, num_devices: int, chunk: int | None = None) -> Callable[..., list[np.ndarray]]:
  """S of utterances: run(params, z, conds) -> x, lists of arrays."""
  return map_utterances(lambda params, z, cond: student.z_to_x(params, z, cond).x, num_devices, chunk)


def encoder(teacher: Teacher, num_devices: int) -> Callable[..., list[np.ndarray]]:
  """T of utterances: run(params, x, conds, progress=None) -> z, lists of arrays."""
  return map_utterances(lambda params, x, cond: teacher.x_to_z(params, x, cond)[0], num_devices)


def pair_maker(teacher: Teacher, params: Params, speech: Speech, seed: int, solver: str, pairs_from: str,
               num_devices: int) -> Callable[[np.ndarray, Callable[[int], None]], dict[str, list[np.ndarray]]]:
  """(positions [N], progress) -> lists 'z', 'x' and 'cond' of N arrays.

  Position i has the features of training utterance i, or of i less a multiple of their number; 'x' is its recording where
  pairs_from is 'data', and T^-1(z) where it is 'z'.
  """
  run = encoder(teacher, num_devices) if pairs_from == 'data' else solver_fn(teacher, solver, num_devices)

  def make(positions, progress):
    chosen = [speech.train[i % len(speech.train)] for i in positions]
    conds = [u.features for u in chosen]
    if pairs_from == 'data':
      x = [u.waveform for u in chosen]
      return {'z': run(params, x, conds, progress=progress), 'x': x, 'cond': conds}
    z = prior_draws(teacher, seed, positions, [len(cond) for cond in conds], speech.hop)
    return {'z': z, 'x': run(params, z, conds, progress=progress), 'cond': conds}

  return make
