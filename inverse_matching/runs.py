"""The steps of a distillation as functions of a workdir: train a teacher, make pairs, distil a student, load either.

Each may be stopped at any moment and called again with the same arguments; it then goes on, and does nothing once done.
"""
import functools
import os
import pathlib
from typing import Any, Mapping, NamedTuple

from absl import logging
import jax
import numpy as np

from inverse_matching import checkpoint, files, loop, losses, parallel, random, solvers, solving, students, teachers, transforms
from inverse_matching import workdir as workdirs
from inverse_matching.data import images as image_data
from inverse_matching.data import pairs as pair_data
from inverse_matching.errors import InputError
from inverse_matching.progress import Progress
from inverse_matching.types import Batch, Params, Student, Teacher, deterministic

SHARD = 1024  # pairs per shard


class TeacherRun(NamedTuple):
  """A trained teacher with its data."""
  config: Mapping[str, Any]
  images: image_data.Images
  preprocess: transforms.Preprocess
  teacher: Teacher
  params: Params
  hash: str  # of params


class StudentRun(NamedTuple):
  """A trained student."""
  config: Mapping[str, Any]
  student: Student
  params: Params


def _data(config: Mapping[str, Any]) -> tuple[image_data.Images, transforms.Preprocess]:
  settings = dict(config['data'])
  logit_lambda = settings.pop('logit_lambda', None)
  images = image_data.load(**settings)
  if logit_lambda is None:
    return images, transforms.dequantise_uniform(images.levels)
  return images, transforms.dequantise_logit(images.levels, logit_lambda)


def _teacher(config: Mapping[str, Any], images: image_data.Images) -> Teacher:
  teacher = teachers.make(event_shape=images.event_shape, **config['teacher'])
  if teacher.levels is not None and config['data'].get('logit_lambda') is not None:
    raise InputError('The teacher is one of discrete data, which the logit is not: set config.data.logit_lambda to None in the '
                     'config file, or take a continuous config.teacher.elementwise.')
  if teacher.levels not in (None, images.levels):
    raise InputError(f'The teacher has {teacher.levels} levels, but the data {images.levels}: set config.teacher.levels to '
                     f'{images.levels}.')
  return teacher


def _prepare_images(raw, *, preprocess: transforms.Preprocess, seed: int) -> Batch:
  keys = random.keys_at(seed, raw['position'])
  return Batch(x=preprocess.to_x(raw['pixels'], keys), key=keys)


def _prepare_pairs(raw, *, seed: int) -> Batch:
  return Batch(x=raw['x'], z=raw['z'], cond=raw.get('cond'), key=random.keys_at(seed, raw['position']))


def train_teacher(config: Mapping[str, Any], workdir: str | os.PathLike, devices: int | None = None) -> TeacherRun:
  """Trains the teacher of config.teacher on config.data by maximum likelihood.

  Args:
    config: nested mapping with sections data, teacher, optimizer and train.
    workdir: of the teacher.
    devices: see loop.fit.
  """
  sections = {name: config[name] for name in ('data', 'teacher', 'optimizer', 'train')}
  images, preprocess = _data(config)
  teacher = _teacher(config, images)
  with workdirs.open_run(workdir, {'kind': 'teacher', **sections}) as path:
    params = loop.fit(
        path, 'teacher', config=config, loss_fn=losses.maximum_likelihood(teacher),
        evaluation_loss_fn=losses.maximum_likelihood(deterministic(teacher)), init=teacher.init, teacher_params=None,
        arrays={'pixels': images.train.pixels}, held_out={'pixels': images.held_out.pixels},
        prepare=functools.partial(_prepare_images, preprocess=preprocess, seed=config['train']['seed']),
        check=functools.partial(teachers.check, teacher), devices=devices)
  return TeacherRun(sections, images, preprocess, teacher, params, checkpoint.tree_hash(params))


def load_teacher(workdir: str | os.PathLike) -> TeacherRun:
  """The teacher of a finished or stopped run; InputError if there is none or its checkpoints are damaged."""
  config = workdirs.read_config(workdir, 'teacher')
  images, preprocess = _data(config)
  teacher = _teacher(config, images)
  params, _ = checkpoint.load_ema(workdir, jax.eval_shape(teacher.init, jax.random.key(0)))
  return TeacherRun(config, images, preprocess, teacher, params, checkpoint.tree_hash(params))


def prior_draws(teacher: Teacher, seed: int, positions: np.ndarray) -> np.ndarray:
  """z [N, *event] at positions [N] of the stream of a seed; the same for any number of devices."""
  return np.asarray(jax.jit(lambda p: teacher.prior.sample(random.stream(random.keys_at(seed, p), 'prior')))(
      np.asarray(positions, np.uint32)))


