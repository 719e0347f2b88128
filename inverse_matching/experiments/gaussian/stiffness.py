"""Is the caveat a rare signal or ill-conditioning? Reverse KL with one thing changed at a time.

E[(x - mu_T) . g_x] is minus the derivative of the KL with respect to the log scale of the student about mu_T, so the
expansion signal is the sign of an unbiased estimate of a gradient: a rare sign need not be a wrong one. An arm without
noise (closed_form), with a better estimator (path) or with more samples (large_batch) tells what noise costs; an arm in
coordinates where the teacher is round (whitened), or along the natural gradient, tells what the condition number costs.
"""
import itertools
from typing import Any, Callable, Mapping

from absl import logging
import numpy as np
import optax

from inverse_matching import losses, registry
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import figure2, lanes, measures, remedies, reporting, training

plt = figures.plt

Arm = Callable[[lanes.Pairs, Mapping[str, Any]], training.Trained]


def _cosine(settings: Mapping[str, Any], factor: float = 1.0) -> optax.Schedule:
  return optax.cosine_decay_schedule(factor * settings['learning_rate'], settings['num_steps'])


def _train(pair: lanes.Pairs, settings: Mapping[str, Any], *, loss: Any = None, **changes: Any) -> training.Trained:
  loss = loss or losses.make('reverse_kl', pair.teacher, pair.student)
  arguments = dict(num_steps=settings['num_steps'], batch_size=settings['batch_size'],
                   optimizer=training.adam(settings['learning_rate']))
  return training.train_gaussian(loss, pair.teacher, pair.teacher_params, pair.student_params, pair.keys,
                                 **(arguments | changes))


def _path(pair, settings):
  return _train(pair, settings, loss=losses.make('reverse_kl', pair.teacher, pair.student, estimator='path'))


def _warm_start(pair, settings):
  """A tenth of the updates on x-reconstruction, the rest on reverse KL."""
  first = settings['num_steps'] // 10
  trained = figure2.train(pair, 'x_reconstruction', settings, num_steps=first)
  return _train(pair._replace(student_params=trained.params), settings, num_steps=settings['num_steps'] - first)


def _large_batch(pair, settings):
  """The same number of samples in larger batches, hence fewer updates; see large_batch_more for the same updates."""
  factor = settings['batch_factor']
  return _train(pair, settings, batch_size=factor * settings['batch_size'], num_steps=settings['num_steps'] // factor)


ARMS: dict[str, Arm] = {
    'total': _train,
    'path': _path,
    'closed_form': lambda pair, settings: _train(pair, settings, loss=remedies.closed_form_kl),
    'decayed': lambda pair, settings: _train(pair, settings, optimizer=training.adam(_cosine(settings))),
    'decayed_fast': lambda pair, settings: _train(
        pair, settings, optimizer=training.adam(_cosine(settings, settings['fast_factor']))),
    'annealed': lambda pair, settings: _train(pair, settings, teacher_at=remedies.tempered(
        start=settings['anneal_start'], num_steps=settings['num_steps'] // 2)),
    'large_batch': _large_batch,
    'large_batch_more': lambda pair, settings: _train(
        pair, settings, batch_size=settings['batch_factor'] * settings['batch_size']),
    'warm_start': _warm_start,
    'natural': lambda pair, settings: _train(
        pair, settings, optimizer=remedies.natural_gradient(_cosine(settings, settings['natural_factor']))),
    'closed_form_natural': lambda pair, settings: _train(
        pair, settings, loss=remedies.closed_form_kl,
        optimizer=remedies.natural_gradient(_cosine(settings, settings['natural_factor']))),
    'whitened': lambda pair, settings: _train(
        pair, settings, optimizer=remedies.whitened_adam(settings['learning_rate'])),
    'whitened_fast': lambda pair, settings: _train(
        pair, settings, optimizer=remedies.whitened_adam(_cosine(settings, settings['fast_factor']))),
    'x_reconstruction': lambda pair, settings: figure2.train(pair, 'x_reconstruction', settings),
}


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes stiffness.json (a row per arm, dimension, initial R and seed) and stiffness.png; returns medians over seeds."""
  del devices
  report = reporting.Report('stiffness', workdir, command)
  settings = config['gaussian'] | config['stiffness']
  for arm in settings['arms']:
    registry.choose('arm of stiffness', ARMS, arm)
  made = {n: lanes.make(n, settings['inits'], settings['num_seeds'], seed=settings['seed']) for n in settings['dimensions']}
  rows = []
  for num_dims, arm in itertools.product(settings['dimensions'], settings['arms']):
    pair = made[num_dims]
    params = ARMS[arm](pair, settings).params
    logging.info('stiffness: %s at T = %d', arm, num_dims)
    samples = measures.likelihoods(pair.teacher_params, params, settings['num_samples'], seed=settings['seed'])
    found = measures.rows(samples, measures.kl(pair.teacher_params, params))
    for init, seed, condition, row in zip(pair.inits, pair.seeds, pair.condition_numbers(), found):
      rows.append({'arm': arm, 'dimension': num_dims, 'init': init, 'seed': seed, 'condition_number': float(condition),
                   **row})
  _draw(report.picture(), settings, rows)
  report.write(settings, rows)
  return reporting.median_table(rows, ['dimension', 'init', 'arm'], ['kl', 'ks', 'mean_shift'])


def _draw(path, settings: Mapping[str, Any], rows) -> None:
  shape = (len(settings['dimensions']), len(settings['inits']))
  figure, axes = plt.subplots(*shape, figsize=(3.6 * shape[1], 3.6 * shape[0] + 0.4), squeeze=False, sharey=True)
  arms = settings['arms']
  for line, num_dims in zip(axes, settings['dimensions']):
    for axis, init in zip(line, settings['inits']):
      for place, arm in enumerate(arms):
        here = [row for row in rows if (row['arm'], row['dimension'], row['init']) == (arm, num_dims, init)]
        # A KL below what float32 parameters can hold is drawn at the edge.
        values = np.clip([row['kl'] if np.isfinite(row['kl']) else np.inf for row in here], 1e-7, 1e6)
        axis.plot(values, np.full(len(values), place), '.', ms=4, color='tab:blue')
        axis.plot(np.median(values), place, '|', ms=14, mew=2, color='tab:red')
      axis.set(xscale='log', xlim=(5e-8, 2e6), title=f'T = {num_dims}, R = {init}')
      axis.set_yticks(range(len(arms)), arms, fontsize=8)
      axis.grid(axis='x', alpha=0.3)
      axis.set_xlabel('KL(student || teacher) in nats', fontsize=8)
  axes[0, 0].invert_yaxis()
  figure.suptitle(f'Reverse KL after {settings["num_steps"]} updates: seeds (dots) and median (bar)', fontsize=10)
  figure.tight_layout()
  figures.save(figure, path)
