"""Which directions a loss learns: controlled spectra of the teacher, and the spectra of real images."""
from typing import Any, Mapping

import jax.numpy as jnp
import numpy as np

from inverse_matching import random
from inverse_matching.analysis import expansion_probability, spectra
from inverse_matching.data import catalogue
from inverse_matching.data.images import dequantise
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import figure2, lanes, reporting
from inverse_matching.teachers.gaussian import precompute

plt = figures.plt


def controlled_pair(num_dims: int, condition: float, num_seeds: int, *,
                    seed: int) -> tuple[lanes.Pairs, np.ndarray, np.ndarray]:
  """Teachers R = Q diag(sigma) V^T with random rotations Q, V and log-spaced sigma of geometric mean 1.

  Returns:
    The pairs, sigma [T], and the eigen-directions Q [L, T, T] in columns.
  """
  pair = lanes.make(num_dims, ['I'], num_seeds, seed=seed)
  sigma = spectra.log_spaced(num_dims, condition ** -0.5, condition ** 0.5)
  rng = np.random.default_rng(seed)
  q, v = np.linalg.qr(rng.standard_normal((2, num_seeds, num_dims, num_dims)))[0]
  params = {'mean': pair.teacher_params['mean'], 'matrix': jnp.asarray(q * sigma @ np.swapaxes(v, -1, -2), jnp.float32)}
  return pair._replace(teacher_params=precompute(params)), sigma, q


def controlled(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Rows: the student's scale and mean along each eigen-direction after training; medians over seeds."""
  rows = []
  for condition in settings['conditions']:
    pair, sigma, q = controlled_pair(settings['dimension'], condition, settings['num_seeds'], seed=settings['seed'])
    for loss in figure2.LOSSES:
      params = figure2.train(pair, loss, settings).params
      along = np.swapaxes(q, -1, -2) @ np.asarray(params['matrix'], np.float64)
      log_ratio = np.log(np.linalg.norm(along, axis=-1) / sigma)  # [L, T]
      offset = np.asarray(params['mean'], np.float64) - np.asarray(pair.teacher_params['mean'])
      offset = np.einsum('lti,lt->li', q, offset) / sigma
      for i, value in enumerate(sigma):
        rows.append({'kind': 'controlled', 'loss': loss, 'condition': condition, 'sigma': value,
                     'log_scale_error': np.median(log_ratio[:, i]),
                     'abs_log_scale_error': np.median(np.abs(log_ratio[:, i])),
                     'low': np.quantile(np.abs(log_ratio[:, i]), 0.25), 'high': np.quantile(np.abs(log_ratio[:, i]), 0.75),
                     'abs_mean_error': np.median(np.abs(offset[:, i]))})
  return rows


def image_eigenvalues(name: str, levels: int, logit_lambda: float, *, seed: int) -> np.ndarray:
  """Eigenvalues [T], ascending, of the covariance of a data set's training images in logit space."""
  pixels = catalogue.load({'name': name, 'levels': levels}).data.train.pixels
  preprocess = dequantise.dequantise_logit(levels, logit_lambda)
  x = preprocess.to_x(jnp.asarray(pixels), random.keys_at(seed, jnp.arange(len(pixels), dtype=jnp.uint32)))
  return np.linalg.eigvalsh(np.cov(np.asarray(x, np.float64).reshape(len(pixels), -1), rowvar=False))


def real(settings: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[tuple, np.ndarray]]:
  """Rows: for each data set and lambda, the probability for isotropic students of the same trace and of the least KL."""
  rows, held = [], {}
  for name, levels in settings['datasets'].items():
    for logit_lambda in settings['logit_lambdas']:
      values = held[name, logit_lambda] = image_eigenvalues(name, levels, logit_lambda, seed=settings['seed'])
      # KL(N(0, v I) || N(0, Sigma)) is least at v = the harmonic mean of the eigenvalues.
      for student, variance in (('same trace', np.mean(values)), ('least KL', 1 / np.mean(1 / values))):
        relative = values / variance
        rows.append({'kind': 'real', 'data': name, 'logit_lambda': logit_lambda, 'dimension': len(values),
                     'student': student, 'variance': variance, 'probability': expansion_probability(relative),
                     'smallest_relative': relative[0], 'largest_relative': relative[-1],
                     'below_one': np.mean(relative < 1), 'effective_rank': np.sum(values) ** 2 / np.sum(values ** 2),
                     'kl_per_dimension': 0.5 * np.mean(1 / relative - 1 + np.log(relative))})
  return rows, held


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes spectra.json (rows of kind 'controlled' and 'real') and spectra.png."""
  del devices
  report = reporting.Report('spectra', workdir, command)
  settings = config['gaussian'] | config['spectra']
  rows = controlled(settings)
  real_rows, held = real(settings)
  rows += real_rows
  _draw(report.picture(), settings, rows, held)
  report.write(settings, rows)
  places = {0, settings['dimension'] // 2, settings['dimension'] - 1}  # the smallest, a middle and the largest sigma
  shown = [row for i, row in enumerate(rows[:-len(real_rows)]) if i % settings['dimension'] in places]
  return '\n\n'.join([
      reporting.table(shown, ['condition', 'loss', 'sigma', 'log_scale_error', 'abs_log_scale_error', 'abs_mean_error']),
      reporting.table(real_rows, ['data', 'logit_lambda', 'dimension', 'student', 'probability', 'variance',
                                  'smallest_relative', 'largest_relative', 'below_one', 'effective_rank'])])


def _draw(path, settings: Mapping[str, Any], rows, held) -> None:
  conditions = settings['conditions']
  figure, axes = plt.subplots(1, len(conditions) + 1, figsize=(4 * (len(conditions) + 1), 3.8))
  for axis, condition in zip(axes, conditions):
    for color, loss in enumerate(figure2.LOSSES):
      here = [row for row in rows if row.get('condition') == condition and row.get('loss') == loss]
      sigma, middle, low, high = (np.maximum([row[name] for row in here], 1e-6)
                                  for name in ('sigma', 'abs_log_scale_error', 'low', 'high'))
      axis.plot(sigma, middle, 'o-', ms=3, color=f'C{color}', label=loss)
      axis.fill_between(sigma, low, high, color=f'C{color}', alpha=0.15)
    axis.set(xscale='log', yscale='log', xlabel='sigma of the eigen-direction', title=f'condition number {condition:g}',
             ylim=(1e-6, 20))
    axis.xaxis.set_minor_formatter('')
  axes[0].set_ylabel('|log(student scale / sigma)|')
  axes[0].legend(fontsize=8)
  for (name, logit_lambda), values in held.items():
    axes[-1].plot(np.arange(1, len(values) + 1) / len(values), values[::-1] / np.mean(values),
                  label=f'{name}, lambda {logit_lambda:g}')
  axes[-1].axhline(1, color='gray', lw=0.7, ls=':')
  axes[-1].set(yscale='log', xlabel='rank / T', ylabel='eigenvalue / mean eigenvalue', title='images in logit space')
  axes[-1].legend(fontsize=8)
  figure.tight_layout()
  figures.save(figure, path)
