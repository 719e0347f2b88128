"""Figure 3 of the paper: the probability of the expansion signal while reverse KL trains the student.

Measured at the paper's centre, the mode of the teacher: the event (x - mu_T) . g_x > 0, from fresh samples and exactly.
"""
from typing import Any, Mapping, NamedTuple

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching.analysis import expansion, gaussians
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, training
from inverse_matching.types import Params

COLUMNS = ('dimension', 'step', 'frequency', 'probability', 'lowest_seed', 'highest_seed', 'mean_distance', 'mean_mahalanobis',
           'kl')


class Course(NamedTuple):
  """How the frequency of the signal goes while a student trains."""
  start: float
  top: float
  top_step: int
  late: float  # mean over the last fifth


def course(rows: Rows) -> Course:
  """Of the rows of one dimension."""
  steps, frequencies = rows.values('step'), rows.values('frequency')
  top = np.argmax(frequencies)
  return Course(frequencies[0], frequencies[top], int(steps[top]), np.mean(frequencies[steps >= 0.8 * steps[-1]]))


def signal_frequency(teacher_params: Params, snapshots: Params, num_samples: int, *, seed: int) -> np.ndarray:
  """Share of fresh student samples with the signal, [L, K], for snapshots with leaves [L, K, ...]."""
  rng = np.random.default_rng(seed)
  mean, matrix = (np.asarray(teacher_params[name], np.float64) for name in ('mean', 'matrix'))
  shares = []
  for k in range(snapshots['mean'].shape[1]):
    factor, offset = (np.asarray(snapshots[name][:, k], np.float64) for name in ('matrix', 'mean'))
    offset = (offset - mean)[..., None]
    e = rng.standard_normal((*mean.shape, num_samples))
    d = offset + factor @ e  # x - mu_T
    # d . Sigma_S^-1 (x - mu_S) = (R_S^-1 d) . e, and d . Sigma_T^-1 d = |R_T^-1 d|^2.
    outward = e + np.linalg.solve(factor, offset)
    signal = np.sum(outward * e, axis=1) - np.sum(np.linalg.solve(matrix, d) ** 2, axis=1)
    shares.append(np.mean(signal > 0, axis=1))
  return np.stack(shares, axis=1)


def run(settings: Mapping[str, Any]) -> Result:
  """The curve, and the exact probability, KL and distance of means at some steps."""
  every, rows = settings['snapshot_every'], Rows()
  for num_dims in settings['dimensions']:
    models = lanes.make(num_dims, [settings['init']], settings['num_seeds'], seed=settings['seed'])
    snapshots = training.train(models, 'reverse_kl', settings, snapshot_every=every).snapshots
    frequency = signal_frequency(models.teacher_params, snapshots, settings['num_expansion_samples'], seed=settings['seed'])
    mean, matrix = (np.asarray(models.teacher_params[name], np.float64) for name in ('mean', 'matrix'))
    offsets = snapshots['mean'] - mean[:, None]
    distances = {'mean_distance': offsets, 'mean_mahalanobis': gaussians.whiten(snapshots['mean'], mean, matrix)}
    kl = lanes.kl(models.teacher_params, snapshots)
    for k, shares in enumerate(frequency.T):
      row = {'dimension': num_dims, 'init': settings['init'], 'step': k * every, 'frequency': np.mean(shares),
             'lowest_seed': np.min(shares), 'highest_seed': np.max(shares), 'probability': None, 'mean_distance': None,
             'mean_mahalanobis': None, 'kl': None}
      if k * every in settings['steps']:
        exact = [expansion.expansion_probability_factors(*factors)
                 for factors in zip(offsets[:, k], snapshots['matrix'][:, k], matrix)]
        row |= {'probability': np.mean(exact), 'kl': np.median(kl[:, k]),
                **{name: np.median(np.linalg.norm(vectors[:, k], axis=-1)) for name, vectors in distances.items()}}
      rows.append(row)
  lines = [rows.having('probability').table(COLUMNS), '']
  for (num_dims,), curve in rows.groups('dimension').items():
    start, top, top_step, late = course(curve)
    lines.append(f'T = {num_dims}: {start:.2f} at the start, highest {top:.2f} at update {top_step}, '
                 f'{late:.2f} over the last fifth')
  return Result(rows, {'': _draw(settings, rows)}, '\n'.join(lines))


def _draw(settings: Mapping[str, Any], rows: Rows) -> plt.Figure:
  figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True)
  for axis in axes:
    for color, ((num_dims,), curve) in enumerate(rows.groups('dimension').items()):
      exact = curve.having('probability')
      axis.plot(curve.values('step'), curve.values('frequency'), lw=1, color=f'C{color}', label=f'T = {num_dims}')
      axis.plot(exact.values('step'), exact.values('probability'), 'o', ms=4, color=f'C{color}', mfc='white')
    axis.set_xlabel('update')
  axes[1].set_xscale('symlog', linthresh=settings['snapshot_every'])
  axes[0].set_ylabel('probability of the expansion signal')
  axes[0].legend(fontsize=8)
  figure.suptitle(f'Reverse KL from mean 0, R = {settings["init"]}: mean over {settings["num_seeds"]} seeds of '
                  f'{settings["num_expansion_samples"]} fresh samples (circles: exact)', fontsize=9)
  return figure
