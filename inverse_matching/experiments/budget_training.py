"""How the students of the budget are trained: each for the same passes, its rate chosen in the same way."""
import math
import pathlib
from typing import Any, Mapping, NamedTuple

from absl import logging

from inverse_matching import runs
from inverse_matching.experiments import costs, courses, distillation, headroom, selection
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import StudentRun
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite


class Student(NamedTuple):
  """An arm in one size, and how it samples."""
  arm: str
  size: str
  steps: int | None = None  # of few_step
  matched: bool = False  # from noise as wide as that of its training, see evaluate.trained_width

  def __str__(self) -> str:  # @HOW: one training, see Outcome.of
    how = '@matched' if self.matched else '' if self.steps is None else f'@{self.steps} step{"s" if self.steps > 1 else ""}'
    return f'{self.arm} at {self.size}{how}'


class Trained(NamedTuple):
  """A training run that is done."""
  workdir: pathlib.Path
  step: int  # of the checkpoint to take; 0: what it began with
  made: int  # updates that were made for it
  rate: float
  first: 'Trained | None' = None  # what it began with
  tuning: Mapping[float, float] = {}  # the rates that were tried -> what each reached on the validation part


class Study(NamedTuple):
  """What every training in it shares."""
  experiment: Experiment
  settings: Mapping[str, Any]  # config.budget
  outcome: distillation.Outcome
  measures: Mapping[str, headroom.Distance]  # to the data
  floors: Mapping[str, float]  # of the measures: what as many training images have
  to_validation: selection.ToValidation
  done: dict[tuple[str, str, int], Trained]  # (arm, size, seed) -> what `trained` has found to be there


def sizes(settings: Mapping[str, Any]) -> list[str]:
  """Those of config.budget, the full one last."""
  return [*settings['small'], settings['full']]


def ways(arm: str, size: str, settings: Mapping[str, Any]) -> list[Student]:
  """The students that one training of an arm in a size gives: in every number of steps, and from every prior."""
  if arm.startswith('few_step/'):
    return [Student(arm, size, steps) for steps in settings['steps']]
  return [Student(arm, size), *([Student(arm, size, matched=True)] if arm in settings['matched'] else [])]


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
    step = checkpoint.steps(workdir)[-1]
    return Trained(workdir, step, step, rate, tuning=tuning)
  first = trained(study, student._replace(arm=then['first']), seed)
  begin = (settings['passes'] - then['passes']) * first.step // settings['passes']
  first = first._replace(step=begin, made=begin)
  if seed:
    of_first = trained(study, student, 0)
    rate, tuning = of_first.rate, of_first.tuning
  else:
    tuning = {rate: _reached(study, student, first, seed, rate) for rate in then['rates']}
    rate = courses.best_of(tuning)
  workdir = _go_on(study, student, first, seed, rate)
  found = {0: _distance(study, student, first), **distances_along(study, workdir, settings['choice'])}
  return Trained(workdir, min(found, key=found.get), checkpoint.steps(workdir)[-1], rate, first, tuning)


def _go_on(study: Study, student: Student, first: Trained, seed: int, rate: float) -> pathlib.Path:
  """Trains an arm of config.budget.then from the student that it begins with; returns the workdir."""
  then = study.settings['then'][student.arm]
  return _train(study, student, seed, rate, then['passes'], then['every'], name=f'seed{seed}_rate_{rate:g}',
                begin=(first.workdir, first.step))


def _reached(study: Study, student: Student, first: Trained, seed: int, rate: float) -> float:
  """The smallest distance to the validation part along such a training; infinite if its loss became not finite."""
  try:
    return min(distances_along(study, _go_on(study, student, first, seed, rate), study.settings['choice']).values())
  except NotFinite as error:
    logging.info('The rate %g is too high: %s', rate, error)
    return math.inf


def _distance(study: Study, student: Student, from_run: Trained) -> float:
  student_run = load(study, student, from_run)
  return selection.of_student(study.experiment, study.outcome, study.to_validation, student_run, study.settings['choice'])


def distances_along(study: Study, workdir: pathlib.Path, num: int) -> dict[int, float]:
  """Step of each checkpoint -> the distance of `num` samples to the validation part."""
  return selection.along(study.experiment, study.outcome, study.to_validation, workdir, num)


def load(study: Study, student: Student, from_run: Trained) -> StudentRun:
  """A trained student, which samples in so many steps."""
  teacher_run, taken = study.outcome.teacher_run, from_run if from_run.step else from_run.first
  student_run = runs.load_student(taken.workdir, teacher_run, taken.step)
  if student.steps is None:
    return student_run
  config = merge(student_run.config, {'student': {'num_steps': student.steps}})
  return student_run._replace(config=config, student=runs.models.make_student(config, teacher_run.space))
