"""Is the caveat a rare signal or ill-conditioning? Reverse KL with one thing changed at a time.

E[(x - mu_T) . g_x] is minus the derivative of the KL with respect to the log scale of the student about mu_T, so the
expansion signal is the sign of an unbiased estimate of a gradient: a rare sign need not be a wrong one. An arm without
noise (closed_form), with a better estimator (path) or with more samples (large_batch) tells what noise costs; an arm in
coordinates where the teacher is round (whitened), or along the natural gradient, tells what the condition number costs.
"""
from typing import Any, Callable, Mapping

from absl import logging
from matplotlib import pyplot as plt
import numpy as np
import optax

from inverse_matching import losses, registry
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, remedies, training

Settings = Mapping[str, Any]


def _cosine(settings: Settings, factor: float = 1.0) -> optax.Schedule:
  return optax.cosine_decay_schedule(factor * settings['learning_rate'], settings['num_steps'])


def _natural(settings: Settings) -> training.Optimizer:
  return remedies.natural_gradient(_cosine(settings, settings['natural_factor']))


def _warm_start(models: lanes.Models, settings: Settings) -> dict[str, Any]:
  """A tenth of the updates on x-reconstruction, the rest on reverse KL."""
  first = settings['num_steps'] // 10
  start = training.train(models, 'x_reconstruction', settings, num_steps=first).params
  return dict(models=models._replace(student_params=start), num_steps=settings['num_steps'] - first)


# Name of an arm -> arguments of training.train that differ from those of plain reverse KL.
ARMS: dict[str, Callable[[lanes.Models, Settings], dict[str, Any]]] = {
    'total': lambda models, settings: dict(),
    'path': lambda models, settings: dict(
        loss=losses.make('reverse_kl', models.teacher, models.student, estimator='path')),
    'closed_form': lambda models, settings: dict(loss=remedies.closed_form_kl),
    'decayed': lambda models, settings: dict(optimizer=training.adam(_cosine(settings))),
    'decayed_fast': lambda models, settings: dict(optimizer=training.adam(_cosine(settings, settings['fast_factor']))),
    'annealed': lambda models, settings: dict(
        teacher_at=remedies.tempered(start=settings['anneal_start'], num_steps=settings['num_steps'] // 2)),
    # The same number of samples in larger batches, hence fewer updates; then the same number of updates.
    'large_batch': lambda models, settings: dict(
        batch_size=settings['batch_factor'] * settings['batch_size'],
        num_steps=settings['num_steps'] // settings['batch_factor']),
    'large_batch_more': lambda models, settings: dict(batch_size=settings['batch_factor'] * settings['batch_size']),
    'warm_start': _warm_start,
    'natural': lambda models, settings: dict(optimizer=_natural(settings)),
    'closed_form_natural': lambda models, settings: dict(loss=remedies.closed_form_kl, optimizer=_natural(settings)),
    'whitened': lambda models, settings: dict(optimizer=remedies.whitened_adam(settings['learning_rate'])),
    'whitened_fast': lambda models, settings: dict(
        optimizer=remedies.whitened_adam(_cosine(settings, settings['fast_factor']))),
    'x_reconstruction': lambda models, settings: dict(loss='x_reconstruction'),
}


def run(settings: Settings) -> Result:
  """A row per arm, dimension, initial R and seed; the table has medians over seeds.

  Raises:
    InputError: an unknown arm.
  """
  for arm in settings['arms']:
    registry.choose('arm of stiffness', ARMS, arm)
  rows = Rows()
  for num_dims in settings['dimensions']:
    models = lanes.make(num_dims, settings['inits'], settings['num_seeds'], seed=settings['seed'])
    for arm in settings['arms']:
      arguments = {'models': models, 'loss': 'reverse_kl', 'settings': settings, **ARMS[arm](models, settings)}
      params = training.train(**arguments).params
      logging.info('stiffness: %s at T = %d', arm, num_dims)
      samples = lanes.likelihoods(models.teacher_params, params, settings['num_samples'], seed=settings['seed'])
      rows += [{'arm': arm, **row} for row in lanes.rows(models, params, samples)]
  return Result(rows, {'': _draw(settings, rows)}, rows.median_table(['dimension', 'init', 'arm'], ['kl', 'ks', 'mean_shift']))


def _draw(settings: Settings, rows: Rows) -> plt.Figure:
  dimensions, inits, arms = (settings[name] for name in ('dimensions', 'inits', 'arms'))
  figure, axes = plt.subplots(len(dimensions), len(inits), figsize=(3.6 * len(inits), 3.6 * len(dimensions) + 0.4),
                              squeeze=False, sharey=True)
  for axis, ((num_dims, init), panel) in zip(axes.flat, rows.groups('dimension', 'init').items()):
    for place, arm in enumerate(arms):
      kl = np.array([row['kl'] for row in panel.where(arm=arm)])
      # A KL below what float32 parameters can hold is drawn at the edge.
      values = np.clip(np.where(np.isfinite(kl), kl, np.inf), 1e-7, 1e6)
      axis.plot(values, np.full(len(values), place), '.', ms=4, color='tab:blue')
      axis.plot(np.median(values), place, '|', ms=14, mew=2, color='tab:red')
    axis.set(xscale='log', xlim=(5e-8, 2e6), title=f'T = {num_dims}, R = {init}')
    axis.set_yticks(range(len(arms)), arms, fontsize=8)
    axis.grid(axis='x', alpha=0.3)
    axis.set_xlabel('KL(student || teacher) in nats', fontsize=8)
  axes[0, 0].invert_yaxis()
  figure.suptitle(f'Reverse KL after {settings["num_steps"]} updates: seeds (dots) and median (bar)', fontsize=10)
  return figure
