"""Does an objective leave a good student, or does it never find one? The same objective from random and from good weights."""
import functools
import pathlib
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from absl import logging
import jax
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import evaluate, examples
from inverse_matching.evaluation.context import Context
from inverse_matching.experiments import courses, distillation, figures, scales, selection, verdicts
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runs import StudentRun, TeacherRun
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite
from inverse_matching.training.metrics import held_out_losses

SHOWN = 8  # images of each
OBJECTIVE = 'objective'  # the metric of a row, beside those of samples
CHOICE = 'distance_to_validation'  # the metric by which the updates with the best samples are chosen
FIGURE = 'figure'  # the start of the student of figure 4: random weights, and a schedule of its own
# The metric of samples that an objective is, which has its value before the first update too.
OBJECTIVES = {'reverse_kl': 'reverse_kl', 'reverse_kl_path': 'reverse_kl', 'z_reconstruction': 'z_reconstruction_l2'}
METRICS = ('reverse_kl', 'label_divergence', 'z_reconstruction_l2', 'label_entropy', 'kernel_distance', 'coverage', 'precision')
LINE = tuple(i / 5 for i in range(6))
COLOURS = {'random': 'Reds', 'good': 'Blues', FIGURE: 'Oranges', 'control': 'Greys'}  # of which each rate has a shade
CURVES = ('kernel_distance', 'coverage', 'label_entropy')  # that are drawn over the updates


class Case(NamedTuple):
  """A training run: an objective, where it starts, the learning rate, and the seed."""
  arm: str
  start: str  # random or good
  rate: float
  seed: int

  def __str__(self) -> str:
    return f'{self.arm} from {self.start} weights, rate {self.rate:g}, seed {self.seed}'

  @property
  def fields(self) -> dict[str, Any]:
    """What its rows have."""
    return {'arm': self.arm, 'start': self.start, 'train_seed': self.seed, 'learning_rate': self.rate}


class Course(NamedTuple):
  """What became of a training run."""
  rows: list[dict[str, Any]]
  images: Mapping[int, np.ndarray] = {}  # updates -> integer images; none where the loss became not finite
  best: int | None = None  # the updates whose samples are nearest to the validation part


def run(experiment: Experiment) -> str:
  """Writes warm_start.json and a picture for each arm; returns the table.

  config.warm_start has: good, the arm whose students are the good starts, one for each seed; arms, whose objectives are
  followed; control, an arm that trains on from the good students at the same rates, or None: what a restart does by itself;
  rates, start -> the learning rates, each of which is followed; every, the updates between two values of the objective and two
  checkpoints; updates, multiples of it, at which samples are measured and drawn, the last of which ends the run; num_seeds,
  start -> training seeds; and training, sections that overlay those of the config in these runs. An arm whose student of
  figure 4 is there already has its objective along that training too.

  Rows have the arm, start, learning_rate, train_seed, updates, metric and value: the objective and the distance of samples to
  the validation part every so many updates, and what is measured on samples of the z of the teacher's, also after those updates
  at which that distance was smallest. Those with `line` are measured at weights on the straight line from the good student (0)
  to where its first seed ended (1). The summary is that of `effects`. warm_start.json is written after every run.
  """
  settings = experiment.config['warm_start']
  arms, num_seeds, control = settings['arms'], settings['num_seeds'], settings.get('control')
  distillation.student_configs(experiment.config, [*arms, *([control] if control else [])])  # refuses unknown names at once
  experiment = experiment._replace(config=distillation.with_train_seeds(
      experiment.config, settings['good'], num_seeds.get('good', 1)))
  cases = _cases(arms, settings, num_seeds)
  controls = _cases([control], settings, {'good': num_seeds.get('good', 0)}) if control and control not in arms else []
  lines = [case for case in cases if case.start == 'good' and case.seed == 0]
  of_line = lambda case: f'from the good student to the end of {case}'
  outcome = distillation.carry_out(experiment, [settings['good']], more_stages=[
      *map(str, [*cases, *controls]), *map(of_line, lines)])
  about = {**distillation.settings(experiment.config, outcome.teacher_run), 'warm_start': settings, **outcome.context.settings}
  to_validation, rows, courses_of = selection.distance_to_validation(outcome), Rows(), {}
  for arm in arms:
    rows += _of_figure(experiment, arm)
  for case in [*cases, *controls]:
    best_of_arms = [course.best for other, course in courses_of.items() if other[1:] == case[1:] and course.best is not None]
    updates = sorted({*settings['updates'], *(best_of_arms if case in controls else ())})
    course = courses_of[case] = outcome.stages.run(str(case), _follow, experiment, case, updates, outcome, to_validation)
    rows += [{**case.fields, **row} for row in course.rows]
    experiment.write('warm_start', about, rows, summary=effects(rows, settings))
  for case in lines:
    if courses_of[case].images:  # it came to its end
      rows += [{**case.fields, **row} for row in outcome.stages.run(of_line(case), _line, experiment, case, outcome)]
  found = effects(rows, settings)
  rows = experiment.write('warm_start', about, rows, summary=found)
  pixels = examples.to_pixels(outcome.teacher_run, outcome.context.samples.paired.x[:SHOWN])
  images = {case: course.images for case, course in courses_of.items()}
  for arm in arms:
    _draw(experiment.path / f'warm_start_{pathlib.Path(arm).name}.png', arm, control, rows, images, settings['updates'], pixels,
          outcome.teacher_run.space.levels)
  tables = [rows.table(('arm', 'start', 'learning_rate', 'train_seed', 'updates', 'metric', 'value'))]
  return '\n\n'.join(tables + ([Rows(found).table(list(found[0]))] if found else []))


