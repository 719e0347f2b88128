"""What moves an objective: size of the batch, learning rate, where training starts, or averaging of the parameters?

All combinations of four factors with two levels. Averaging does not enter training: a training run is read with and without it.
The effects of the others are told for each start by itself, since a start decides most.
"""
import itertools
import math
from typing import Any, Mapping, Sequence

from absl import logging
from matplotlib import pyplot as plt

from inverse_matching import runs
from inverse_matching.evaluation import evaluate, statistics
from inverse_matching.experiments import courses, distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite

TRAINED = ('batch_size', 'learning_rate', 'start')  # the factors of config.factors.levels, which a training run has
WITHIN = ('batch_size', 'learning_rate', 'averaged')  # whose effects are told for each start
RESPONSES = ('reverse_kl', 'label_entropy')


def effect(values: Mapping[tuple[Any, ...], float], factor: int) -> float:
  """How much higher the mean is at the high level of a factor than at the low one.

  Args:
    values: levels of all factors, as indices 0 (low) and 1 (high) -> the response; all combinations.
    factor: the place of the factor in the keys.
  """
  signed = [(1 if levels[factor] else -1) * value for levels, value in values.items()]
  return math.fsum(signed) / (len(signed) / 2)


def run(experiment: Experiment) -> str:
  """Writes factors.json and factors.png; returns the table of effects.

  config.factors has arm, whose objective is followed; good, the arm whose student is the start `good`, one for each seed;
  levels, factor -> (low, high); updates; every, those between two checkpoints; and num_seeds.

  Rows have the run's levels, whether its parameters are `averaged`, train_seed, metric and value; those of the summary the
  factor, the start within which its effect is (None: of the start itself), the metric and the effect with a 95% t interval over
  those seeds, two or more, in which all runs stayed finite. factors.json is written after every run.
  """
  settings = experiment.config['factors']
  distillation.student_configs(experiment.config, [settings['arm']])  # refuses unknown names before the first hour
  config = distillation.with_train_seeds(experiment.config, settings['good'], settings['num_seeds'])
  experiment = experiment._replace(config=config)
  cases = [(levels, seed) for seed in range(settings['num_seeds']) for levels in _combinations(settings)]
  outcome = distillation.carry_out(experiment, [settings['good']], more_stages=[_name(*case) for case in cases])
  about = {**distillation.settings(config, outcome.teacher_run), 'factors': settings, **outcome.context.settings}
  rows, summary = Rows(), []
  for levels, seed in cases:
    try:
      measured = outcome.stages.run(_name(levels, seed), _measure, experiment, levels, seed, outcome)
    except NotFinite as error:  # one of many, which must not end the study
      logging.warning('%s: %s', _name(levels, seed), error)
      measured = [{'metric': 'diverged', 'value': 1.0, 'low': None, 'high': None, 'floor': None}]
    rows += [{**levels, 'train_seed': seed, **row} for row in measured]
    summary = summarise(rows, settings)
    experiment.write('factors', about, rows, summary=summary)
  _draw(experiment, settings, Rows(summary))
  return Rows(summary).table(('factor', 'start', 'metric', 'effect', 'low', 'high', 'num_train_seeds'))


