"""What distillation buys: students of every objective and of several sizes, of one teacher, for the same budget of passes."""
import collections
import functools
import math
from typing import Any, Mapping

from absl import logging
import jax
import numpy as np

from inverse_matching import runs
from inverse_matching.data.pairs import manifest
from inverse_matching.evaluation import evaluate, examples, statistics, tables, timing
from inverse_matching.experiments import claims, costs, distillation, figures, headroom, pareto
from inverse_matching.experiments.budget_training import (
  Student,
  Study,
  Trained,
  distance_to_validation,
  distances_along,
  load,
  pairs_of,
  student_config,
  trained,
)
from inverse_matching.experiments.courses import NoRate
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.losses import distances
from inverse_matching.runs import StudentRun
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite
from inverse_matching.training.metrics import examples_per_second

SHOWN = 40  # images in a panel
KEPT = ('kernel_distance', 'coverage', 'precision', 'label_entropy', 'two_sample_accuracy', 'memorisation_ratio',
        'out_of_range')
MAIN = (('kernel_distance', 'data'), ('kernel_distance', 'teacher'), ('coverage', 'data'), ('oracle_l2', 'teacher'),
        ('multiply_adds', None))
ONE_PASS = 'teacher pass'  # of timing.sampling_rows; no sampler
ROUNDS = 7  # of it: small students take milliseconds


def run(experiment: Experiment) -> str:
  """Writes budget.json, .md, _pareto.png, and for each size budget_SIZE.png and budget_samples_SIZE.png; returns the table.

  config.budget has: arms, in order; sizes, name -> network -> settings of config.student; small, the sizes of all arms, and
  full, that of the baseline and of the num_best further arms that are nearest to the validation part in the last small one;
  num_seeds, of training; passes, of the student over a batch, forward and backward, that an arm may take; every, those between
  two checkpoints; rates, of which an arm in a size takes the one whose own held-out objective is lowest after tuning passes,
  with another seed, each falling to 0 by a cosine; steps, of the student few_step; baseline, the arm that others are compared
  with; comparisons, further pairs of arms in the same size, named before the run; course, samples of which each checkpoint of
  the first seed is measured; and classifier_seed, of one that measures beside the evaluation's.

  config.budget.then has, name of an arm -> first, the arm whose student it begins with after all but `passes` of the budget,
  the rate, and every. It stops where samples of other noise are nearest to the validation part, after a multiple of `every`.
  So it has a choice that others do not have: it is to be compared with an arm that goes on from the same student, a control.

  Rows have the arm with its size and steps, train_seed, learning_rate, and a metric; the cost of training in calls of S, T and
  T^-1, and of a sample in multiply-adds and seconds, are metrics too. Of the first seed rows with the metric `course` tell of
  the distance to the validation part after so many `passes`, and those with `tuning` of the objective there at each rate that
  was tried. A student whose loss became not finite has the metric `diverged` alone. The summary has the effects over training
  seeds: against the baseline of the same size, the teacher and the same arm in the next larger size, and those of
  config.budget.comparisons. One size is done before the next begins; budget.json is written after every student, budget.md and
  the pictures after the last arm of every seed.
  """
  config, settings = experiment.config, experiment.config['budget']
  small, full = settings['small'], settings['full']
  runs.check(config, [student_config(config, student, 0) for size in (*small, full) for arm in settings['arms']
                      for student in _students(arm, size, settings)])  # before the first hour
  seeds = range(settings['num_seeds'])
  cases = [(arm, size, seed) for size in small for seed in seeds for arm in settings['arms']]
  chosen = ['the baseline', *(f'best {i + 1} of {small[-1]}' for i in range(settings['num_best']))]
  outcome = distillation.carry_out(experiment, [], more_stages=[
      'prepare the measures', 'time sampling', *(f'{arm} at {size}, seed {seed}' for arm, size, seed in cases),
      *(f'{name} at {full}, seed {seed}' for name in chosen for seed in seeds)])
  stages = outcome.stages
  study = stages.run('prepare the measures', _prepare, experiment, outcome)
  about = {**distillation.settings(config, outcome.teacher_run), 'budget': settings, **outcome.context.settings}
  rows = Rows([*_teacher_rows(study), *stages.run('time sampling', _timed, study)])

  def write() -> Rows:
    return experiment.write('budget', about, rows, summary=_effects(rows, settings))

  for arm, size, seed in cases:
    rows += stages.run(f'{arm} at {size}, seed {seed}', _train_and_measure, study, arm, size, seed)
    written = write()
    if arm == settings['arms'][-1]:
      _draw(study, written, size)
  measured = set()
  for name, arm in zip(chosen, [settings['baseline'], *_best(rows, settings, small[-1])]):
    family = [each for each in _family(arm, settings) if each not in measured]
    measured.update(family)
    for seed in seeds:
      rows += stages.run(f'{name} at {full}, seed {seed}', lambda seed=seed, family=family: [
          row for each in family for row in _train_and_measure(study, each, full, seed)])
      written = write()
  _draw(study, written, full)
  return tables.plain(_main_table(written))


