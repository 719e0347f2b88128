"""What moves an objective: size of the batch, learning rate, averaging of the parameters, or where training starts?

A half fraction of all combinations of four factors with two levels: 8 runs, in which every main effect is told apart from every
other and from what two factors do together, and is confounded with what the three others do together (Box, Hunter and Hunter,
2005, chapter 6).
"""
import itertools
from typing import Any, Mapping

from absl import logging
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import evaluate, statistics
from inverse_matching.experiments import courses, distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite

FACTORS = ('batch_size', 'learning_rate', 'ema_decay', 'start')
RESPONSES = ('reverse_kl', 'label_entropy')


def design() -> list[tuple[int, ...]]:
  """The 8 runs, -1 or 1 for each of FACTORS: all combinations of the first three, of which the last is the product."""
  return [(*signs, int(np.prod(signs))) for signs in itertools.product((-1, 1), repeat=len(FACTORS) - 1)]


def effects(values: np.ndarray) -> np.ndarray:
  """[seeds, factors] of values [seeds, runs]: how much higher the mean of the runs at the high level is than at the low one."""
  return values @ np.array(design()) / (values.shape[1] / 2)


def run(experiment: Experiment) -> str:
  """Writes factors.json and factors.png; returns the table of effects.

  config.factors has arm, whose objective is followed; good, the arm whose student is the start `good`, one for each seed;
  levels, factor -> (low, high); updates; every, those between two checkpoints; and num_seeds.

  Rows have the run's levels, train_seed, metric and value; those of the summary the factor, the metric and its effect with a
  95% t interval over seeds, of those in which all runs stayed finite. factors.json is written after every run, and the summary
  at the end.
  """
  settings = experiment.config['factors']
  distillation.student_configs(experiment.config, [settings['arm']])  # refuses unknown names before the first hour
  config = distillation.with_train_seeds(experiment.config, settings['good'], settings['num_seeds'])
  experiment = experiment._replace(config=config)
  cases = [(signs, seed) for seed in range(settings['num_seeds']) for signs in design()]
  outcome = distillation.carry_out(experiment, [settings['good']], more_stages=[_name(settings, *case) for case in cases])
  about = {**distillation.settings(config, outcome.teacher_run), 'factors': settings, **outcome.context.settings}
  rows = Rows()
  for signs, seed in cases:
    levels = _levels(settings, signs)
    try:
      measured = outcome.stages.run(_name(settings, signs, seed), _measure, experiment, levels, seed, outcome)
    except NotFinite as error:  # one of many, which must not end the study
      logging.warning('%s: %s', _name(settings, signs, seed), error)
      measured = [{'metric': 'diverged', 'value': 1.0, 'low': None, 'high': None, 'floor': None}]
    rows += [{**levels, 'train_seed': seed, **row} for row in measured]
    experiment.write('factors', about, rows)
  summary = summarise(rows, settings['num_seeds'])
  experiment.write('factors', about, rows, summary=summary)
  _draw(experiment, settings, Rows(summary))
  return Rows(summary).table(('factor', 'metric', 'effect', 'low', 'high', 'num_train_seeds'))


def summarise(rows: Rows, num_seeds: int) -> list[dict[str, Any]]:
  """The effect of every factor on every response, over the seeds that have all runs."""
  summary = []
  for metric in RESPONSES:
    of_seeds = [rows.where(metric=metric, train_seed=seed).values('value') for seed in range(num_seeds)]
    complete = np.array([values for values in of_seeds if len(values) == len(design())])
    for factor, of_factor in zip(FACTORS, effects(complete).T if len(complete) else ()):
      value, low, high = statistics.over_seeds(of_factor)
      summary.append({'factor': factor, 'metric': metric, 'effect': value, 'low': low, 'high': high,
                      'num_train_seeds': len(complete)})
  return summary


def _levels(settings: Mapping[str, Any], signs: tuple[int, ...]) -> dict[str, Any]:
  return {factor: settings['levels'][factor][sign > 0] for factor, sign in zip(FACTORS, signs)}


def _name(settings: Mapping[str, Any], signs: tuple[int, ...], seed: int) -> str:
  return ', '.join(f'{name} {value}' for name, value in _levels(settings, signs).items()) + f', seed {seed}'


def _measure(experiment: Experiment, levels: Mapping[str, Any], seed: int, outcome: distillation.Outcome) -> Rows:
  config, settings = experiment.config, experiment.config['factors']
  config = merge(distillation.config_of(config, settings['arm']), {
      'train': {'seed': seed, 'batch_size': levels['batch_size'], 'ema_decay': levels['ema_decay']}})
  folder = experiment.path / 'factors' / '_'.join(f'{value}' for value in levels.values()) / f'seed{seed}'
  workdir = courses.train(
      experiment, config, folder, outcome.teacher_run, rate=levels['learning_rate'], updates=settings['updates'],
      every=settings['every'], init_from=distillation.folder_of_training(experiment, settings['good'], seed)
      if levels['start'] == 'good' else None)
  student_run = runs.load_student(workdir, outcome.teacher_run)
  about = {**outcome.context.settings, 'student_hash': checkpoint.tree_hash(student_run.params)}
  return experiment.cached(str((workdir / 'responses').relative_to(experiment.path)), about, lambda: [
      {name: row[name] for name in ('metric', 'value', 'low', 'high', 'floor')}
      for row in evaluate.sample_rows(settings['arm'], student_run, outcome.context)
      if row['metric'] in RESPONSES and row['reference'] == 'teacher'])


def _draw(experiment: Experiment, settings: Mapping[str, Any], summary: Rows) -> None:
  figure, axes = plt.subplots(1, len(RESPONSES), figsize=(4.2 * len(RESPONSES), 2.4), sharey=True, layout='constrained')
  labels = [f'{factor.replace("_", " ")}: {low} to {high}' for factor, (low, high) in
            ((factor, settings['levels'][factor]) for factor in FACTORS)]
  for axis, metric in zip(axes, RESPONSES):
    for i, row in enumerate(summary.where(metric=metric)):
      axis.plot([row['low'], row['high']], [i, i], color='tab:blue', linewidth=1.5)
      axis.plot(row['effect'], i, 'o', color='tab:blue', markersize=4)
    axis.axvline(0, color='black', linewidth=0.8)
    axis.set_yticks(range(len(FACTORS)), labels=labels, fontsize=7)
    axis.set_title(f'effect on {metric.replace("_", " ")}', fontsize=8)
    axis.grid(alpha=0.3)
  axes[0].invert_yaxis()
  figure.suptitle(f'{settings["arm"]} after {settings["updates"]} updates, {settings["num_seeds"]} seeds', fontsize=9)
  figures.save(figure, experiment.path / 'factors.png')
