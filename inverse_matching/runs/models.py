"""The steps of a distillation as functions of a workdir: train a teacher, distil a student, load either.

Each may be stopped at any moment and called again with the same arguments; it then goes on, and does nothing once done.
"""
import functools
import os
import pathlib
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from absl import logging
import jax
import numpy as np

from inverse_matching import losses, students, teachers
from inverse_matching.data import catalogue
from inverse_matching.data import pairs as pair_data
from inverse_matching.data.source import Source, Space, prepare_arrays
from inverse_matching.errors import InputError
from inverse_matching.losses import distances
from inverse_matching.runs import classifier, exported
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runtime import files, processes
from inverse_matching.teachers import orders
from inverse_matching.training import checkpoint, loop, settings
from inverse_matching.types import Params, Student, Teacher, check_params, deterministic


class TeacherRun(NamedTuple):
  """A trained teacher. It is used without its data, which are read when somebody asks for them."""
  config: Mapping[str, Any]
  space: Space
  teacher: Teacher
  params: Params
  hash: str  # of params
  load: Callable[[], Source]  # reads the data, once

  @property
  def source(self) -> Source:
    """The data."""
    return self.load()


class StudentRun(NamedTuple):
  """A trained student."""
  config: Mapping[str, Any]
  student: Student
  params: Params


def _dtype(config: Mapping[str, Any]) -> str | None:
  """The numbers that a network trains in, None for float32; what is reported of it is of float32 always."""
  precision = config['train'].get('precision')
  if precision not in (None, 'float32', 'bfloat16'):
    raise InputError(f'config.train.precision is {precision!r}: set it to float32 or bfloat16.')
  return precision if precision == 'bfloat16' else None


def make_teacher(config: Mapping[str, Any], space: Space, dtype: str | None = None) -> Teacher:
  """The teacher of config.teacher for that space."""
  teacher = teachers.make(event_shape=space.event_shape, dtype=dtype, **config['teacher'], **space.model_settings)
  if teacher.levels is not None and config['data'].get('logit_lambda') is not None:
    raise InputError('The teacher is one of discrete data, which the logit is not: set config.data.logit_lambda to None in the '
                     'config file, or take a continuous config.teacher.elementwise.')
  if config['teacher'].get('network_input') is not None and config['data'].get('logit_lambda') is None:
    raise InputError('config.teacher.network_input is for x that is a logit, and config.data.logit_lambda is None: set both, '
                     'or neither.')
  if teacher.levels not in (None, space.levels):
    raise InputError(f'The teacher has {teacher.levels} levels, but the data {space.levels}: set config.teacher.levels to '
                     f'{space.levels}.')
  return teacher


def _sections(config: Mapping[str, Any]) -> tuple[dict[str, Any], Source]:
  """(the sections of a teacher's config, its data), if they are as they should be."""
  sections = settings.sections(config, 'data', 'teacher', 'optimizer', 'train')
  settings.check(config)
  sections['data'] = catalogue.settled(sections['data'])
  return sections, catalogue.load(sections['data'])


def check(config: Mapping[str, Any], students_of: Iterable[Mapping[str, Any]] = ()) -> Teacher:
  """The teacher of a config, untrained; InputError for what training it, or students by these configs, would refuse."""
  _, source = _sections(config)
  teacher = make_teacher(config, source.space)
  for each in students_of:
    settings.sections(each, 'student', 'loss', 'optimizer', 'train')
    settings.check(each)
    is_named = each['loss'].get('distance') == distances.FEATURES  # a distance that takes a classifier, which is trained later
    loss = {**each['loss'], **({'distance': 'l2'} if is_named else {})}
    losses.make(teacher=teacher, student=make_student(each, source.space), **loss)
  return teacher


def train_teacher(config: Mapping[str, Any], workdir: str | os.PathLike, devices: int | None = None,
                  init_from: str | os.PathLike | None = None) -> TeacherRun:
  """Trains the teacher of config.teacher on config.data by maximum likelihood.

  Args:
    config: nested mapping with sections data, teacher, optimizer and train.
    workdir: of the teacher; or a model that was exported of a run of that config, or imported, which is taken as it is.
    devices: see loop.fit.
    init_from: workdir of a teacher of the same network, with whose averaged parameters this one begins; None: it begins with
      random ones.
  """
  sections, source = _sections(config)
  teacher = make_teacher(config, source.space)
  to_train = make_teacher(config, source.space, _dtype(config))
  init, init_hash = _init(teacher.init, init_from)
  task = loop.Task(
      'teacher', losses.maximum_likelihood(to_train), losses.maximum_likelihood(deterministic(teacher)), init,
      source.train, source.validation, source.space.prepare(config['train']['seed']), epoch_size=source.space.epoch_size,
      check=functools.partial(teachers.check, teacher, **source.space.check_settings))
  params = _train(workdir, {'kind': 'teacher', **init_hash, **sections}, source.space, task, config, devices,
                  but=['imported', 'data.data_dir'])
  return TeacherRun(sections, source.space, teacher, params, checkpoint.tree_hash(params), lambda: source)