def _prepare(experiment: Experiment, outcome: distillation.Outcome) -> Study:
  settings, context, run = experiment.config['budget'], outcome.context, outcome.teacher_run
  num = len(context.samples.z)
  measures = headroom.measures_to_data(experiment, run, num, context.seed, settings['classifier_seed'])
  train = headroom.choose(run.source.data.train.pixels, num, context.seed)
  floors = {metric: measure(train)[0] for metric, measure in measures.items()}
  return Study(experiment, settings, outcome, measures, floors, distance_to_validation(outcome), {})


def _teacher_rows(study: Study) -> Rows:
  outcome = study.outcome
  rows = Rows(row for row in outcome.rows if row['arm'] == 'teacher' and row['metric'] in KEPT)
  rows += _distances('teacher', examples.to_pixels(outcome.teacher_run, outcome.context.samples.paired.x), study)
  run = outcome.teacher_run
  count = costs.multiply_adds(lambda params, z: run.teacher.x_to_z(params, z)[0], run.params, run.teacher.event_shape)
  return Rows([*rows, _count('teacher', 'multiply_adds', count, study)])


def _train_and_measure(study: Study, arm: str, size: str, seed: int) -> Rows:
  """Rows of a student, or of one in several numbers of steps."""
  try:
    from_run = trained(study, Student(arm, size), seed)
  except (NotFinite, NoRate) as error:  # one of many, which must not end the study
    logging.warning('%s at %s, seed %d: %s', arm, size, seed, error)
    return Rows({**_count(str(student), 'diverged', 1.0, study), 'train_seed': seed}
                for student in _students(arm, size, study.settings))
  rows = Rows()
  for student in _students(arm, size, study.settings):
    student_run = load(study, student, from_run)
    about = {**study.outcome.context.settings, 'student_hash': checkpoint.tree_hash(student_run.params), 'steps': student.steps}
    name = f'evaluation_{student.steps}' if student.steps else 'evaluation'
    measured = study.experiment.cached(str((from_run.workdir / name).relative_to(study.experiment.path)), about,
                                       functools.partial(_measure, str(student), student_run, study))
    rows += [{**row, 'train_seed': seed, 'learning_rate': from_run.rate}
             for row in (*measured, *_cost_rows(study, student, seed, student_run, from_run))]
  jax.clear_caches()
  return rows if seed else Rows([*rows, *_course_rows(study, Student(arm, size), from_run)])


def _course_rows(study: Study, student: Student, from_run: Trained) -> list[dict[str, Any]]:
  """How the first training of a student went: the distance to the validation part along it, and what each rate reached."""
  each = costs.passes(student_config(study.experiment.config, student, 0)['loss'])
  before = study.settings['passes'] - study.settings['then'][student.arm]['passes'] if from_run.first else 0
  along = distances_along(study, from_run.workdir, study.settings['course'])
  about = lambda metric, value: {**_count(str(student), metric, value, study), 'train_seed': 0}
  return [*({**about('course', value), 'passes': before + step * each} for step, value in along.items()),
          *({**about('tuning', value if math.isfinite(value) else None), 'learning_rate': rate}
            for rate, value in from_run.tuning.items())]


def _measure(labelled: str, student_run: StudentRun, study: Study) -> list[dict[str, Any]]:
  context = study.outcome.context
  x = runs.generate(student_run, context.samples.z, study.experiment.devices)
  rows = evaluate.quality_rows(labelled, x, context)
  pixels = examples.to_pixels(context.run, x)
  row = functools.partial(statistics.row, labelled, n=len(x), seed=context.seed)
  errors = distances.l2(x, context.samples.paired.x)
  return [*(each for each in rows if each['metric'] in KEPT), *_distances(labelled, pixels, study),
          row('kernel_distance', 'validation', study.to_validation(pixels)),
          row('oracle_l2', 'teacher', statistics.mean(errors, seed=context.seed), floor=0.0)]


