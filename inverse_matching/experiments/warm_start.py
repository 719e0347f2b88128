"""Does an objective leave a good student, or does it never find one? The same objective from random and from good weights."""
import functools
import pathlib
from typing import Any, Mapping, NamedTuple

from absl import logging
import jax
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import evaluate, examples
from inverse_matching.evaluation.context import Context
from inverse_matching.experiments import courses, distillation, figures, scales, verdicts
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runs import StudentRun, TeacherRun
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite
from inverse_matching.training.metrics import held_out_losses

EVERY = 100  # updates between two values of the objective; the numbers of updates in the config are multiples of it
SHOWN = 8  # images of each
OBJECTIVE = 'objective'  # the metric of a row, beside those of samples
FIGURE = 'figure'  # the start of the student of figure 4: random weights, and a schedule of its own
# The metric of samples that an objective is, which has its value before the first update too.
OBJECTIVES = {'reverse_kl': 'reverse_kl', 'reverse_kl_path': 'reverse_kl', 'z_reconstruction': 'z_reconstruction_l2'}
METRICS = ('reverse_kl', 'z_reconstruction_l2', 'label_entropy', 'kernel_distance', 'coverage', 'precision')
LINE = tuple(i / 5 for i in range(6))
COLOURS = {'random': 'tab:red', 'good': 'tab:blue', 'figure': 'tab:orange', 'control': 'tab:grey'}
CURVES = ('kernel_distance', 'coverage', 'label_entropy')  # that are drawn over the updates


class Case(NamedTuple):
  """A training run: an objective, where it starts, and the seed."""
  arm: str
  start: str  # random or good
  seed: int

  def __str__(self) -> str:
    return f'{self.arm} from {self.start} weights, seed {self.seed}'


def run(experiment: Experiment) -> str:
  """Writes warm_start.json and a picture for each arm; returns the table.

  config.warm_start has: good, the arm whose students are the good starts, one for each seed; arms, whose objectives are
  followed; control, an arm that trains on from the good students at the rate of the first of `arms`, or None: what a
  restart does by itself; rates, of which each arm takes for each start the one whose objective on the validation part is
  lowest after num_tuning updates; updates, at which samples are measured and drawn, the last of which ends the run; num_seeds,
  start -> training seeds; and training, sections that overlay those of the config in these runs. An arm whose student of
  figure 4 is there already has its objective along that training too.

  Rows have the arm, start, train_seed, learning_rate, updates, metric and value: the objective on the validation part every 100
  updates, and what is measured on the samples of the same z as the teacher's. Those with `line` are measured at weights on the
  straight line from the good student (0) to where its first seed ended (1). The summary is that of `effects`.
  warm_start.json is written after every run.
  """
  settings = experiment.config['warm_start']
  arms, num_seeds, control = settings['arms'], settings['num_seeds'], settings.get('control')
  distillation.student_configs(experiment.config, [*arms, *([control] if control else [])])  # refuses unknown names at once
  experiment = experiment._replace(config=distillation.with_train_seeds(
      experiment.config, settings['good'], num_seeds.get('good', 1)))
  starts = [(arm, start) for arm in arms for start in num_seeds]
  cases = [Case(arm, start, seed) for seed in range(max(num_seeds.values())) for arm, start in starts
           if seed < num_seeds[start]]
  controls = [Case(control, 'good', seed) for seed in range(num_seeds.get('good', 0)) if control and control not in arms]
  from_good = arms if 'good' in num_seeds else []
  outcome = distillation.carry_out(experiment, [settings['good']], more_stages=[
      *(f'choose the rate of {arm} from {start} weights' for arm, start in starts), *map(str, [*cases, *controls]),
      *(f'from the good student to the end of {arm}' for arm in from_good)])
  teacher_run = outcome.teacher_run
  about = {**distillation.settings(experiment.config, teacher_run), 'warm_start': settings, **outcome.context.settings}
  train = functools.partial(_train, experiment, teacher_run)
  rates = {(arm, start): outcome.stages.run(
      f'choose the rate of {arm} from {start} weights', courses.best_rate, settings['rates'], functools.partial(
          train, Case(arm, start, 0), updates=settings['num_tuning'])) for arm, start in starts}
  rows, images = Rows(), {}
  for arm in arms:
    rows += _of_figure(experiment, arm)
  for case in [*cases, *controls]:
    rate = rates[arms[0] if case in controls else case.arm, case.start]
    more, images[case] = outcome.stages.run(str(case), _follow, experiment, train, case, rate, settings['updates'], outcome)
    rows += [{'arm': case.arm, 'start': case.start, 'train_seed': case.seed, 'learning_rate': rate, **row} for row in more]
    experiment.write('warm_start', about, rows, summary=effects(rows, settings))
  for arm in from_good:
    if images[Case(arm, 'good', 0)]:  # it came to its end
      rows += [{'arm': arm, 'start': 'good', 'train_seed': 0, 'learning_rate': rates[arm, 'good'], **row}
               for row in outcome.stages.run(f'from the good student to the end of {arm}', _line, experiment, arm, outcome)]
  found = effects(rows, settings)
  rows = experiment.write('warm_start', about, rows, summary=found)
  pixels = examples.to_pixels(teacher_run, outcome.context.samples.paired.x[:SHOWN])
  for arm in arms:
    _draw(experiment.path / f'warm_start_{pathlib.Path(arm).name}.png', arm, control, rows, images, pixels,
          teacher_run.space.levels)
  tables = [rows.table(('arm', 'start', 'train_seed', 'updates', 'metric', 'value'))]
  return '\n\n'.join(tables + ([Rows(found).table(list(found[0]))] if found else []))


