"""Which directions a loss learns: controlled spectra of the teacher, and the spectra of real images."""
import itertools
from typing import Any, Mapping

import jax.numpy as jnp
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import random
from inverse_matching.analysis import expansion_probability, spectra
from inverse_matching.data import catalogue
from inverse_matching.data.images import dequantise
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import figure2, lanes, training
from inverse_matching.teachers.gaussian import precompute


def controlled_models(num_dims: int, condition: float, num_seeds: int, *,
                      seed: int) -> tuple[lanes.Models, np.ndarray, np.ndarray]:
  """Teachers R = Q diag(sigma) V^T with random rotations Q, V and log-spaced sigma of geometric mean 1.

  Returns:
    The models, sigma [T], and the eigen-directions Q [L, T, T] in columns.
  """
  models = lanes.make(num_dims, ['I'], num_seeds, seed=seed)
  sigma = spectra.log_spaced(num_dims, condition ** -0.5, condition ** 0.5)
  rng = np.random.default_rng(seed)
  q, v = np.linalg.qr(rng.standard_normal((2, num_seeds, num_dims, num_dims)))[0]
  params = {'mean': models.teacher_params['mean'], 'matrix': jnp.asarray(q * sigma @ np.swapaxes(v, -1, -2), jnp.float32)}
  return models._replace(teacher_params=precompute(params)), sigma, q


def controlled(settings: Mapping[str, Any]) -> Rows:
  """Rows: the student's scale and mean along each eigen-direction after training; medians over seeds."""
  rows = Rows()
  for condition in settings['conditions']:
    models, sigma, q = controlled_models(settings['dimension'], condition, settings['num_seeds'], seed=settings['seed'])
    for loss in figure2.LOSSES:
      params = training.train(models, loss, settings).params
      along = np.swapaxes(q, -1, -2) @ np.asarray(params['matrix'], np.float64)
      log_ratios = np.log(np.linalg.norm(along, axis=-1) / sigma)  # [L, T]
      offset = np.asarray(params['mean'], np.float64) - np.asarray(models.teacher_params['mean'])
      offsets = np.einsum('lti,lt->li', q, offset) / sigma
      rows += [{'kind': 'controlled', 'loss': loss, 'condition': condition, 'sigma': scale,
                'log_scale_error': np.median(log_ratio), 'abs_log_scale_error': np.median(np.abs(log_ratio)),
                'low': np.quantile(np.abs(log_ratio), 0.25), 'high': np.quantile(np.abs(log_ratio), 0.75),
                'abs_mean_error': np.median(np.abs(offset))}
               for scale, log_ratio, offset in zip(sigma, log_ratios.T, offsets.T)]
  return rows


def image_eigenvalues(name: str, levels: int, logit_lambda: float, *, seed: int) -> np.ndarray:
  """Eigenvalues [T], ascending, of the covariance of a data set's training images in logit space."""
  pixels = catalogue.load({'name': name, 'levels': levels}).data.train.pixels
  preprocess = dequantise.dequantise_logit(levels, logit_lambda)
  x = preprocess.to_x(jnp.asarray(pixels), random.keys_at(seed, jnp.arange(len(pixels), dtype=jnp.uint32)))
  return np.linalg.eigvalsh(np.cov(np.asarray(x, np.float64).reshape(len(pixels), -1), rowvar=False))


def real(eigenvalues: Mapping[tuple[str, float], np.ndarray]) -> Rows:
  """Rows: for each data set and lambda, the probability for isotropic students of the same trace and of the least KL."""
  rows = Rows()
  for (name, logit_lambda), values in eigenvalues.items():
    # KL(N(0, v I) || N(0, Sigma)) is least at v = the harmonic mean of the eigenvalues.
    for student, variance in (('same trace', np.mean(values)), ('least KL', 1 / np.mean(1 / values))):
      relative = values / variance
      rows.append({'kind': 'real', 'data': name, 'logit_lambda': logit_lambda, 'dimension': len(values),
                   'student': student, 'variance': variance, 'probability': expansion_probability(relative),
                   'smallest_relative': relative[0], 'largest_relative': relative[-1],
                   'below_one': np.mean(relative < 1), 'effective_rank': np.sum(values) ** 2 / np.sum(values ** 2),
                   'kl_per_dimension': 0.5 * np.mean(1 / relative - 1 + np.log(relative))})
  return rows


def run(settings: Mapping[str, Any]) -> Result:
  """Rows of kind 'controlled' and 'real'."""
  eigenvalues = {(name, logit_lambda): image_eigenvalues(name, levels, logit_lambda, seed=settings['seed'])
                 for (name, levels), logit_lambda in itertools.product(settings['datasets'].items(), settings['logit_lambdas'])}
  of_teachers, of_images = controlled(settings), real(eigenvalues)
  num_dims = settings['dimension']
  shown = Rows(row for i, row in enumerate(of_teachers) if i % num_dims in {0, num_dims // 2, num_dims - 1})  # of its sigmas
  table = '\n\n'.join([
      shown.table(['condition', 'loss', 'sigma', 'log_scale_error', 'abs_log_scale_error', 'abs_mean_error']),
      of_images.table(['data', 'logit_lambda', 'dimension', 'student', 'probability', 'variance', 'smallest_relative',
                       'largest_relative', 'below_one', 'effective_rank'])])
  return Result(Rows(of_teachers + of_images), {'': _draw(of_teachers, eigenvalues)}, table)


def _draw(rows: Rows, eigenvalues: Mapping[tuple[str, float], np.ndarray]) -> plt.Figure:
  conditions = rows.groups('condition')
  figure, axes = plt.subplots(1, len(conditions) + 1, figsize=(4 * (len(conditions) + 1), 3.8))
  for axis, ((condition,), of_condition) in zip(axes, conditions.items()):
    for color, ((loss,), line) in enumerate(of_condition.groups('loss').items()):
      sigma, middle, low, high = (np.maximum(line.values(name), 1e-6)
                                  for name in ('sigma', 'abs_log_scale_error', 'low', 'high'))
      axis.plot(sigma, middle, 'o-', ms=3, color=f'C{color}', label=loss)
      axis.fill_between(sigma, low, high, color=f'C{color}', alpha=0.15)
    axis.set(xscale='log', yscale='log', xlabel='sigma of the eigen-direction', title=f'condition number {condition:g}',
             ylim=(1e-6, 20))
    axis.xaxis.set_minor_formatter('')
  axes[0].set_ylabel('|log(student scale / sigma)|')
  axes[0].legend(fontsize=8)
  for (name, logit_lambda), values in eigenvalues.items():
    axes[-1].plot(np.arange(1, len(values) + 1) / len(values), values[::-1] / np.mean(values),
                  label=f'{name}, lambda {logit_lambda:g}')
  axes[-1].axhline(1, color='gray', lw=0.7, ls=':')
  axes[-1].set(yscale='log', xlabel='rank / T', ylabel='eigenvalue / mean eigenvalue', title='images in logit space')
  axes[-1].legend(fontsize=8)
  return figure