def _cases(arms: Iterable[str], settings: Mapping[str, Any], num_seeds: Mapping[str, int]) -> list[Case]:
  """The training runs, a seed of all before the next."""
  return [Case(arm, start, rate, seed) for seed in range(max(num_seeds.values())) for arm in arms for start in num_seeds
          for rate in settings['rates'][start] if seed < num_seeds[start]]


def effects(rows: Rows, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """What became of the samples of each arm at each rate, by every metric, over the training seeds: see verdicts.of_pairs.

  `contrast` is of the runs from good weights `end - start` and `best - start`, the weights that they began with, and
  `end - control` and `best - control`, the control from the same weights after as many updates at that rate; `random - good` is
  the end of a run from random weights against that of one from good ones. `best` is after the updates, chosen for each seed, at
  which samples are nearest to the validation part.
  """
  last, found = settings['updates'][-1], []
  control = settings.get('control')
  for arm in settings['arms']:
    for rate in Rows(row for row in rows.where(arm=arm) if row['start'] != FIGURE).distinct('learning_rate'):
      of = functools.partial(_by_seed, rows.where(learning_rate=rate))
      best = _best(rows.where(arm=arm, start='good', learning_rate=rate))
      for metric in METRICS:
        start, end, at_best = (of(arm, 'good', metric, updates) for updates in (0, last, best))
        contrasts = {'end - start': (end, start), 'best - start': (at_best, start),
                     'end - control': (end, of(control, 'good', metric, last)),
                     'best - control': (at_best, of(control, 'good', metric, best)),
                     'random - good': (of(arm, 'random', metric, last), end)}
        for contrast, (a, b) in contrasts.items():
          seeds = [seed for seed in a if a[seed] is not None and b.get(seed) is not None]
          if len(seeds) > 1:
            difference = verdicts.of_pairs([a[seed] for seed in seeds], [b[seed] for seed in seeds], scales.of(metric))
            found.append({'arm': arm, 'learning_rate': rate, 'contrast': contrast, 'metric': metric, **difference})
  return found


def _by_seed(rows: Rows, arm: str, start: str, metric: str, updates: int | Mapping[int, int]) -> dict[int, float | None]:
  """Training seed -> the value of a metric after so many updates, or as many as it has of its own."""
  at = lambda seed: updates.get(seed) if isinstance(updates, Mapping) else updates
  return {row['train_seed']: row['value'] for row in rows.where(arm=arm, start=start, metric=metric)
          if row['updates'] is not None and row['updates'] == at(row['train_seed'])}


def _best(rows: Rows) -> dict[int, int]:
  """Training seed -> the updates at which samples are nearest to the validation part."""
  return {seed: min(of_seed, key=lambda row: row['value'])['updates']
          for (seed,), of_seed in rows.where(metric=CHOICE).groups('train_seed').items()}


def _train(experiment: Experiment, case: Case, teacher_run: TeacherRun) -> pathlib.Path:
  """Trains, and returns the workdir, of which all checkpoints are kept."""
  config = distillation.config_of(experiment.config, case.arm)
  settings, kind = config['warm_start'], distillation.store(config, config['loss'])
  return courses.train(
      experiment, merge(config, settings['training'], {'train': {'seed': case.seed}}), _folder(experiment, case), teacher_run,
      rate=case.rate, updates=settings['updates'][-1], every=settings['every'],
      pairs=None if kind is None else distillation.make_store(experiment, teacher_run, kind),
      init_from=_good(experiment, case.seed) if case.start == 'good' else None)


def _folder(experiment: Experiment, case: Case) -> pathlib.Path:
  return experiment.path / 'warm_start' / case.arm / case.start / f'rate_{case.rate:g}' / f'seed{case.seed}'


def _good(experiment: Experiment, seed: int) -> pathlib.Path:
  """The workdir of the good student that a seed begins with."""
  return distillation.folder_of_training(experiment, experiment.config['warm_start']['good'], seed)


def _of_figure(experiment: Experiment, arm: str) -> list[dict[str, Any]]:
  """Rows of the objective along the training of figure 4, if that is there."""
  workdir, config = distillation.folder_of_training(experiment, arm, 0), distillation.config_of(experiment.config, arm)
  if not (workdir / 'metrics.jsonl').exists():
    return []
  return [{'arm': arm, 'start': FIGURE, 'train_seed': config['train']['seed'],
           'learning_rate': config['optimizer']['learning_rate'], 'updates': step, 'metric': OBJECTIVE, 'value': value}
          for step, value in held_out_losses(workdir).items()]


def _follow(experiment: Experiment, case: Case, updates: Sequence[int], outcome: distillation.Outcome,
            to_validation: selection.ToValidation) -> Course:
  """Trains, and measures samples after each of `updates`, and after the updates at which they are best."""
  try:
    workdir = _train(experiment, case, outcome.teacher_run)
  except NotFinite as error:  # one of many, which must not end the study
    logging.warning('%s: %s', case, error)
    return Course([{'updates': None, 'metric': 'diverged', 'value': 1.0}])
  num, z = len(outcome.context.samples.z), outcome.context.samples.z[:SHOWN]
  choice = selection.along(experiment, outcome, to_validation, workdir, num)
  if case.start == 'good':
    first = _student_at(experiment, workdir, 0, case, outcome.teacher_run)
    choice = {0: selection.of_student(experiment, outcome, to_validation, first, num), **choice}
  rows = [{'updates': step, 'metric': metric, 'value': value} for metric, values in (
      (OBJECTIVE, held_out_losses(workdir)), (CHOICE, choice)) for step, value in values.items()]
  images, best = {}, min(choice, key=choice.get)
  for step in sorted({*updates, best}):
    student_run = _student_at(experiment, workdir, step, case, outcome.teacher_run)
    images[step] = examples.to_pixels(outcome.teacher_run, runs.generate(student_run, z, experiment.devices))
    measured = _measured(experiment, workdir / f'samples_{step}', student_run, outcome.context)
    rows += [{'updates': step, **row} for row in measured]
  return Course(rows, images, best)


def _student_at(experiment: Experiment, workdir: pathlib.Path, step: int, case: Case, teacher_run: TeacherRun) -> StudentRun:
  if step:
    return runs.load_student(workdir, teacher_run, step)
  if case.start == 'good':
    return runs.load_student(_good(experiment, case.seed), teacher_run)
  student_run = runs.load_student(workdir, teacher_run)
  return student_run._replace(params=student_run.student.init(jax.random.key(case.seed)))


def _line(experiment: Experiment, case: Case, outcome: distillation.Outcome) -> list[dict[str, Any]]:
  workdir, rows = _folder(experiment, case), []
  end, good = (runs.load_student(folder, outcome.teacher_run) for folder in (workdir, _good(experiment, case.seed)))
  for share in LINE:
    params = jax.tree.map(lambda a, b, share=share: (1 - share) * a + share * b, good.params, end.params)
    rows += [{'updates': None, 'line': share, **row} for row in _measured(
        experiment, workdir / f'line_{share:g}', end._replace(params=params), outcome.context)]
  return rows


def _measured(experiment: Experiment, file: pathlib.Path, student_run: StudentRun,
              context: Context) -> list[dict[str, Any]]:
  """Rows of a student's samples, measured unless FILE.json has those of the same student."""
  def measure():
    return [{name: row[name] for name in ('metric', 'value', 'low', 'high', 'floor')}
            for row in evaluate.sample_rows('student', student_run, context)
            if row['metric'] in METRICS and row['reference'] == 'teacher']

  about = {**context.settings, 'student_hash': checkpoint.tree_hash(student_run.params)}
  return experiment.cached(str(file.relative_to(experiment.path)), about, measure)


def _draw(path: pathlib.Path, arm: str, control: str | None, rows: Rows, images: Mapping[Case, Mapping[int, np.ndarray]],
          updates: Sequence[int], teacher: np.ndarray, levels: int) -> None:
  """The objective over the updates, what is measured of samples, and samples of the same z."""
  shown = {(case.start, case.rate): of_case for case, of_case in images.items()
           if case.arm == arm and case.seed == 0 and of_case}
  figure = plt.figure(figsize=(max(7.0, 1.5 * (len(updates) + 1)), 5.0 + 0.9 * len(shown)), layout='constrained')
  top, middle, *below = figure.subfigures(2 + bool(shown), 1, height_ratios=[3, 2, *([0.9 * len(shown)] if shown else [])])
  lines = [((start, rate, seed), line) for (start, rate, seed), line in rows.where(arm=arm).groups(
      'start', 'learning_rate', 'train_seed').items()]
  if control:
    lines += [(('control', rate, seed), line) for (rate, seed), line in rows.where(arm=control, start='good').groups(
        'learning_rate', 'train_seed').items()]
  colour = _colours({(start, rate) for (start, rate, _), _ in lines})
  axis = top.subplots()
  for (start, rate, seed), line in lines:
    curve = [(row['updates'], row['value']) for row in line.where(metric=OBJECTIVE)]
    curve = [(0, row['value']) for row in line.where(metric=OBJECTIVES.get(arm.partition('/')[2]), updates=0)] + curve
    words = f'from {start} weights' if start in ('random', 'good') else f'from {FIGURE} 4: random weights, its own schedule'
    if start != 'control' and curve:
      axis.plot(*zip(*curve), color=colour[start, rate], label=None if seed else f'{words}, rate {rate:g}')
  axis.set(xlabel='updates', ylabel=f'{arm.partition("/")[2].replace("_", " ")}, validation', yscale='log')
  axis.grid(alpha=0.3)
  axis.legend(fontsize=8)
  for axis, metric in zip(middle.subplots(1, len(CURVES)), CURVES):
    for (start, rate, _), line in lines:
      measured = sorted((row['updates'], row['value']) for row in line.where(metric=metric).having('updates'))
      if measured:
        axis.plot(*zip(*measured), marker='o', markersize=3, color=colour[start, rate],
                  linestyle='--' if start == 'control' else '-')
    floors = rows.where(metric=metric).having('floor').values('floor')
    if len(floors):
      axis.axhline(floors[0], color='tab:green', linewidth=1)
    if metric == 'kernel_distance':
      axis.set_yscale('symlog', linthresh=0.01)
    axis.set_title(metric.replace('_', ' ') + ' (teacher)', fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
  if control:
    middle.supxlabel(f'updates; green: the floor; dashed: {control} from good weights at the same rates', fontsize=8)
  for part in below:
    axes = part.subplots(len(shown), len(updates) + 1, squeeze=False)
    for i, (start, rate) in enumerate(sorted(shown)):
      for j, step in enumerate([*updates, None]):
        axis = axes[i, j]
        figures.show(axis, teacher if step is None else shown[start, rate][step], 4, levels)
        axis.set(xticks=[], yticks=[])
        axis.set_title('the teacher' if step is None else f'{step} updates', fontsize=7)
        if not j:
          axis.set_ylabel(f'from {start}\nweights,\nrate {rate:g}', fontsize=7)
  figures.save(figure, path)


def _colours(of: Iterable[tuple[str, float]]) -> dict[tuple[str, float], Any]:
  """(start, rate) -> a colour: the higher the rate, the darker."""
  of = sorted(of)
  rates = {start: [rate for other, rate in of if other == start] for start, _ in of}
  return {(start, rate): plt.get_cmap(COLOURS[start])(0.8 if len(rates[start]) == 1 else 0.45 + 0.5 * rates[start].index(
      rate) / (len(rates[start]) - 1)) for start, rate in of}
