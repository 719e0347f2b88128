"""The steps of a distillation as functions of a workdir: train a teacher, make pairs, distil a student, load either.

Each may be stopped at any moment and called again with the same arguments; it then goes on, and does nothing once done.
"""
import functools
import os
import pathlib
from typing import Any, Callable, Mapping, NamedTuple

from absl import logging
import jax
import numpy as np

from inverse_matching import checkpoint, files, loop, losses, parallel, random, solvers, solving, students, teachers, transforms
from inverse_matching import workdir as workdirs
from inverse_matching.data import images as image_data
from inverse_matching.data import pairs as pair_data
from inverse_matching.data import sources
from inverse_matching.data.speech import Speech
from inverse_matching.errors import InputError
from inverse_matching.processes import barrier, is_first
from inverse_matching.progress import Progress
from inverse_matching.types import Params, Student, Teacher, deterministic
from inverse_matching.utterances import pair_maker

SHARD = 1024  # pairs per shard
PAIRS_FROM = ('z', 'sample', 'data')  # see make_pairs
Make = Callable[[np.ndarray, Callable[[int], None]], dict[str, Any]]  # (positions [N], progress) -> arrays [N, ...] of a shard


class TeacherRun(NamedTuple):
  """A trained teacher with its data."""
  config: Mapping[str, Any]
  data: sources.ImageData | sources.SpeechData
  teacher: Teacher
  params: Params
  hash: str  # of params

  @property
  def images(self) -> image_data.Images:
    """Of a teacher of images."""
    return self.data.images

  @property
  def preprocess(self) -> transforms.Preprocess:
    """Of a teacher of images."""
    return self.data.preprocess

  @property
  def speech(self) -> Speech:
    """Of a teacher of speech."""
    return self.data.speech


class StudentRun(NamedTuple):
  """A trained student."""
  config: Mapping[str, Any]
  student: Student
  params: Params


def _teacher(config: Mapping[str, Any], data: sources.ImageData | sources.SpeechData) -> Teacher:
  teacher = teachers.make(event_shape=data.event_shape, **config['teacher'], **data.model_settings)
  if isinstance(data, sources.SpeechData):
    return teacher
  levels = data.images.levels
  if teacher.levels is not None and config['data'].get('logit_lambda') is not None:
    raise InputError('The teacher is one of discrete data, which the logit is not: set config.data.logit_lambda to None in the '
                     'config file, or take a continuous config.teacher.elementwise.')
  if teacher.levels not in (None, levels):
    raise InputError(f'The teacher has {teacher.levels} levels, but the data {levels}: set config.teacher.levels to {levels}.')
  return teacher


def train_teacher(config: Mapping[str, Any], workdir: str | os.PathLike, devices: int | None = None) -> TeacherRun:
  """Trains the teacher of config.teacher on config.data by maximum likelihood.

  Args:
    config: nested mapping with sections data, teacher, optimizer and train.
    workdir: of the teacher.
    devices: see loop.fit.
  """
  sections = {name: config[name] for name in ('data', 'teacher', 'optimizer', 'train')}
  data = sources.load(config['data'])
  teacher = _teacher(config, data)
  arrays, held_out = data.examples()
  with workdirs.open_run(workdir, {'kind': 'teacher', **sections}) as path:
    params = loop.fit(
        path, 'teacher', config=config, loss_fn=losses.maximum_likelihood(teacher),
        evaluation_loss_fn=losses.maximum_likelihood(deterministic(teacher)), init=teacher.init, teacher_params=None,
        arrays=arrays, held_out=held_out, prepare=data.prepare(config['train']['seed']), epoch_size=data.epoch_size,
        check=functools.partial(teachers.check, teacher, **data.check_settings), devices=devices)
  return TeacherRun(sections, data, teacher, params, checkpoint.tree_hash(params))


def load_teacher(workdir: str | os.PathLike) -> TeacherRun:
  """The teacher of a finished or stopped run; InputError if there is none or its checkpoints are damaged."""
  config = workdirs.read_config(workdir, 'teacher')
  data = sources.load(config['data'])
  teacher = _teacher(config, data)
  params, _ = checkpoint.load_ema(workdir, jax.eval_shape(teacher.init, jax.random.key(0)))
  return TeacherRun(config, data, teacher, params, checkpoint.tree_hash(params))


def prior_draws(teacher: Teacher, seed: int, positions: np.ndarray) -> np.ndarray:
  """z [N, *event] at positions [N] of the stream of a seed; the same for any number of devices."""
  return np.asarray(jax.jit(lambda p: teacher.prior.sample(random.stream(random.keys_at(seed, p), 'prior')))(
      np.asarray(positions, np.uint32)))


def source_of_pairs(teacher: Teacher) -> str:
  """The pairs_from of make_pairs that serves the teacher: 'z' where it has a T^-1, else 'sample'."""
  return 'sample' if teacher.z_to_x is None else 'z'