def _train(workdir: str | os.PathLike, of_run: Mapping[str, Any], space: Space, task: loop.Task, config: Mapping[str, Any],
           devices: int | None, but: Sequence[str]) -> Params:
  """Trains in a workdir, of which config.json is to hold `of_run`; returns the averaged parameters.

  An exported model stands for the run it was made of: its config must be that, but for the fields in `but`.
  """
  if not exported.is_model(workdir):
    loop.check(workdir, task, config, devices)
    with workdirs.open_run(workdir, of_run, space.facts) as path:
      return loop.fit(path, task, config, devices)
  workdirs.check_same(pathlib.Path(workdir), of_run, but=but)
  is_imported = 'imported' in files.read_json(pathlib.Path(workdir) / 'config.json')
  params, step = exported.read(workdir, jax.eval_shape(task.init, jax.random.key(0)))
  if not is_imported and step != loop.num_steps(task, config):
    raise InputError(f'{workdir} is a model of step {step}, and this config trains for {loop.num_steps(task, config)} updates: '
                     'take the model of the last one, or choose another --workdir.')
  logging.info('%s: a model, which is taken as it is.', workdir)
  return params


def import_teacher(config: Mapping[str, Any], weights: str | os.PathLike) -> TeacherRun:
  """The teacher of config.teacher with weights from elsewhere.

  Args:
    config: as for `train_teacher`.
    weights: .npz or .safetensors file with its parameters by name, see exported.named.

  Raises:
    InputError: the weights cannot be read or do not fit, or the teacher is none.
  """
  sections, source = _sections(config)
  teacher = make_teacher(config, source.space)
  structure = jax.eval_shape(teacher.init, jax.random.key(0))
  check_params(structure)
  params = exported.fit(exported.read_weights(weights), structure, weights)
  teachers.check(teacher, params, **source.space.check_settings)
  return TeacherRun(sections, source.space, teacher, params, checkpoint.tree_hash(params), lambda: source)


def held_out_loss(run: TeacherRun, num: int) -> float:
  """The mean of losses.maximum_likelihood over up to `num` held-out examples, in the teacher's space."""
  source = run.source
  raw = {name: values[:num] for name, values in source.held_out.items()}
  raw['position'] = np.arange(len(next(iter(raw.values()))), dtype=np.uint32)
  prepare, loss = source.space.prepare(0), losses.maximum_likelihood(deterministic(run.teacher))
  values = processes.map_examples(lambda params, raw: loss(params, None, prepare(raw))[0], None)(run.params, raw)
  return float(np.mean(values))


def last_step(workdir: str | os.PathLike) -> int:
  """The updates that made the parameters of a run or of an exported model."""
  return exported.step(workdir) if exported.is_model(workdir) else checkpoint.steps(workdir)[-1]


def load_params(workdir: str | os.PathLike, init: Callable[[Any], Params], step: int | None = None) -> tuple[Params, int]:
  """The averaged parameters of a run or of an exported model, and the updates that made them.

  Args:
    workdir: of the run, or the folder of the model.
    init: of the network, key -> parameters.
    step: of the checkpoint to take; None is the last.

  Raises:
    InputError: there is no such checkpoint, it is damaged, or it is that of another network.
  """
  structure = jax.eval_shape(init, jax.random.key(0))
  if not exported.is_model(workdir):
    return checkpoint.load_ema(workdir, structure, step)
  if step not in (None, exported.step(workdir)):
    raise InputError(f'{workdir} is an exported model of step {exported.step(workdir)} alone, not {step}: leave out the step.')
  return exported.read(workdir, structure)


def _init(init: Callable[[Any], Params], init_from: str | os.PathLike | None,
          step: int | None = None) -> tuple[Callable[[Any], Params], dict[str, str]]:
  """(key -> the parameters to begin with, what config.json says of them)."""
  if init_from is None:
    return init, {}
  params, _ = load_params(init_from, init, step)
  return lambda key: params, {'init_hash': checkpoint.tree_hash(params)}


