"""What distillation buys: students of every objective and of several sizes, of one teacher, for the same budget of passes."""
import functools
import math
from typing import Any, Mapping

from absl import logging
import jax
import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import evaluate, examples, statistics, tables
from inverse_matching.experiments import budget_report, costs, distillation, headroom, selection
from inverse_matching.experiments.budget_costs import cost_rows, count_row, timed
from inverse_matching.experiments.budget_training import (
  Student,
  Study,
  Trained,
  distances_along,
  load,
  student_config,
  trained,
  ways,
)
from inverse_matching.experiments.courses import NoRate
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.losses import distances
from inverse_matching.runs import StudentRun
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite

KEPT = ('kernel_distance', 'coverage', 'precision', 'label_entropy', 'two_sample_accuracy', 'memorisation_ratio',
        'out_of_range')


def run(experiment: Experiment) -> str:
  """Writes budget.json, .md, _pareto.png, and for each size budget_SIZE.png and budget_samples_SIZE.png; returns the table.

  config.budget has: arms, in order; sizes, name -> network -> settings of config.student; small, the sizes of all arms, and
  full, that of the baseline and of the num_best further arms that are nearest to the validation part in the last small one;
  num_seeds, of training; passes, of the student over a batch, forward and backward, that an arm may take; every, those between
  two checkpoints; rates, of which an arm in a size takes the one whose own held-out objective is lowest after tuning passes,
  with another seed, each falling to 0 by a cosine; steps, of the student few_step; matched, arms trained with noise, that are
  sampled from a prior as wide as that of their training too; baseline, network -> the arm that others are compared with, that
  of `resnet` in full size too; comparisons, further pairs of arms in the same size, named before the run; choice and course,
  samples of which checkpoints are measured, to choose one and of the first seed; and classifier_seed, of one that measures
  beside the evaluation's.

  config.budget.then has, name of an arm -> first, the arm whose student it begins with after all but `passes` of the budget,
  rates, and every. It stops where samples of other noise are nearest to the validation part, after a multiple of `every` or at
  once, and takes the rate with which the first seed comes nearest. So it has a choice that others do not have: it is to be
  compared with an arm that goes on from the same student, a control.

  Rows have the arm with its size and how it samples, train_seed, learning_rate, and a metric. Costs are metrics too: of
  training calls of S, T and T^-1, its seconds, and those that what it takes from a store took to make; of a sample
  multiply-adds and seconds. Of the first seed rows with the metric `course` tell of the distance to the validation part after
  so many `passes`, and those with `tuning` of what each rate that was tried reached there. A student whose loss became not
  finite has the metric `diverged` alone. The summary has the effects over training seeds: against the baseline of the same
  size and network, the teacher, the same arm in the next larger size and in its other ways to sample, and those of
  config.budget.comparisons. One size is done before the next begins; budget.json is written after every student, budget.md
  and the pictures after the last arm of every seed.

  Sampling is timed on one device and training on all that are given: the numbers mean something if the machine does nothing
  else. Delete budget/seconds.json to have sampling timed anew.
  """
  config, settings = experiment.config, experiment.config['budget']
  small, full = settings['small'], settings['full']
  runs.check(config, [student_config(config, student, 0) for size in (*small, full) for arm in settings['arms']
                      for student in ways(arm, size, settings)])  # before the first hour
  seeds = range(settings['num_seeds'])
  cases = [(arm, size, seed) for size in small for seed in seeds for arm in settings['arms']]
  chosen = ['the baseline', *(f'best {i + 1} of {small[-1]}' for i in range(settings['num_best']))]
  outcome = distillation.carry_out(experiment, [], more_stages=[
      'prepare the measures', 'time sampling', *(f'{arm} at {size}, seed {seed}' for arm, size, seed in cases),
      *(f'{name} at {full}, seed {seed}' for name in chosen for seed in seeds)])
  stages = outcome.stages
  study = stages.run('prepare the measures', _prepare, experiment, outcome)
  about = {**distillation.settings(config, outcome.teacher_run), 'budget': settings, **outcome.context.settings}
  rows = Rows([*_teacher_rows(study), *stages.run('time sampling', timed, study)])

  def write() -> Rows:
    return experiment.write('budget', about, rows, summary=budget_report.effects(rows, settings))

  for arm, size, seed in cases:
    rows += stages.run(f'{arm} at {size}, seed {seed}', _train_and_measure, study, arm, size, seed)
    written = write()
    if arm == settings['arms'][-1]:
      budget_report.write(study, written, size)
  measured = set()
  for name, arm in zip(chosen, [settings['baseline']['resnet'], *_best(rows, settings, small[-1])]):
    family = [each for each in _family(arm, settings) if each not in measured]
    measured.update(family)
    for seed in seeds:
      rows += stages.run(f'{name} at {full}, seed {seed}', lambda seed=seed, family=family: [
          row for each in family for row in _train_and_measure(study, each, full, seed)])
      written = write()
  budget_report.write(study, written, full)
  return tables.plain(budget_report.main_table(written))


def _prepare(experiment: Experiment, outcome: distillation.Outcome) -> Study:
  settings, context, run = experiment.config['budget'], outcome.context, outcome.teacher_run
  num = len(context.samples.z)
  measures = headroom.measures_to_data(experiment, run, num, context.seed, settings['classifier_seed'])
  train = headroom.choose(run.source.data.train.pixels, num, context.seed)
  floors = {metric: measure(train)[0] for metric, measure in measures.items()}
  return Study(experiment, settings, outcome, measures, floors, selection.distance_to_validation(outcome), {})


