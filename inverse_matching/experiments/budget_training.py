"""How the students of the budget are trained: each for the same passes, its rate chosen in the same way."""
import pathlib
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import examples, set_distances
from inverse_matching.experiments import costs, courses, distillation, headroom
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import StudentRun
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint


class Student(NamedTuple):
  """An arm in one size, and in how many steps it samples."""
  arm: str
  size: str
  steps: int | None = None  # of few_step

  def __str__(self) -> str:
    steps = '' if self.steps is None else f'@{self.steps} step{"s" if self.steps > 1 else ""}'  # one training, see Outcome.of
    return f'{self.arm} at {self.size}{steps}'


class Trained(NamedTuple):
  """A training run that is done."""
  workdir: pathlib.Path
  step: int  # of the checkpoint to take
  rate: float
  first: 'Trained | None' = None  # what it began with
  tuning: Mapping[float, float] = {}  # the rates that were tried -> the objective on the validation part in the end


class Study(NamedTuple):
  """What every training in it shares."""
  experiment: Experiment
  settings: Mapping[str, Any]  # config.budget
  outcome: distillation.Outcome
  measures: Mapping[str, headroom.Distance]  # to the data
  floors: Mapping[str, float]  # of the measures: what as many training images have
  to_validation: Callable[[np.ndarray], float]  # integer images -> their kernel distance to the validation part
  done: dict[tuple[str, str, int], Trained]  # (arm, size, seed) -> what `trained` has found to be there


def student_config(config: Mapping[str, Any], student: Student, seed: int) -> dict[str, Any]:
  """The config of a student, of that of the experiment."""
  arm = distillation.config_of(config, student.arm)
  steps = {} if student.steps is None else {'num_steps': student.steps}
  return merge(arm, {'student': {**config['budget']['sizes'][student.size][arm['student']['name']], **steps},
                     'train': {'seed': seed}})


def pairs_of(study: Study, loss: Mapping[str, Any]) -> pathlib.Path | None:
  """The store of an objective, which is made where it is not there; None: it takes the data."""
  kind = distillation.store(study.experiment.config, loss)
  return None if kind is None else distillation.make_store(study.experiment, study.outcome.teacher_run, kind)


def _train(study: Study, student: Student, seed: int, rate: float, passes: int, every: int, *, name: str,
           begin: tuple[pathlib.Path, int] | None = None) -> pathlib.Path:
  """Trains a student for so many passes; returns the workdir.

  Args:
    study: what is shared.
    student: to train.
    seed: of training.
    rate: of learning, which falls to 0 by a cosine.
    passes: of the student over a batch.
    every: passes between two checkpoints.
    name: of the folder.
    begin: workdir and step of the parameters to begin with; None: random ones.
  """
  config = student_config(study.experiment.config, student, seed)
  each = costs.passes(config['loss'])
  folder = study.experiment.path / 'budget' / student.arm / student.size.replace('/', '_') / name
  init_from, init_step = begin or (None, None)
  return courses.train(
      study.experiment, config, folder, study.outcome.teacher_run, rate=rate, schedule='cosine', updates=passes // each,
      every=every // each, pairs=pairs_of(study, config['loss']), init_from=init_from, init_step=init_step)


def trained(study: Study, student: Student, seed: int) -> Trained:
  """The student of an arm after all of its budget, trained as far as that is not done."""
  key = student.arm, student.size, seed
  if key not in study.done:
    study.done[key] = _trained(study, student, seed)
  return study.done[key]


def _trained(study: Study, student: Student, seed: int) -> Trained:
  settings, then = study.settings, study.settings['then'].get(student.arm)
  if then is None:
    tuning = courses.reached(settings['rates'], lambda rate: _train(
        study, student, courses.TUNING_SEED, rate, settings['tuning'], settings['tuning'], name=f'rate_{rate:g}'))
    rate = courses.best_of(tuning)
    workdir = _train(study, student, seed, rate, settings['passes'], settings['every'], name=f'seed{seed}')
    return Trained(workdir, checkpoint.steps(workdir)[-1], rate, tuning=tuning)
  first = trained(study, student._replace(arm=then['first']), seed)
  begin = (settings['passes'] - then['passes']) * first.step // settings['passes']
  workdir = _train(study, student, seed, then['rate'], then['passes'], then['every'], name=f'seed{seed}',
                   begin=(first.workdir, begin))
  return Trained(workdir, _best_step(study, workdir), then['rate'], first._replace(step=begin))


def load(study: Study, student: Student, from_run: Trained) -> StudentRun:
  """A trained student, which samples in so many steps."""
  teacher_run = study.outcome.teacher_run
  student_run = runs.load_student(from_run.workdir, teacher_run, from_run.step)
  if student.steps is None:
    return student_run
  config = merge(student_run.config, {'student': {'num_steps': student.steps}})
  return student_run._replace(config=config, student=runs.models.make_student(config, teacher_run.space))


def distance_to_validation(outcome: distillation.Outcome) -> Callable[[np.ndarray], float]:
  """Integer images -> the kernel distance to the validation part, or where there is none to the training images."""
  context, data = outcome.context, outcome.teacher_run.source.data
  to = context.observer.features((data.validation or data.train).pixels[:len(context.samples.z)])

  def distance(pixels: np.ndarray) -> float:
    found = context.observer.features(pixels)
    return float(set_distances.kernel_statistic(found, to)(np.arange(len(found)), np.arange(len(to))))

  return distance


def _best_step(study: Study, workdir: pathlib.Path) -> int:
  """The checkpoint whose samples, of noise that nothing else uses, are nearest to the validation part.

  It is the evaluation's classifier that chooses: the measures of other networks judge without having chosen.
  """
  found = distances_along(study, workdir, len(study.outcome.context.samples.z))
  return min(found, key=found.get)


def distances_along(study: Study, workdir: pathlib.Path, num: int) -> dict[int, float]:
  """Step of each checkpoint -> the distance to the validation part of `num` samples of noise that nothing else uses."""
  context, teacher_run = study.outcome.context, study.outcome.teacher_run
  z = runs.prior_draws(teacher_run.teacher, context.seed + 1, np.arange(num))

  def distance(step: int) -> float:
    drawn = runs.generate(runs.load_student(workdir, teacher_run, step), z, study.experiment.devices)
    return study.to_validation(examples.to_pixels(teacher_run, drawn))

  name = str((workdir / f'steps_{num}').relative_to(study.experiment.path))
  student_hash = checkpoint.tree_hash(runs.load_student(workdir, teacher_run).params)
  about = {**context.settings, 'student_hash': student_hash}
  rows = study.experiment.cached(name, about, lambda: [
      {'step': step, 'distance_to_validation': distance(step)} for step in checkpoint.steps(workdir)])
  return {row['step']: row['distance_to_validation'] for row in rows}