def image_pairs(run: TeacherRun, seed: int, solver: str, pairs_from: str, devices: int | None) -> Make:
  """Makes arrays 'z' and 'x' at positions of the stream of a seed; see make_pairs."""
  teacher, num_devices = run.teacher, parallel.choose_devices(requested=devices)
  if pairs_from == 'z':
    solve = solving.solver_fn(teacher, solver, devices)

    def from_z(positions, progress):
      z = prior_draws(teacher, seed, positions)
      return {'z': z, 'x': solve(run.params, z, progress=progress).x}

    return from_z
  draw = parallel.map_examples(lambda params, p: teacher.sample(params, random.keys_at(seed, p)), num_devices, parallel.CHUNK)
  encode = parallel.map_examples(lambda params, x: teacher.x_to_z(params, x)[0], num_devices, parallel.CHUNK)

  def from_sample(positions, progress):
    x = draw(run.params, positions, progress=progress)
    return {'z': encode(run.params, x), 'x': x}

  return from_sample


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
      without an inverse. 'data': x from the recordings and z = T(x), for x_reconstruction without the teacher in every step.
    devices: number of local devices, or None for all.
  """
  if pairs_from not in PAIRS_FROM:
    raise InputError(f'pairs_from is {pairs_from!r}: use z (x = T^-1(z)), sample (x from the teacher, z = T(x)) or data (x '
                     'from recordings, z = T(x)).')
  if num < 1:
    raise InputError(f'num must be at least 1, got {num}.')
  teacher = run.teacher
  is_speech = isinstance(run.data, sources.SpeechData)
  if is_speech and pairs_from == 'sample':
    raise InputError('pairs_from=sample has no features to speak with: use z or data.')
  if not is_speech and pairs_from == 'data':
    raise InputError('pairs_from=data is for speech: without --pairs, x_reconstruction takes images from the data and '
                     'dequantises them anew each time.')
  if pairs_from == 'data' and num > len(run.speech.train):
    raise InputError(f'num is {num}, but there are {len(run.speech.train)} training utterances: ask for no more with '
                     'pairs_from=data.')
  if pairs_from == 'z' and teacher.z_to_x is None:
    raise InputError('This teacher has no T^-1: use --pairs_from=sample.')
  facts = {'kind': 'pairs', 'teacher': run.hash, 'num': num, 'seed': seed, 'solver': solver, 'tolerance': solvers.TOLERANCE,
           'pairs_from': pairs_from, 'shard_size': SHARD}
  with workdirs.open_run(workdir, facts) as path:
    if is_speech:
      make = pair_maker(teacher, run.params, run.speech, seed, solver, pairs_from, parallel.choose_devices(requested=devices))
    else:
      make = image_pairs(run, seed, solver, pairs_from, devices)
    num_shards = -(-num // SHARD)
    # Each process makes shards of its own; one writes the manifest when all have come that far.
    shards = {i: np.arange(i * SHARD, min((i + 1) * SHARD, num), dtype=np.uint32)
              for i in range(jax.process_index(), num_shards, jax.process_count())}
    counts = {i: len(positions) for i, positions in shards.items()}
    missing = pair_data.missing(path, counts)
    total = sum(counts.values())
    with Progress('pairs', total, total - sum(counts[i] for i in missing), 'pair') as progress:
      for i in missing:
        pair_data.write_shard(path, i, make(shards[i], progress.update))
    barrier('all shards are there')
    if is_first() and not pair_data.is_finished(path):
      pair_data.finish(path, num_shards, facts)
    barrier('the manifest is there')
    return path


def distill(config: Mapping[str, Any], workdir: str | os.PathLike, teacher_run: TeacherRun,
            pairs: str | os.PathLike | None = None, devices: int | None = None) -> StudentRun:
  """Trains the student of config.student under config.loss.

  Args:
    config: nested mapping with sections student, loss, optimizer and train; the data are the teacher's.
    workdir: of the student.
    teacher_run: from load_teacher or train_teacher.
    pairs: folder made by make_pairs; without it the student trains on the teacher's data. A share of the pairs (a
      sixteenth) is held out. An epoch is as many updates as one over the data, whatever the number of pairs.
    devices: see loop.fit.
  """
  teacher, data = teacher_run.teacher, teacher_run.data
  settings = dict(config['loss'])
  seed = config['train']['seed']
  if settings['name'] == 'oracle_prediction' and pairs is None:
    raise InputError('oracle_prediction trains on pairs (z, T^-1(z)): run launch.make_pairs and give --pairs.')
  student = students.make(event_shape=data.event_shape, **config['student'], **data.model_settings)
  loss_fn = losses.make(teacher=teacher, student=student, **settings)
  evaluation_loss_fn = losses.make(teacher=teacher, student=deterministic(student), **settings)
  if pairs is None:
    (arrays, held_out), prepare = data.examples(), data.prepare(seed)
  else:
    arrays, held_out = data.pairs(pair_data.dataset(pairs, teacher_run.hash))
    prepare = functools.partial(sources.prepare_arrays, seed=seed)
  sections = {name: config[name] for name in ('student', 'loss', 'optimizer', 'train')}
  made_from = {'teacher_hash': teacher_run.hash,
               'pairs_hash': None if pairs is None else files.sha256(pathlib.Path(pairs) / pair_data.MANIFEST)}
  with workdirs.open_run(workdir, {'kind': 'student', **made_from, **sections}) as path:
    params = loop.fit(path, pathlib.Path(workdir).name, config=config, loss_fn=loss_fn, evaluation_loss_fn=evaluation_loss_fn,
                      init=student.init, teacher_params=teacher_run.params, arrays=arrays, held_out=held_out, prepare=prepare,
                      epoch_size=data.epoch_size, devices=devices)
  return StudentRun(sections, student, params)


def load_student(workdir: str | os.PathLike, teacher_run: TeacherRun) -> StudentRun:
  """The student of a run, which must be of that teacher; InputError otherwise."""
  config = workdirs.read_config(workdir, 'student')
  if config['teacher_hash'] != teacher_run.hash:
    raise InputError(f'The student in {workdir} was distilled from another teacher ({config["teacher_hash"][:12]}, not '
                     f'{teacher_run.hash[:12]}): give the --teacher it was made with.')
  student = students.make(event_shape=teacher_run.data.event_shape, **config['student'], **teacher_run.data.model_settings)
  params, step = checkpoint.load_ema(workdir, jax.eval_shape(student.init, jax.random.key(0)))
  logging.info('%s: step %d.', workdir, step)
  return StudentRun(config, student, params)
