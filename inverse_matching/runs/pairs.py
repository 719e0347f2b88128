"""Pairs (z, x = T^-1(z)) of a trained teacher, in a folder of shards."""
import functools
import os
import pathlib
from typing import Any, Callable

import jax
import numpy as np

from inverse_matching import random, solvers
from inverse_matching.data import pairs as store
from inverse_matching.data.source import size, take
from inverse_matching.errors import InputError
from inverse_matching.runs import utterances
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runs.models import TeacherRun
from inverse_matching.runtime import processes
from inverse_matching.runtime.devices import choose_devices, map_examples
from inverse_matching.runtime.processes import barrier, is_first
from inverse_matching.runtime.progress import Progress
from inverse_matching.solvers import batched
from inverse_matching.types import Array, Teacher

SHARD = 1024  # pairs per shard
PAIRS_FROM = ('z', 'sample', 'data')  # see make_pairs
Make = Callable[[np.ndarray, Callable[[int], None]], dict[str, Any]]  # (positions [N], progress) -> arrays [N, ...] of a shard


def prior_draws(teacher: Teacher, seed: int, positions: np.ndarray) -> np.ndarray:
  """Returns z [N, *event] at positions [N] of the stream of a seed; the same for any number of devices."""
  return np.asarray(_prior_draws(teacher.prior.sample)(np.uint32(seed), np.asarray(positions, np.uint32)))


@functools.lru_cache(maxsize=16)
def _prior_draws(sample: Callable[[Array], Array]) -> Callable[[np.ndarray, np.ndarray], Array]:
  """Compiled once for all shards of as many positions."""
  return jax.jit(lambda seed, positions: sample(random.stream(random.keys_at(seed, positions), 'prior')))


def source_of_pairs(teacher: Teacher) -> str:
  """Returns the pairs_from of make_pairs that serves the teacher: 'z' where it has a T^-1, else 'sample'."""
  return 'sample' if teacher.z_to_x is None else 'z'


def pair_maker(run: TeacherRun, num: int, seed: int, solver: str, pairs_from: str, devices: int | None) -> Make:
  """Makes arrays 'z' and 'x' at positions, out of `num`, of the stream of a seed; see make_pairs."""
  teacher, num_devices = run.teacher, choose_devices(requested=devices)
  if pairs_from == 'data':
    return _encoder(run, num, seed, num_devices)
  if pairs_from == 'z':
    solve = batched.solver_fn(teacher, solver, devices)

    def from_z(positions, progress):
      z = prior_draws(teacher, seed, positions)
      return {'z': z, 'x': solve(run.params, z, progress=progress).x}

    return from_z
  draw = map_examples(lambda params, p: teacher.sample(params, random.keys_at(seed, p)), num_devices)
  encode = map_examples(lambda params, x: teacher.x_to_z(params, x)[0], num_devices)

  def from_sample(positions, progress):
    x = draw(run.params, positions, progress=progress)
    return {'z': encode(run.params, x), 'x': x}

  return from_sample


def _encoder(run: TeacherRun, num: int, seed: int, num_devices: int) -> Make:
  examples, prepare = run.source.train, run.space.prepare(seed)
  count = size(examples)

  def encode(params, raw):
    x = prepare(raw).x
    return {'z': run.teacher.x_to_z(params, x)[0], 'x': x}

  def which(positions):  # each as often as the others, up to one, and several of one example in a row
    return positions if num <= count else (positions.astype(np.uint64) * count // num).astype(np.uint32)

  run_encode = map_examples(encode, num_devices)
  return lambda positions, progress: run_encode(run.params, {**take(examples, which(positions)), 'position': positions},
                                                progress=progress)


def draw_pairs(run: TeacherRun, num: int, seed: int, *, solver: str = 'auto', devices: int | None = None,
               progress: Callable[[int], None] | None = None) -> dict[str, np.ndarray]:
  """Returns 'z' and 'x' [num, *event] in memory, of a teacher of events of one shape; over the devices of all processes."""
  make = pair_maker(run, num, seed, solver, source_of_pairs(run.teacher), devices)
  return processes.split(lambda _, positions, progress: make(positions, progress))(
      None, np.arange(num, dtype=np.uint32), progress=progress)


def make_pairs(run: TeacherRun, workdir: str | os.PathLike, *, num: int, seed: int, solver: str = 'auto',
               pairs_from: str = 'z', devices: int | None = None) -> pathlib.Path:
  """Writes `num` pairs (z, x) with x = T^-1(z) to shards in a folder, whose manifest is written last.

  Called again, it makes what is missing, and what was altered since.

  Args:
    run: the teacher.
    workdir: of the pairs.
    num: how many. Of speech, pair i has the features of training utterance i; past their number they begin anew.
    seed: of the prior draws; use another one for evaluation.
    solver: see solvers.solve.
    pairs_from: 'z': x = T^-1(z) for prior draws z. 'sample': x ~ teacher.sample and z = T(x), equal in law, for teachers
      without an inverse. 'data': x from the training data and z = T(x), for x_reconstruction without the teacher in every
      step. More of them than images have each image several times in a row, dequantised anew, so that those that a training
      holds out are of images of their own, but for one at most.
    devices: number of local devices, or None for all.
  """
  if pairs_from not in PAIRS_FROM:
    raise InputError(f'pairs_from is {pairs_from!r}: use z (x = T^-1(z)), sample (x from the teacher, z = T(x)) or data (x '
                     'from the data, z = T(x)).')
  if num < 1:
    raise InputError(f'num must be at least 1, got {num}.')
  teacher = run.teacher
  is_open = None in run.space.event_shape  # utterances, each as long as its features
  if is_open and pairs_from == 'sample':
    raise InputError('pairs_from=sample has no features to speak with: use z or data.')
  if is_open and pairs_from == 'data' and num > len(run.source.data.train):
    raise InputError(f'num is {num}, but there are {len(run.source.data.train)} training utterances: ask for no more with '
                     'pairs_from=data.')
  if pairs_from == 'z' and teacher.z_to_x is None:
    raise InputError('This teacher has no T^-1: use --pairs_from=sample.')
  facts = {'kind': 'pairs', 'teacher': run.hash, 'num': num, 'seed': seed, 'solver': solver, 'tolerance': solvers.TOLERANCE,
           'pairs_from': pairs_from, 'shard_size': SHARD}
  with workdirs.open_run(workdir, facts) as path:
    make = (utterances.pair_maker(run, seed, solver, pairs_from, devices) if is_open else
            pair_maker(run, num, seed, solver, pairs_from, devices))
    num_shards = -(-num // SHARD)
    # Each process makes shards of its own; one writes the manifest when all have come that far.
    shards = {i: np.arange(i * SHARD, min((i + 1) * SHARD, num), dtype=np.uint32)
              for i in range(jax.process_index(), num_shards, jax.process_count())}
    counts = {i: len(positions) for i, positions in shards.items()}
    missing = store.missing(path, counts)
    total = sum(counts.values())
    with Progress('pairs', total, total - sum(counts[i] for i in missing), 'pair') as progress:
      for i in missing:
        store.write_shard(path, i, make(shards[i], progress.update))
    barrier('all shards are there')
    if is_first() and not store.is_finished(path):
      store.finish(path, num_shards, facts)
    barrier('the manifest is there')
    return path