def _teacher_rows(study: Study) -> Rows:
  outcome = study.outcome
  rows = Rows(row for row in outcome.rows if row['arm'] == 'teacher' and row['metric'] in KEPT)
  rows += _distances('teacher', examples.to_pixels(outcome.teacher_run, outcome.context.samples.paired.x), study)
  run = outcome.teacher_run
  multiply_adds = costs.multiply_adds(lambda params, z: run.teacher.x_to_z(params, z)[0], run.params, run.teacher.event_shape)
  return Rows([*rows, count_row('teacher', 'multiply_adds', multiply_adds, study)])


def _train_and_measure(study: Study, arm: str, size: str, seed: int) -> Rows:
  """Rows of a student, or of one in several numbers of steps."""
  try:
    from_run = trained(study, Student(arm, size), seed)
  except (NotFinite, NoRate) as error:  # one of many, which must not end the study
    logging.warning('%s at %s, seed %d: %s', arm, size, seed, error)
    return Rows({**count_row(str(student), 'diverged', 1.0, study), 'train_seed': seed}
                for student in ways(arm, size, study.settings))
  rows = Rows()
  for student in ways(arm, size, study.settings):
    student_run = load(study, student, from_run)
    about = {**study.outcome.context.settings, 'student_hash': checkpoint.tree_hash(student_run.params), 'steps': student.steps}
    name = 'evaluation' + ('_matched' if student.matched else f'_{student.steps}' if student.steps else '')
    measured = study.experiment.cached(str((from_run.workdir / name).relative_to(study.experiment.path)), about,
                                       functools.partial(_measure, student, student_run, study))
    rows += [{**row, 'train_seed': seed, 'learning_rate': from_run.rate}
             for row in (*measured, *cost_rows(study, student, seed, student_run, from_run))]
  jax.clear_caches()
  return rows if seed else Rows([*rows, *_course_rows(study, Student(arm, size), from_run)])


def _course_rows(study: Study, student: Student, from_run: Trained) -> list[dict[str, Any]]:
  """How the first training of a student went: the distance to the validation part along it, and what each rate reached."""
  each = costs.passes(student_config(study.experiment.config, student, 0)['loss'])
  before = study.settings['passes'] - study.settings['then'][student.arm]['passes'] if from_run.first else 0
  along = distances_along(study, from_run.workdir, study.settings['course'])
  about = lambda metric, value, rate: {**count_row(str(student), metric, value, study), 'train_seed': 0, 'learning_rate': rate}
  return [*({**about('course', value, from_run.rate), 'passes': before + step * each} for step, value in along.items()),
          *(about('tuning', value if math.isfinite(value) else None, rate) for rate, value in from_run.tuning.items())]


def _measure(student: Student, student_run: StudentRun, study: Study) -> list[dict[str, Any]]:
  context = study.outcome.context
  generate = lambda z: runs.generate(student_run, z, study.experiment.devices)
  width = evaluate.trained_width(student_run, context) if student.matched else 1.0
  x = generate(context.samples.z * np.float32(width))
  labelled = str(student)
  rows = evaluate.quality_rows(labelled, x, context)
  pixels = examples.to_pixels(context.run, x)
  row = functools.partial(statistics.row, labelled, n=len(x), seed=context.seed)
  errors = distances.l2(generate(context.samples.z) if student.matched else x, context.samples.paired.x)
  return [*(each for each in rows if each['metric'] in KEPT), *_distances(labelled, pixels, study),
          row('kernel_distance', 'validation', study.to_validation(pixels)),
          row('oracle_l2', 'teacher', statistics.mean(errors, seed=context.seed), floor=0.0)]


def _distances(arm: str, pixels: np.ndarray, study: Study) -> list[dict[str, Any]]:
  seed = study.outcome.context.seed
  return [statistics.row(arm, metric, 'data', measure(pixels), n=len(pixels), seed=seed, floor=study.floors[metric])
          for metric, measure in study.measures.items()]


def _best(rows: Rows, settings: Mapping[str, Any], size: str) -> list[str]:
  """The arms that are nearest to the validation part in a size, over training seeds and in their best number of steps: without
  the baseline and the controls of `then`, and of arms that begin with the same student, it among them, the nearest alone."""
  near = rows.where(metric='kernel_distance', reference='validation')

  def distance(arm: str) -> float:
    of_steps = [near.where(arm=str(student)).values('value') for student in ways(arm, size, settings)]
    return min((np.mean(values) for values in of_steps if len(values)), default=math.inf)

  left_out = {settings['baseline']['resnet'], *(arm for of in settings['then'] for arm in _family(of, settings)[1:-1])}
  first: dict[str, str] = {}
  for arm in sorted((arm for arm in settings['arms'] if arm not in left_out), key=distance):
    first.setdefault(_family(arm, settings)[0], arm)
  return list(first.values())[:settings['num_best']]


def _family(arm: str, settings: Mapping[str, Any]) -> list[str]:
  """An arm, after what it can only be judged beside: the one whose student it begins with, and the controls."""
  then = settings['then'].get(arm)
  if then is None:
    return [arm]
  return [then['first'], *(other for one, other in settings['comparisons'] if one == arm and other in settings['then']), arm]
