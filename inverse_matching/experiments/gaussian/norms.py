"""Equations 8 and 9 of the paper, and the norms of student samples against those of the teacher (end of section 3.2)."""
from typing import Any, Mapping

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching.analysis import gaussians
from inverse_matching.evaluation import statistics
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, training

# Name -> (draws of a shape, second moment).
LAWS = {
    'normal': (lambda rng, shape: rng.standard_normal(shape), 1.0),
    'uniform on (0, 1)': (lambda rng, shape: rng.uniform(size=shape), 1 / 3),
    'exponential': (lambda rng, shape: rng.exponential(size=shape), 2.0),
}
LABELS = {'centred': '|x - mu_T|', 'mahalanobis': '|R_T^-1 (x - mu_T)|'}


def concentration(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Rows: mean and standard deviation of |x / sqrt(T)|^2 and of its root for independent coordinates."""
  rng = np.random.default_rng(settings['seed'])
  rows = []
  for law, (draw, second_moment) in LAWS.items():
    for num_dims in settings['concentration_dimensions']:
      squared = np.sum(draw(rng, (settings['num_samples'], num_dims)) ** 2, axis=1) / num_dims
      rows.append({'kind': 'concentration', 'law': law, 'dimension': num_dims, 'second_moment': second_moment,
                   'squared_norm': np.mean(squared), 'squared_norm_std': np.std(squared),
                   'norm': np.mean(np.sqrt(squared)), 'norm_std': np.std(np.sqrt(squared))})
  return rows


def run(settings: Mapping[str, Any]) -> Result:
  """Rows of kind 'concentration' and 'mismatch'."""
  rows = Rows(concentration(settings))
  rng = np.random.default_rng(settings['seed'])
  models = lanes.make(settings['dimension'], [settings['init']], settings['num_seeds'], seed=settings['seed'])
  mean, matrix = (np.asarray(models.teacher_params[name], np.float64) for name in ('mean', 'matrix'))

  def norms_of(params):
    x = gaussians.sample(rng, settings['num_samples'], params['mean'], params['matrix'])
    return {'centred': np.linalg.norm(x - mean[:, None], axis=-1),
            'mahalanobis': np.linalg.norm(gaussians.whiten(x, mean, matrix), axis=-1)}

  norms = {'teacher': norms_of(models.teacher_params)}
  for loss in settings['losses']:
    norms[loss] = norms_of(training.train(models, loss, settings).params)
    rows += [{'kind': 'mismatch', 'loss': loss, 'norm': norm, 'dimension': models.num_dims, 'init': settings['init'],
              'seed': seed, 'teacher': np.mean(teacher), 'student': np.mean(student),
              'ratio': np.mean(student) / np.mean(teacher), 'ks': statistics.kolmogorov_smirnov(student, teacher)}
             for norm in LABELS for seed, (student, teacher) in enumerate(zip(norms[loss][norm], norms['teacher'][norm]))]
  table = '\n\n'.join([
      rows.where(kind='concentration').table(
          ['law', 'dimension', 'second_moment', 'squared_norm', 'squared_norm_std', 'norm', 'norm_std']),
      rows.where(kind='mismatch').median_table(['loss', 'norm'], ['teacher', 'student', 'ratio', 'ks'])])
  return Result(rows, {'': _draw(settings, rows, norms)}, table)


def _draw(settings: Mapping[str, Any], rows: Rows, norms: Mapping[str, Mapping[str, np.ndarray]]) -> plt.Figure:
  figure, axes = plt.subplots(1, 3, figsize=(13.5, 3.8))
  for color, (law, (_, second_moment)) in enumerate(LAWS.items()):
    line = rows.where(law=law)
    axes[0].errorbar(*map(line.values, ('dimension', 'squared_norm', 'squared_norm_std')), color=f'C{color}', label=law,
                     capsize=2, marker='o', ms=3)
    axes[0].axhline(second_moment, color=f'C{color}', lw=0.7, ls=':')
  axes[0].set(xscale='log', xlabel='T', ylabel='squared norm of x / sqrt(T)', title='Mean and spread; dotted: m_2')
  axes[0].legend(fontsize=8)
  bins = np.linspace(0.3, 1.7, 71)
  for axis, (norm, label) in zip(axes[1:], LABELS.items()):
    reference = np.mean(norms['teacher'][norm], axis=1, keepdims=True)  # every seed has its own teacher
    axis.hist((norms['teacher'][norm] / reference).ravel(), bins, histtype='stepfilled', color='tab:red', alpha=0.3,
              label='teacher')
    for color, loss in enumerate(settings['losses']):
      axis.hist(np.clip(norms[loss][norm] / reference, bins[0], bins[-1]).ravel(), bins, histtype='step', color=f'C{color}',
                label=loss)
    axis.set(xlabel=f'{label} over its mean for the teacher',
             title=f'T = {settings["dimension"]}, {settings["num_seeds"]} seeds')
    axis.legend(fontsize=7)
  return figure