def load_teacher(workdir: str | os.PathLike, step: int | None = None) -> TeacherRun:
  """The teacher of a finished or stopped run, or of an exported model; InputError if there is none or it is damaged.

  Args:
    workdir: of the teacher.
    step: of the checkpoint to take; None is the last.
  """
  config = workdirs.read_config(workdir, 'teacher')
  load = functools.cache(lambda: catalogue.load(config['data']))
  facts = workdirs.read_space(workdir)  # None: a run of an earlier version, or data that cannot be told
  space = load().space if facts is None else catalogue.space(facts)
  teacher = make_teacher(config, space)
  params, found = load_params(workdir, teacher.init, step)
  if step is None:
    _tell_unfinished(workdir, config, space, found)
  return TeacherRun(config, space, teacher, params, checkpoint.tree_hash(params), load)


def planned(workdir: str | os.PathLike, config: Mapping[str, Any], space: Space) -> int:
  """The updates that a run is to have, or that made an exported model."""
  return exported.step(workdir) if exported.is_model(workdir) else loop.planned_steps(config, space.epoch_size)


def _tell_unfinished(workdir: str | os.PathLike, config: Mapping[str, Any], space: Space, step: int) -> None:
  total = planned(workdir, config, space)
  if step < total:
    logging.warning('%s is at step %d of %d: its training is not done, and the command that began it goes on with it.', workdir,
                    step, total)


def make_student(config: Mapping[str, Any], space: Space, dtype: str | None = None) -> Student:
  """The student of config.student for that space."""
  return students.make(event_shape=space.event_shape, dtype=dtype, **config['student'], **space.model_settings)


def distill(config: Mapping[str, Any], workdir: str | os.PathLike, teacher_run: TeacherRun,
            pairs: str | os.PathLike | None = None, devices: int | None = None,
            init_from: str | os.PathLike | None = None, init_step: int | None = None,
            features: str | os.PathLike | None = None) -> StudentRun:
  """Trains the student of config.student under config.loss.

  Args:
    config: nested mapping with sections student, loss, optimizer and train; the data are the teacher's.
    workdir: of the student; or a model that was exported of a run of that config, which is taken as it is.
    teacher_run: from load_teacher or train_teacher.
    pairs: folder made by make_pairs; without it the student trains on the teacher's data. A share of the pairs (a
      sixteenth) is held out. An epoch is as many updates as one over the data, whatever the number of pairs.
    devices: see loop.fit.
    init_from: workdir of a student of the same network, with whose averaged parameters this one begins; None: it begins with
      random ones.
    init_step: the step of its checkpoint to begin with; None is the last.
    features: workdir of the classifier that the distance features takes, where it is trained first if there is none.
  """
  sections = settings.sections(config, 'student', 'loss', 'optimizer', 'train')
  settings.check(config)
  teacher, space, seed = teacher_run.teacher, teacher_run.space, config['train']['seed']
  ours, teachers_data = (each.get('data', {}).get('name') for each in (config, teacher_run.config))
  if ours is not None and ours != teachers_data:
    logging.info('The data are those of the teacher, %s; config.data, %s, does not count.', teachers_data, ours)
  if losses.stored(config['loss']) == 'pairs' and pairs is None:
    raise InputError(f'{config["loss"]["name"]} trains on pairs (z, T^-1(z)): run launch.make_pairs and give --pairs.')
  if config['loss']['name'] == 'x_reconstruction' and pairs is not None and pair_data.manifest(pairs).get('pairs_from') == 'z':
    raise InputError('x_reconstruction on pairs (z, T^-1(z)) is oracle_prediction: set config.loss.name to that, or give no '
                     '--pairs, or pairs from data.')
  from_prior = config['loss']['name'] in losses.FROM_PRIOR
  if from_prior and pairs is not None and pair_data.manifest(pairs).get('pairs_from') == 'data':
    raise InputError(f'{config["loss"]["name"]} takes z from the prior, and the z of these pairs are encodings of data '
                     '(pairs_from=data): give no --pairs, or pairs from z.')
  dtype = _dtype(config)
  if dtype is not None and config['loss'].get('estimator') == 'path':
    raise InputError(f'The path estimator needs the score of the student, which {dtype} would spoil: set '
                     'config.train.precision=float32, or config.loss.estimator=total.')
  _tell_other_order(config['student'], teacher)
  student = make_student(config, space)
  loss, features_hash = _with_features(config['loss'], teacher_run, features, devices)
  # The teacher stays in float32: rounded, its encodings would be others.
  loss_fn = losses.make(teacher=teacher, student=make_student(config, space, dtype), **loss)
  evaluation_loss_fn = losses.make(teacher=teacher, student=deterministic(student), **loss)
  if pairs is None:
    examples, held_out, prepare = teacher_run.source.train, teacher_run.source.validation, space.prepare(seed)
  else:
    examples, held_out = space.of_pairs(pair_data.dataset(pairs, teacher_run.hash))
    prepare = prepare_arrays(seed)
  init, init_hash = _init(student.init, init_from, init_step)
  task = loop.Task(pathlib.Path(workdir).name, loss_fn, evaluation_loss_fn, init, examples, held_out, prepare,
                   teacher_run.params, space.epoch_size, functools.partial(students.check, student, **space.check_settings))
  of_pairs = {'pairs_hash': None} if pairs is None else {
      'pairs_hash': files.sha256(pathlib.Path(pairs) / pair_data.MANIFEST), 'pairs_seed': pair_data.manifest(pairs).get('seed')}
  made_from = {'teacher_hash': teacher_run.hash, **init_hash, **features_hash, **of_pairs}
  # Pairs and a classifier made anew, as for a model from another machine, differ in their last bits.
  params = _train(workdir, {'kind': 'student', **made_from, **sections}, space, task, config, devices,
                  but=['pairs_hash', 'pairs_seed', 'features_hash'])
  return StudentRun(sections, student, params)