def summarise(rows: Rows, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The effect of every factor on every response, over the seeds that have all runs: see `run`."""
  low, high = settings['levels']['start']
  told = [('start', None)] + [(factor, start) for start in (low, high) for factor in WITHIN]
  return [row for metric in RESPONSES for factor, start in told if (row := _summary(rows, settings, factor, start, metric))]


def _summary(rows: Rows, settings: Mapping[str, Any], factor: str, start: str | None, metric: str) -> dict[str, Any] | None:
  """A row of the summary; None: fewer than two seeds have all runs."""
  levels = {**settings['levels'], 'averaged': (False, True)}
  factors = [*levels] if start is None else list(WITHIN)
  kept = rows.where(metric=metric, **({} if start is None else {'start': start}))
  found = []
  for seed in kept.distinct('train_seed'):
    values = {tuple(levels[name].index(row[name]) for name in factors): row['value']
              for row in kept.where(train_seed=seed) if row['value'] is not None}
    if len(values) == 2**len(factors):
      found.append(effect(values, factors.index(factor)))
  if len(found) < 2:
    return None
  value, low, high = statistics.over_seeds(found)
  return {'factor': factor, 'start': start, 'metric': metric, 'effect': value, 'low': low, 'high': high,
          'num_train_seeds': len(found)}


def _combinations(settings: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
  """Levels of the training runs."""
  return [dict(zip(TRAINED, levels)) for levels in itertools.product(*(settings['levels'][factor] for factor in TRAINED))]


def _name(levels: Mapping[str, Any], seed: int) -> str:
  return ', '.join(f'{name} {value}' for name, value in levels.items()) + f', seed {seed}'


def _measure(experiment: Experiment, levels: Mapping[str, Any], seed: int, outcome: distillation.Outcome) -> Rows:
  """Trains, and measures the last parameters and their average."""
  config, settings = experiment.config, experiment.config['factors']
  config = merge(distillation.config_of(config, settings['arm']), {'train': {'seed': seed, 'batch_size': levels['batch_size']}})
  folder = experiment.path / 'factors' / '_'.join(f'{value}' for value in levels.values()) / f'seed{seed}'
  workdir = courses.train(
      experiment, config, folder, outcome.teacher_run, rate=levels['learning_rate'], updates=settings['updates'],
      every=settings['every'], init_from=distillation.folder_of_training(experiment, settings['good'], seed)
      if levels['start'] == 'good' else None)
  student_run = runs.load_student(workdir, outcome.teacher_run)
  last = checkpoint.load(workdir, checkpoint.steps(workdir)[-1], {'params': student_run.params})['params']
  rows = Rows()
  for averaged, of_run in ((False, student_run._replace(params=last)), (True, student_run)):
    about = {**outcome.context.settings, 'student_hash': checkpoint.tree_hash(of_run.params)}
    name = (workdir / ('averaged' if averaged else 'last')).relative_to(experiment.path)
    rows += [{'averaged': averaged, **row} for row in experiment.cached(str(name), about, lambda of_run=of_run: [
        {name: row[name] for name in ('metric', 'value', 'low', 'high', 'floor')}
        for row in evaluate.sample_rows(settings['arm'], of_run, outcome.context)
        if row['metric'] in RESPONSES and row['reference'] == 'teacher'])]
  return rows


def _draw(experiment: Experiment, settings: Mapping[str, Any], summary: Rows) -> None:
  figure, axes = plt.subplots(1, len(RESPONSES), figsize=(4.2 * len(RESPONSES), 3.2), sharey=True, layout='constrained')
  words = {'averaged': 'averaging of parameters', **{
      factor: f'{factor.replace("_", " ")}: {low} to {high}' for factor, (low, high) in settings['levels'].items()}}
  labels = {}  # in the order of the rows
  for axis, metric in zip(axes, RESPONSES):
    for row in summary.where(metric=metric):
      label = words[row['factor']] + (f', from {row["start"]}' if row['start'] else '')
      i = labels.setdefault(label, len(labels))
      axis.plot([row['low'], row['high']], [i, i], color='tab:blue', linewidth=1.5)
      axis.plot(row['effect'], i, 'o', color='tab:blue', markersize=4)
    axis.axvline(0, color='black', linewidth=0.8)
    axis.set_title(f'effect on {metric.replace("_", " ")}', fontsize=8)
    axis.grid(alpha=0.3)
  axes[0].set_yticks(range(len(labels)), labels=[*labels], fontsize=7)
  axes[0].invert_yaxis()
  figure.suptitle(f'{settings["arm"]} after {settings["updates"]} updates, {settings["num_seeds"]} seeds', fontsize=9)
  figures.save(figure, experiment.path / 'factors.png')