def make_pairs(run: TeacherRun, workdir: str | os.PathLike, *, num: int, seed: int, solver: str = 'auto',
               pairs_from: str = 'z', devices: int | None = None) -> pathlib.Path:
  """Writes `num` pairs (z, x) with x = T^-1(z) to shards in a folder, whose manifest is written last.

  Called again, it makes what is missing, and what was altered since.

  Args:
    run: the teacher.
    workdir: of the pairs.
    num: how many.
    seed: of the prior draws; use another one for evaluation.
    solver: see solvers.solve.
    pairs_from: 'z': x = T^-1(z) for prior draws z. 'sample': x ~ teacher.sample and z = T(x), equal in law, for teachers
      without an inverse.
    devices: number of local devices, or None for all.
  """
  if pairs_from not in ('z', 'sample'):
    raise InputError(f'pairs_from is {pairs_from!r}: use z (x = T^-1(z)) or sample (x from the teacher, z = T(x)).')
  if num < 1:
    raise InputError(f'num must be at least 1, got {num}.')
  teacher = run.teacher
  if pairs_from == 'z' and teacher.z_to_x is None:
    raise InputError('This teacher has no T^-1: use --pairs_from=sample.')
  facts = {'kind': 'pairs', 'teacher': run.hash, 'num': num, 'seed': seed, 'solver': solver, 'tolerance': solvers.TOLERANCE,
           'pairs_from': pairs_from, 'shard_size': SHARD}
  with workdirs.open_run(workdir, facts) as path:
    num_devices = parallel.choose_devices(requested=devices)
    if pairs_from == 'z':
      solve = solving.solver_fn(teacher, solver, devices)
    else:
      draw = parallel.map_examples(
          lambda params, p: teacher.sample(params, random.keys_at(seed, p)), num_devices, parallel.CHUNK)
      encode = parallel.map_examples(lambda params, x: teacher.x_to_z(params, x)[0], num_devices, parallel.CHUNK)
    num_shards = -(-num // SHARD)
    # Each process makes shards of its own; one writes the manifest when all have come that far.
    shards = {i: np.arange(i * SHARD, min((i + 1) * SHARD, num), dtype=np.uint32)
              for i in range(jax.process_index(), num_shards, jax.process_count())}
    counts = {i: len(positions) for i, positions in shards.items()}
    missing = pair_data.missing(path, counts)
    total = sum(counts.values())
    with Progress('pairs', total, total - sum(counts[i] for i in missing), 'pair') as progress:
      for i in missing:
        if pairs_from == 'z':
          z = prior_draws(teacher, seed, shards[i])
          x = solve(run.params, z, progress=progress.update).x
        else:
          x = draw(run.params, shards[i], progress=progress.update)
          z = encode(run.params, x)
        pair_data.write_shard(path, i, {'z': z, 'x': x})
    parallel.barrier('all shards are there')
    if jax.process_index() == 0 and not pair_data.is_finished(path):
      pair_data.finish(path, num_shards, facts)
    parallel.barrier('the manifest is there')
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
  teacher, images = teacher_run.teacher, teacher_run.images
  settings = dict(config['loss'])
  seed = config['train']['seed']
  if settings['name'] == 'oracle_prediction' and pairs is None:
    raise InputError('oracle_prediction trains on pairs (z, T^-1(z)): run launch.make_pairs and give --pairs.')
  student = students.make(event_shape=images.event_shape, **config['student'])
  loss_fn = losses.make(teacher=teacher, student=student, **settings)
  evaluation_loss_fn = losses.make(teacher=teacher, student=deterministic(student), **settings)
  if pairs is None:
    arrays, held_out = {'pixels': images.train.pixels}, {'pixels': images.held_out.pixels}
    prepare = functools.partial(_prepare_images, preprocess=teacher_run.preprocess, seed=seed)
  else:
    stored = pair_data.dataset(pairs, teacher_run.hash)
    if len(stored) < 2:
      raise InputError(f'There is one pair in {pairs}, and it is held out: make more with launch.make_pairs --num.')
    count = max(1, len(stored) // 16)
    arrays, held_out = stored[count:], stored[:count].batch(count)[0]
    prepare = functools.partial(_prepare_pairs, seed=seed)
  sections = {name: config[name] for name in ('student', 'loss', 'optimizer', 'train')}
  sources = {'teacher_hash': teacher_run.hash,
             'pairs_hash': None if pairs is None else files.sha256(pathlib.Path(pairs) / pair_data.MANIFEST)}
  with workdirs.open_run(workdir, {'kind': 'student', **sources, **sections}) as path:
    params = loop.fit(path, pathlib.Path(workdir).name, config=config, loss_fn=loss_fn, evaluation_loss_fn=evaluation_loss_fn,
                      init=student.init, teacher_params=teacher_run.params, arrays=arrays, held_out=held_out, prepare=prepare,
                      epoch_size=len(images.train.pixels), devices=devices)
  return StudentRun(sections, student, params)


def load_student(workdir: str | os.PathLike, teacher_run: TeacherRun) -> StudentRun:
  """The student of a run, which must be of that teacher; InputError otherwise."""
  config = workdirs.read_config(workdir, 'student')
  if config['teacher_hash'] != teacher_run.hash:
    raise InputError(f'The student in {workdir} was distilled from another teacher ({config["teacher_hash"][:12]}, not '
                     f'{teacher_run.hash[:12]}): give the --teacher it was made with.')
  student = students.make(event_shape=teacher_run.images.event_shape, **config['student'])
  params, step = checkpoint.load_ema(workdir, jax.eval_shape(student.init, jax.random.key(0)))
  logging.info('%s: step %d.', workdir, step)
  return StudentRun(config, student, params)