def _tell_other_order(student: Mapping[str, Any], teacher: Teacher) -> None:
  if 'order' in student and not teacher.blocks and orders.make(student['order'], teacher.event_shape) != teacher.order:
    logging.warning('config.student.order is %s, and the teacher generates in another order: such a student is never its T^-1.',
                    student['order'] or 'raster')


def _with_features(loss: Mapping[str, Any], teacher_run: TeacherRun, workdir: str | os.PathLike | None,
                   devices: int | None) -> tuple[Mapping[str, Any], dict[str, str]]:
  """(config.loss with the distance features itself for its name, what config.json says of it)."""
  if loss.get('distance') != distances.FEATURES:
    if workdir is not None:
      raise InputError('--features is the classifier of the distance features: set config.loss.distance=features, or leave it '
                       'out.')
    return loss, {}
  if loss['name'] == 'z_reconstruction':
    raise InputError('The distance features is one of images, and z_reconstruction compares noise: use l1 or l2, or another '
                     'objective.')
  if workdir is None:
    raise InputError('The distance features needs a classifier: give --features, a folder in which it is, or in which it is '
                     'to be trained.')
  distance, features_hash = classifier.feature_distance(teacher_run.config['data'], teacher_run.space, workdir, devices)
  return {**loss, 'distance': distance}, {'features_hash': features_hash}


def load_student(workdir: str | os.PathLike, teacher_run: TeacherRun, step: int | None = None) -> StudentRun:
  """The student of a run or of an exported model, which must be of that teacher; InputError otherwise.

  Args:
    workdir: of the student.
    teacher_run: its teacher.
    step: of the checkpoint to take; None is the last.
  """
  config = workdirs.read_config(workdir, 'student')
  if config['teacher_hash'] != teacher_run.hash:
    raise InputError(f'The student in {workdir} was distilled from another teacher ({config["teacher_hash"][:12]}, not '
                     f'{teacher_run.hash[:12]}): give the --teacher it was made with.')
  student = make_student(config, teacher_run.space)
  params, found = load_params(workdir, student.init, step)
  logging.info('%s: step %d.', workdir, found)
  if step is None:
    _tell_unfinished(workdir, config, teacher_run.space, found)
  return StudentRun(config, student, params)


def generate(student_run: StudentRun, z: np.ndarray, devices: int | None = None,
             progress: Callable[[int], None] | None = None) -> np.ndarray:
  """S(z) of z [N, *event].

  Args:
    student_run: the student.
    z: [N, *event].
    devices: number of local devices, or None for all.
    progress: called with the number of examples that were made.
  """
  z_to_x = processes.map_examples(lambda params, z: student_run.student.z_to_x(params, z).x, devices)
  return z_to_x(student_run.params, z, progress=progress)