def _distances(arm: str, pixels: np.ndarray, study: Study) -> list[dict[str, Any]]:
  seed = study.outcome.context.seed
  return [statistics.row(arm, metric, 'data', measure(pixels), n=len(pixels), seed=seed, floor=study.floors[metric])
          for metric, measure in study.measures.items()]


def _count(arm: str, metric: str, value: float, study: Study) -> dict[str, Any]:
  return statistics.row(arm, metric, None, value, n=1, seed=study.outcome.context.seed)


def _cost_rows(study: Study, student: Student, seed: int, student_run: StudentRun, from_run: Trained) -> list[dict[str, Any]]:
  """Calls and seconds of training, those of the student that it began with included, and multiply-adds of a sample."""
  counts: dict[str, float] = collections.Counter()
  parts = [(student.arm, from_run)]
  if from_run.first:
    parts.append((study.settings['then'][student.arm]['first'], from_run.first))
  for arm, part in parts:
    config = student_config(study.experiment.config, student._replace(arm=arm, steps=None), seed)
    num_examples, pairs = part.step * config['train']['batch_size'], pairs_of(study, config['loss'])
    found = costs.calls(config['loss'], num_examples, None if pairs is None else manifest(pairs)['num'])
    for name, count in found.items():  # both parts share the pairs
      counts[f'calls of {name}'] = max(counts[f'calls of {name}'], count) if name == 'T^-1' else (
          counts[f'calls of {name}'] + count)
    counts['training_seconds'] += num_examples / examples_per_second(part.workdir)
  counts['multiply_adds'] = costs.multiply_adds(student_run.student.z_to_x, student_run.params, student_run.student.event_shape)
  return [_count(str(student), name, count, study) for name, count in counts.items()]


def _best(rows: Rows, settings: Mapping[str, Any], size: str) -> list[str]:
  """The arms that are nearest to the validation part in a size, over training seeds and in their best number of steps: without
  the baseline and the controls of `then`, and of arms that begin with the same student, it among them, the nearest alone."""
  near = rows.where(metric='kernel_distance', reference='validation')

  def distance(arm: str) -> float:
    of_steps = [near.where(arm=str(student)).values('value') for student in _students(arm, size, settings)]
    return min((np.mean(values) for values in of_steps if len(values)), default=math.inf)

  left_out = {settings['baseline'], *(arm for of in settings['then'] for arm in _family(of, settings)[1:-1])}
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


def _sizes(settings: Mapping[str, Any]) -> list[str]:
  return [*settings['small'], settings['full']]


def _students(arm: str, size: str, settings: Mapping[str, Any]) -> list[Student]:
  """An arm in a size, in every number of steps."""
  return [Student(arm, size, steps) for steps in (settings['steps'] if arm.startswith('few_step/') else [None])]


def _all_students(settings: Mapping[str, Any], rows: Rows) -> list[Student]:
  """Those that there are samples of."""
  labels = set(rows.where(metric='kernel_distance').distinct('arm'))
  return [student for size in _sizes(settings) for arm in settings['arms'] for student in _students(arm, size, settings)
          if str(student) in labels]


def _timed(study: Study) -> Rows:
  """Seconds a sample of the exact solvers and of every student, measured once."""
  about = {**study.outcome.context.settings, 'budget': study.settings}
  return study.experiment.cached('budget/seconds', about, lambda: _seconds(study))


def _seconds(study: Study) -> Rows:
  """Students of one form share theirs, as weights do not matter."""
  teacher_run, seed = study.outcome.teacher_run, study.outcome.context.seed
  forms: dict[str, tuple[Any, list[str]]] = {}  # -> the student with random weights, the labels
  for student in (student for size in _sizes(study.settings) for arm in study.settings['arms']
                  for student in _students(arm, size, study.settings)):
    config = student_config(study.experiment.config, student, 0)
    model = runs.models.make_student(config, teacher_run.space)
    name = f'{config["student"]["name"]}, {student.size}, {student.steps}'
    forms.setdefault(name, ((model, model.init(jax.random.key(0))), []))[1].append(str(student))
  found = Rows()
  for batch in pareto.BATCHES:
    seconds = {row['solver']: row['seconds_per_image'] for row in timing.sampling_rows(
        teacher_run.teacher, teacher_run.params, {form: model for form, (model, _) in forms.items()}, batch=batch, seed=seed,
        rounds=ROUNDS)}
    named = {label: seconds[form] for form, (_, labels) in forms.items() for label in labels}
    named |= {f'teacher, {solver}': value for solver, value in seconds.items() if solver not in forms and solver != ONE_PASS}
    found += [statistics.row(arm, pareto.SECONDS, f'batch {batch}', value, n=batch, seed=seed) for arm, value in named.items()]
    jax.clear_caches()
  return found


