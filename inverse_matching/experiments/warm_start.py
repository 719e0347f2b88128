"""Does an objective leave a good student, or does it never find one? The same objective from random and from good weights."""
import functools
import pathlib
from typing import Any, Mapping, NamedTuple

import jax
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import evaluate, examples
from inverse_matching.evaluation.context import Context
from inverse_matching.experiments import courses, distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runs import StudentRun, TeacherRun
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.metrics import held_out_losses

EVERY = 100  # updates between two values of the objective; the numbers of updates in the config are multiples of it
SHOWN = 8  # images of each
OBJECTIVE = 'objective'  # the metric of a row, beside those of samples
METRICS = ('reverse_kl', 'label_entropy', 'kernel_distance', 'coverage', 'precision')
LINE = tuple(i / 10 for i in range(11))
COLOURS = {'random': 'tab:red', 'good': 'tab:blue'}


class Case(NamedTuple):
  """A training run: an objective, where it starts, and the seed."""
  arm: str
  start: str  # random or good
  seed: int

  def __str__(self) -> str:
    return f'{self.arm} from {self.start} weights, seed {self.seed}'


def run(experiment: Experiment) -> str:
  """Writes warm_start.json and warm_start.png; returns the table.

  config.warm_start has: good, the arm whose student is the good start; arms, whose objectives are followed; rates, of which
  each arm takes for each start the one whose objective on the validation part is lowest after num_tuning updates; updates, at
  which samples are measured and drawn, the last of which ends the run; num_seeds, start -> training seeds; and training,
  sections that overlay those of the config in these runs. Each seed begins with a good student of its own, if the arm has as
  many.

  Rows have the arm, start, train_seed, learning_rate, updates, metric and value: the objective on the validation part every 100
  updates, and what is measured on the samples of the same z as the teacher's. Those with `line` are measured at weights on the
  straight line from the good student (0) to where its first seed ended (1).
  """
  settings = experiment.config['warm_start']
  distillation.student_configs(experiment.config, settings['arms'])  # refuses unknown names before the first hour
  starts = [(arm, start) for arm in settings['arms'] for start in settings['num_seeds']]
  cases = [Case(arm, start, seed) for arm, start in starts for seed in range(settings['num_seeds'][start])]
  outcome = distillation.carry_out(experiment, [settings['good']], more_stages=[
      *(f'choose the rate of {arm} from {start} weights' for arm, start in starts), *map(str, cases),
      *(f'from the good student to the end of {arm}' for arm in settings['arms'])])
  teacher_run = outcome.teacher_run
  train = functools.partial(_train, experiment, teacher_run)
  rates = {(arm, start): outcome.stages.run(
      f'choose the rate of {arm} from {start} weights', courses.best_rate, settings['rates'], functools.partial(
          train, Case(arm, start, 0), updates=settings['num_tuning'])) for arm, start in starts}
  rows, images = Rows(), {}
  for case in cases:
    rate = rates[case.arm, case.start]
    about = {'arm': case.arm, 'start': case.start, 'train_seed': case.seed, 'learning_rate': rate}
    more, images[case] = outcome.stages.run(str(case), _follow, experiment, train, case, rate, settings['updates'], outcome)
    rows += [{**about, **row} for row in more]
  for arm in settings['arms']:
    rows += [{'arm': arm, 'start': 'good', 'train_seed': 0, 'learning_rate': rates[arm, 'good'], **row}
             for row in outcome.stages.run(f'from the good student to the end of {arm}', _line, experiment, arm, outcome)]
  rows = experiment.write('warm_start', {**distillation.settings(experiment.config, teacher_run), 'warm_start': settings,
                                         **outcome.context.settings}, rows)
  pixels = examples.to_pixels(teacher_run, outcome.context.samples.paired.x[:SHOWN])
  for arm in settings['arms']:
    _draw(experiment.path / f'warm_start_{pathlib.Path(arm).name}.png', arm, rows, images, pixels, teacher_run.space.levels)
  return rows.table(('arm', 'start', 'train_seed', 'updates', 'metric', 'value'))


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
  arm = experiment.config['warm_start']['good']
  (config,) = distillation.student_configs(experiment.config, [arm]).values()
  seeds = distillation.train_seeds(config)
  return distillation.student_folder(experiment.path, arm, merge(config, {'train': {'seed': seeds[seed % len(seeds)]}}))


def _follow(experiment: Experiment, train: Any, case: Case, rate: float, updates: tuple[int, ...],
            outcome: distillation.Outcome) -> tuple[list[dict[str, Any]], dict[int, np.ndarray]]:
  """Trains; returns rows, and updates -> integer images."""
  workdir = train(case, rate, updates[-1], f'seed_{case.seed}')
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


def _draw(path: pathlib.Path, arm: str, rows: Rows, images: Mapping[Case, Mapping[int, np.ndarray]], teacher: np.ndarray,
          levels: int) -> None:
  """The objective over the updates, and below it samples of the same z."""
  first = {case.start: shown for case, shown in reversed(images.items()) if case.arm == arm}  # of the first seed
  updates = list(next(iter(first.values())))
  figure = plt.figure(figsize=(1.5 * (len(updates) + 1), 3.2 + 0.9 * len(first)), layout='constrained')
  grid = figure.add_gridspec(1 + len(first), len(updates) + 1, height_ratios=[3.2, *[0.9] * len(first)])
  axis = figure.add_subplot(grid[0, :])
  for (start, seed), line in rows.where(arm=arm, metric=OBJECTIVE).groups('start', 'train_seed').items():
    axis.plot(line.values('updates'), line.values('value'), color=COLOURS[start],
              label=None if seed else f'from {start} weights, rate {line[0]["learning_rate"]:g}')
  axis.set(xlabel='updates', ylabel=f'{arm.partition("/")[2].replace("_", " ")}, validation', yscale='log')
  axis.grid(alpha=0.3)
  axis.legend(fontsize=8)
  for i, start in enumerate(('good', 'random')):
    for j, step in enumerate([*updates, None]):
      axis = figure.add_subplot(grid[1 + i, j])
      figures.show(axis, teacher if step is None else first[start][step], 4, levels)
      axis.set(xticks=[], yticks=[])
      axis.set_title('the teacher' if step is None else f'{step} updates', fontsize=7)
      if not j:
        axis.set_ylabel(f'from {start}\nweights', fontsize=7)
  figures.save(figure, path)
