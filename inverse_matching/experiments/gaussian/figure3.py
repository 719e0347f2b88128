"""Figure 3 of the paper: the probability of the expansion signal while reverse KL trains the student.

Measured at the paper's centre, the mode of the teacher: the event (x - mu_T) . g_x > 0, from fresh samples and exactly.
"""
from typing import Any, Mapping

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching.analysis import expansion, gaussians
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, training
from inverse_matching.types import Params

COLUMNS = ('init', 'dimension', 'step', 'frequency', 'probability', 'lowest_seed', 'highest_seed', 'mean_distance',
           'mean_mahalanobis', 'kl')


# Shares of the updates over which the frequency of a seed is a mean: no maximum of a noisy curve decides anything.
WINDOWS = {'start': (0.0, 0.0), 'early': (0.02, 0.05), 'middle': (0.2, 0.6), 'late': (0.8, 1.0)}


def windows(steps: np.ndarray, frequencies: np.ndarray) -> dict[str, np.ndarray]:
  """Name -> mean [L] over each of WINDOWS, of frequencies [L, K] at steps [K]."""
  place = lambda share: int(np.argmin(np.abs(steps - share * steps[-1])))
  return {name: np.mean(frequencies[:, place(low):place(high) + 1], axis=1) for name, (low, high) in WINDOWS.items()}


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
  """The curves, the exact probability, KL and distance of means at some steps, and of each seed the means over WINDOWS.

  Rows of kind 'curve' are means over seeds, those of kind 'windows' are of one.
  """
  rows = Rows()
  for init in settings['inits']:
    for num_dims in settings['dimensions']:
      rows += _follow(init, num_dims, settings)
  lines = [rows.having('probability').table(COLUMNS), '',
           rows.where(kind='windows').median_table(['init', 'dimension'], list(WINDOWS))]
  return Result(rows, {'': _draw(settings, rows.where(kind='curve'))}, '\n'.join(lines))


def _follow(init: str, num_dims: int, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  every = settings['snapshot_every']
  models = lanes.make(num_dims, [init], settings['num_seeds'], seed=settings['seed'])
  snapshots = training.train(models, 'reverse_kl', settings, snapshot_every=every).snapshots
  frequency = signal_frequency(models.teacher_params, snapshots, settings['num_expansion_samples'], seed=settings['seed'])
  mean, matrix = (np.asarray(models.teacher_params[name], np.float64) for name in ('mean', 'matrix'))
  offsets = snapshots['mean'] - mean[:, None]
  distances = {'mean_distance': offsets, 'mean_mahalanobis': gaussians.whiten(snapshots['mean'], mean, matrix)}
  kl = lanes.kl(models.teacher_params, snapshots)
  about, rows = {'dimension': num_dims, 'init': init}, []
  for k, shares in enumerate(frequency.T):
    row = {'kind': 'curve', **about, 'step': k * every, 'frequency': np.mean(shares), 'lowest_seed': np.min(shares),
           'highest_seed': np.max(shares), 'probability': None, 'mean_distance': None, 'mean_mahalanobis': None, 'kl': None}
    if k * every in settings['steps']:
      exact = [expansion.expansion_probability_factors(*factors)
               for factors in zip(offsets[:, k], snapshots['matrix'][:, k], matrix)]
      row |= {'probability': np.mean(exact), 'kl': np.median(kl[:, k]),
              **{name: np.median(np.linalg.norm(vectors[:, k], axis=-1)) for name, vectors in distances.items()}}
    rows.append(row)
  means = windows(np.arange(frequency.shape[1]) * every, frequency)
  return rows + [{'kind': 'windows', **about, 'seed': seed, **{name: values[seed] for name, values in means.items()}}
                 for seed in models.seeds]


def _draw(settings: Mapping[str, Any], rows: Rows) -> plt.Figure:
  inits = settings['inits']
  figure, axes = plt.subplots(len(inits), 2, figsize=(10.5, 3.3 * len(inits)), sharey=True, squeeze=False, layout='constrained')
  for line, init in zip(axes, inits):
    for axis in line:
      for color, ((num_dims,), curve) in enumerate(rows.where(init=init).groups('dimension').items()):
        exact = curve.having('probability')
        axis.plot(curve.values('step'), curve.values('frequency'), lw=1, color=f'C{color}', label=f'T = {num_dims}')
        axis.plot(exact.values('step'), exact.values('probability'), 'o', ms=4, color=f'C{color}', mfc='white')
    line[0].set_ylabel(f'R = {init} at the start\nprobability of the expansion signal', fontsize=8)
    line[1].set_xscale('symlog', linthresh=settings['snapshot_every'])
  for axis in axes[-1]:
    axis.set_xlabel('update')
  axes[0, 0].legend(fontsize=8)
  figure.suptitle(f'Reverse KL from mean 0: mean over {settings["num_seeds"]} seeds of {settings["num_expansion_samples"]} '
                  'fresh samples (circles: exact)', fontsize=9)
  return figure