def _effects(rows: Rows, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """How much nearer an arm is than what it is compared with, for every measure."""
  measures = [key for key in rows.groups('metric', 'reference')
              if key[1] in ('data', 'teacher') and ('distance' in key[0] or key[0] == 'oracle_l2')]
  sizes, labels, compared = _sizes(settings), rows.distinct('arm'), []
  for size, larger in zip(sizes, [*sizes[1:], None]):
    of_size = [student for arm in settings['arms'] for student in _students(arm, size, settings) if str(student) in labels]
    for student in of_size:
      compared += [(student, str(student._replace(arm=settings['baseline'], steps=None))), (student, 'teacher')]
      compared += [] if larger is None else [(student._replace(size=larger), str(student))]
    for arm, other in settings['comparisons']:
      compared += [(student, str(baseline)) for student, baseline in zip(
          _students(arm, size, settings), _students(other, size, settings))]
    for first, *further in (_students(arm, size, settings) for arm in settings['arms']):
      compared += [(student, str(first)) for student in further]
  pairs = dict.fromkeys((str(student), baseline) for student, baseline in compared if str(student) != baseline)
  effects = [claims.effect(rows, arm, baseline, *measure) for arm, baseline in pairs for measure in measures
             if baseline != measure[1]]  # the teacher is the reference
  return [effect for effect in effects if effect]


def _main_table(rows: Rows) -> list[list[str]]:
  return tables.by_arm([*rows.where(arm='teacher'), *(rows.over_training() or rows)], MAIN)


def _report(study: Study, rows: Rows) -> None:
  """budget.md: the main numbers, and every effect on the distance of evaluation."""
  effects = Rows(effect for effect in _effects(rows, study.settings) if effect['metric'] in ('kernel_distance', 'oracle_l2'))
  seeds = max(rows.having('train_seed').values('train_seed'), default=0) + 1
  parts = ['# What distillation buys', f'    {study.experiment.command}', '![quality over speed](budget_pareto.png)',
           f'Means over training seeds (up to {seeds:.0f}), with t intervals, after {study.settings["passes"]} passes.',
           tables.markdown(_main_table(rows)), '## Effects',
           'How much nearer an arm is than its baseline (docs/files.md says how a verdict comes about).',
           tables.markdown(effects.lines(list(effects[0]))) if effects else 'None yet.', '']
  files.write_bytes(study.experiment.path / 'budget.md', '\n\n'.join(parts).encode())


def _draw(study: Study, rows: Rows, size: str) -> None:
  """Numbers and samples of a size, and quality over speed of all that there are."""
  _report(study, rows)
  path, measures = study.experiment.path, study.measures
  students, name = _all_students(study.settings, rows), size.replace('/', '_')
  labels = {'teacher', *(str(student) for student in students if student.size == size)}
  figures.forest(path / f'budget_{name}.png', Rows(row for row in rows if row['arm'] in labels), [
      ('kernel_distance', 'data'), ('kernel_distance', 'teacher'), ('coverage', 'data'),
      *((metric, 'data') for metric in measures)], title=f'Students of size {size} after {study.settings["passes"]} passes')
  pareto.draw(path / 'budget_pareto.png', rows, [(student.arm, student.size, str(student)) for student in students])
  teacher_run, context = study.outcome.teacher_run, study.outcome.context
  pictures = {'data': teacher_run.source.data.held_out.pixels[:SHOWN],
              'teacher': examples.to_pixels(teacher_run, context.samples.paired.x[:SHOWN])}
  for student in (student for student in students if student.size == size):
    seed = rows.where(arm=str(student), metric='kernel_distance')[0]['train_seed']
    student_run = load(study, student, trained(study, student._replace(steps=None), seed))
    drawn = runs.generate(student_run, context.samples.z[:SHOWN], study.experiment.devices)
    pictures[str(student).replace(f' at {size}', '')] = examples.to_pixels(teacher_run, drawn)
  figures.panels(path / f'budget_samples_{name}.png', pictures, levels=teacher_run.space.levels, columns=5, per_row=8,
                 title='Samples: the same noise z for the teacher and every student')