def effects(rows: Rows, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """What became of the samples of each arm, by every metric, over the training seeds: see verdicts.of_pairs.

  `contrast` is `end - start`, of the runs from good weights; at the end `random - good`, the weights that they began with; and
  `good - control`, the arm against the control from the same weights.
  """
  last, found = settings['updates'][-1], []
  for arm in settings['arms']:
    contrasts = {'end - start': ((arm, 'good', last), (arm, 'good', 0)),
                 'random - good': ((arm, 'random', last), (arm, 'good', last)),
                 'good - control': ((arm, 'good', last), (settings.get('control'), 'good', last))}
    for contrast, sides in contrasts.items():
      for metric in METRICS:
        a, b = ({row['train_seed']: row['value'] for row in rows.where(arm=name, start=start, updates=updates, metric=metric)}
                for name, start, updates in sides)
        seeds = [seed for seed in a if a[seed] is not None and b.get(seed) is not None]
        if len(seeds) > 1:
          difference = verdicts.of_pairs([a[seed] for seed in seeds], [b[seed] for seed in seeds], scales.of(metric))
          found.append({'arm': arm, 'contrast': contrast, 'metric': metric, **difference})
  return found


def _train(experiment: Experiment, teacher_run: TeacherRun, case: Case, rate: float, updates: int,
           folder: str | None = None) -> pathlib.Path:
  """Trains, and returns the workdir, whose checkpoints of every 100 updates are all kept."""
  config = distillation.config_of(experiment.config, case.arm)
  kind = distillation.store(config, config['loss'])
  return courses.train(
      experiment, merge(config, config['warm_start']['training'], {'train': {'seed': case.seed}}),
      experiment.path / 'warm_start' / case.arm / case.start / (folder or f'rate_{rate:g}'), teacher_run, rate=rate,
      updates=updates, every=EVERY, pairs=None if kind is None else distillation.make_store(experiment, teacher_run, kind),
      init_from=_good(experiment, case.seed) if case.start == 'good' else None)


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


def _follow(experiment: Experiment, train: Any, case: Case, rate: float, updates: tuple[int, ...],
            outcome: distillation.Outcome) -> tuple[list[dict[str, Any]], dict[int, np.ndarray]]:
  """Trains; returns rows, and updates -> integer images, of which a run has none whose loss became not finite."""
  try:
    workdir = train(case, rate, updates[-1], f'seed_{case.seed}')
  except NotFinite as error:  # one of many, which must not end the study
    logging.warning('%s: %s', case, error)
    return [{'updates': None, 'metric': 'diverged', 'value': 1.0}], {}
  rows = [{'updates': step, 'metric': OBJECTIVE, 'value': value} for step, value in held_out_losses(workdir).items()]
  images, z = {}, outcome.context.samples.z[:SHOWN]
  for step in updates:
    student_run = _student_at(experiment, workdir, step, case, outcome.teacher_run)
    images[step] = examples.to_pixels(outcome.teacher_run, runs.generate(student_run, z, experiment.devices))
    measured = _measured(experiment, workdir / f'samples_{step}', student_run, outcome.context)
    rows += [{'updates': step, **row} for row in measured]
  return rows, images


def _student_at(experiment: Experiment, workdir: pathlib.Path, step: int, case: Case, teacher_run: TeacherRun) -> StudentRun:
  if step:
    return runs.load_student(workdir, teacher_run, step)
  if case.start == 'good':
    return runs.load_student(_good(experiment, case.seed), teacher_run)
  student_run = runs.load_student(workdir, teacher_run)
  return student_run._replace(params=student_run.student.init(jax.random.key(case.seed)))


def _line(experiment: Experiment, arm: str, outcome: distillation.Outcome) -> list[dict[str, Any]]:
  workdir = experiment.path / 'warm_start' / arm / 'good' / 'seed_0'
  end, good = (runs.load_student(folder, outcome.teacher_run) for folder in (workdir, _good(experiment, 0)))
  rows = []
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
          teacher: np.ndarray, levels: int) -> None:
  """The objective over the updates, what is measured of samples, and samples of the same z."""
  first = {case.start: shown for case, shown in reversed(images.items()) if case.arm == arm and shown}  # of the first seed
  updates = list(next(iter(first.values()), {}))
  figure = plt.figure(figsize=(max(7.0, 1.5 * (len(updates) + 1)), 5.0 + 0.9 * len(first)), layout='constrained')
  top, middle, *below = figure.subfigures(2 + bool(first), 1, height_ratios=[3, 2, *([0.9 * len(first)] if first else [])])
  axis = top.subplots()
  lines = [*rows.where(arm=arm).groups('start', 'train_seed').items()]
  if control:
    lines += [(('control', seed), line) for (seed,), line in rows.where(arm=control, start='good').groups('train_seed').items()]
  for (start, seed), line in lines:
    curve = [(row['updates'], row['value']) for row in line.where(metric=OBJECTIVE)]
    curve = [(0, row['value']) for row in line.where(metric=OBJECTIVES.get(arm.partition('/')[2]), updates=0)] + curve
    words = f'from {start} weights' if start in ('random', 'good') else f'from {FIGURE} 4: random weights, its own schedule'
    if start != 'control' and curve:
      axis.plot(*zip(*curve), color=COLOURS[start], label=None if seed else f'{words}, rate {line[0]["learning_rate"]:g}')
  axis.set(xlabel='updates', ylabel=f'{arm.partition("/")[2].replace("_", " ")}, validation', yscale='log')
  axis.grid(alpha=0.3)
  axis.legend(fontsize=8)
  for axis, metric in zip(middle.subplots(1, len(CURVES)), CURVES):
    for (start, _), line in lines:
      measured = line.where(metric=metric).having('updates')
      axis.plot(measured.values('updates'), measured.values('value'), marker='o', markersize=3, color=COLOURS[start],
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
    middle.supxlabel(f'updates; green: the floor; dashed: {control} from good weights at the same rate', fontsize=8)
  for part in below:
    axes = part.subplots(len(first), len(updates) + 1, squeeze=False)
    for i, start in enumerate(sorted(first)):
      for j, step in enumerate([*updates, None]):
        axis = axes[i, j]
        figures.show(axis, teacher if step is None else first[start][step], 4, levels)
        axis.set(xticks=[], yticks=[])
        axis.set_title('the teacher' if step is None else f'{step} updates', fontsize=7)
        if not j:
          axis.set_ylabel(f'from {start}\nweights', fontsize=7)
  figures.save(figure, path)
