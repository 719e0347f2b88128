"""Equations 8 and 9 of the paper, and the norms of student samples against those of the teacher (end of section 3.2)."""
from typing import Any, Mapping

import numpy as np

from inverse_matching.analysis import gaussians
from inverse_matching.evaluation import statistics
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import figure2, lanes, reporting

plt = figures.plt

# Name -> (draws of a shape, second moment).
LAWS = {
    'normal': (lambda rng, shape: rng.standard_normal(shape), 1.0),
    'uniform on (0, 1)': (lambda rng, shape: rng.uniform(size=shape), 1 / 3),
    'exponential': (lambda rng, shape: rng.exponential(size=shape), 2.0),
}


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


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes norms.json (rows of kind 'concentration' and 'mismatch') and norms.png."""
  del devices
  report = reporting.Report('norms', workdir, command)
  settings = config['gaussian'] | config['norms']
  rows, held = concentration(settings), {}
  rng = np.random.default_rng(settings['seed'])
  pair = lanes.make(settings['dimension'], [settings['init']], settings['num_seeds'], seed=settings['seed'])
  mean, matrix = (np.asarray(pair.teacher_params[name], np.float64) for name in ('mean', 'matrix'))

  def norms(params):
    x = gaussians.sample(rng, settings['num_samples'], params['mean'], params['matrix'])
    return {'centred': np.linalg.norm(x - mean[:, None], axis=-1),
            'mahalanobis': np.linalg.norm(gaussians.whiten(x, mean, matrix), axis=-1)}

  teacher = norms(pair.teacher_params)
  for loss in settings['losses']:
    held[loss] = norms(figure2.train(pair, loss, settings).params)
    for norm, values in held[loss].items():
      for seed, (s, t) in enumerate(zip(values, teacher[norm])):
        rows.append({'kind': 'mismatch', 'loss': loss, 'norm': norm, 'dimension': pair.num_dims, 'init': settings['init'],
                     'seed': seed, 'teacher': np.mean(t), 'student': np.mean(s), 'ratio': np.mean(s) / np.mean(t),
                     'ks': statistics.kolmogorov_smirnov(s, t)})
  _draw(report.picture(), settings, rows, teacher, held)
  report.write(settings, rows)
  kinds = [[row for row in rows if row['kind'] == kind] for kind in ('concentration', 'mismatch')]
  return (reporting.table(kinds[0], ['law', 'dimension', 'second_moment', 'squared_norm', 'squared_norm_std', 'norm',
                                     'norm_std']) + '\n\n' +
          reporting.median_table(kinds[1], ['loss', 'norm'], ['teacher', 'student', 'ratio', 'ks']))


def _draw(path, settings: Mapping[str, Any], rows, teacher, held) -> None:
  figure, axes = plt.subplots(1, 3, figsize=(13.5, 3.8))
  for color, law in enumerate(LAWS):
    here = [row for row in rows if row.get('law') == law]
    dims, value, spread = (np.array([row[name] for row in here])
                           for name in ('dimension', 'squared_norm', 'squared_norm_std'))
    axes[0].errorbar(dims, value, spread, color=f'C{color}', label=law, capsize=2, marker='o', ms=3)
    axes[0].axhline(here[0]['second_moment'], color=f'C{color}', lw=0.7, ls=':')
  axes[0].set(xscale='log', xlabel='T', ylabel='squared norm of x / sqrt(T)', title='Mean and spread; dotted: m_2')
  axes[0].legend(fontsize=8)
  for axis, norm, label in zip(axes[1:], ('centred', 'mahalanobis'), ('|x - mu_T|', '|R_T^-1 (x - mu_T)|')):
    reference = np.mean(teacher[norm], axis=1, keepdims=True)  # every seed has its own teacher
    bins = np.linspace(0.3, 1.7, 71)
    axis.hist((teacher[norm] / reference).ravel(), bins, histtype='stepfilled', color='tab:red', alpha=0.3, label='teacher')
    for color, (loss, values) in enumerate(held.items()):
      axis.hist(np.clip(values[norm] / reference, bins[0], bins[-1]).ravel(), bins, histtype='step', color=f'C{color}',
                label=loss)
    axis.set(xlabel=f'{label} over its mean for the teacher',
             title=f'T = {settings["dimension"]}, {settings["num_seeds"]} seeds')
    axis.legend(fontsize=7)
  figure.tight_layout()
  figures.save(figure, path)
