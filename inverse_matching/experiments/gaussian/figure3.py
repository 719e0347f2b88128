"""Figure 3 of the paper: the probability of the expansion signal while reverse KL trains the student.

Measured at the paper's centre, the mode of the teacher: the event (x - mu_T) . g_x > 0, from fresh samples and exactly.
"""
from typing import Any, Mapping

import numpy as np

from inverse_matching.analysis import expansion
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import figure2, lanes, measures, reporting

plt = figures.plt

LOSS = 'reverse_kl'


def signal_frequency(teacher_params, snapshots, num_samples: int, *, seed: int) -> np.ndarray:
  """Share of fresh student samples with the signal, [L, K], for snapshots with leaves [L, K, ...]."""
  rng = np.random.default_rng(seed)
  mean, matrix = (np.asarray(teacher_params[name], np.float64) for name in ('mean', 'matrix'))
  count, num_dims = snapshots['mean'].shape[1], mean.shape[-1]
  out = np.empty((len(mean), count))
  for k in range(count):
    factor, offset = (np.asarray(snapshots[name][:, k], np.float64) for name in ('matrix', 'mean'))
    offset = offset - mean
    e = rng.standard_normal((len(mean), num_dims, num_samples))
    d = offset[..., None] + factor @ e  # x - mu_T
    # d . Sigma_S^-1 (x - mu_S) = (R_S^-1 d) . e, and d . Sigma_T^-1 d = |R_T^-1 d|^2.
    outward = e + np.linalg.solve(factor, offset[..., None])
    signal = np.sum(outward * e, axis=1) - np.sum(np.linalg.solve(matrix, d) ** 2, axis=1)
    out[:, k] = np.mean(signal > 0, axis=1)
  return out


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes figure3.json (the curve, and the exact probability, KL and distance of means at some steps) and figure3.png."""
  del devices
  report = reporting.Report('figure3', workdir, command)
  settings = config['gaussian'] | config['figure3']
  every = settings['snapshot_every']
  rows = []
  for num_dims in settings['dimensions']:
    pair = lanes.make(num_dims, [settings['init']], settings['num_seeds'], seed=settings['seed'])
    snapshots = figure2.train(pair, LOSS, settings, snapshot_every=every).snapshots
    frequency = signal_frequency(pair.teacher_params, snapshots, settings['num_expansion_samples'], seed=settings['seed'])
    offsets = np.asarray(snapshots['mean'], np.float64) - np.asarray(pair.teacher_params['mean'], np.float64)[:, None]
    kl = measures.kl(pair.teacher_params, snapshots)
    matrix = np.asarray(pair.teacher_params['matrix'], np.float64)
    whitened = np.swapaxes(np.linalg.solve(matrix, np.swapaxes(offsets, 1, 2)), 1, 2)
    for k in range(frequency.shape[1]):
      row = {'dimension': num_dims, 'init': settings['init'], 'step': k * every, 'frequency': np.mean(frequency[:, k]),
             'lowest_seed': np.min(frequency[:, k]), 'highest_seed': np.max(frequency[:, k]), 'probability': None,
             'mean_distance': None, 'mean_mahalanobis': None, 'kl': None}
      if k * every in settings['steps']:
        exact = [expansion.expansion_probability_factors(offset, student, teacher) for offset, student, teacher in
                 zip(offsets[:, k], snapshots['matrix'][:, k], matrix)]
        row |= {'probability': np.mean(exact), 'mean_distance': np.median(np.linalg.norm(offsets[:, k], axis=-1)),
                'mean_mahalanobis': np.median(np.linalg.norm(whitened[:, k], axis=-1)), 'kl': np.median(kl[:, k])}
      rows.append(row)
  _draw(report.picture(), settings, rows)
  report.write(settings, rows)
  listed = [row for row in rows if row['probability'] is not None]
  return reporting.table(listed, ['dimension', 'step', 'frequency', 'probability', 'lowest_seed', 'highest_seed',
                                  'mean_distance', 'mean_mahalanobis', 'kl']) + '\n\n' + verdicts(rows, settings)


def verdicts(rows, settings: Mapping[str, Any]) -> str:
  """The claims of the text beside the curve, one line each."""
  curves = {n: {row['step']: row['frequency'] for row in rows if row['dimension'] == n} for n in settings['dimensions']}
  lines = []
  for n, curve in curves.items():
    steps = sorted(curve)
    top = max(steps, key=curve.get)
    late = [curve[s] for s in steps if s >= 0.8 * steps[-1]]
    lines.append(f'T = {n}: {curve[0]:.2f} at the start, highest {curve[top]:.2f} at update {top}, '
                 f'{np.mean(late):.2f} over the last fifth')
  return '\n'.join(lines)


def _draw(path, settings: Mapping[str, Any], rows) -> None:
  figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True)
  for axis in axes:
    for color, num_dims in enumerate(settings['dimensions']):
      here = [row for row in rows if row['dimension'] == num_dims]
      steps, values = ([row[name] for row in here] for name in ('step', 'frequency'))
      exact = [(row['step'], row['probability']) for row in here if row['probability'] is not None]
      axis.plot(steps, values, lw=1, color=f'C{color}', label=f'T = {num_dims}')
      axis.plot(*zip(*exact), 'o', ms=4, color=f'C{color}', mfc='white')
    axis.set_xlabel('update')
  axes[1].set_xscale('symlog', linthresh=settings['snapshot_every'])
  axes[0].set_ylabel('probability of the expansion signal')
  axes[0].legend(fontsize=8)
  figure.suptitle(f'Reverse KL from mean 0, R = {settings["init"]}: mean over {settings["num_seeds"]} seeds of '
                  f'{settings["num_expansion_samples"]} fresh samples (circles: exact)', fontsize=9)
  figure.tight_layout()
  figures.save(figure, path)
