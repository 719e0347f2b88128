"""Proposition 1 of the paper: the probability of the expansion signal against dimension, exactly and by sampling."""
import math
from typing import Any, Mapping

import numpy as np

from inverse_matching.analysis import expansion_probability, spectra
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import reporting

plt = figures.plt

COVARIANCES = {'R R^T': False, 'R R^T / T': True}  # name -> whether it is normalised


def monte_carlo(rng: np.random.Generator, eigenvalues: np.ndarray, num_samples: int) -> float:
  """Share of x ~ N(0, I) with x . g_x > 0, in the eigenbasis of the teacher's covariance."""
  x = rng.standard_normal((num_samples, len(eigenvalues)))
  return float(np.mean(np.sum(x * (x - x / eigenvalues), axis=1) > 0))


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes proposition1.json (a row per teacher) and proposition1.png; returns medians over teachers."""
  del devices
  report = reporting.Report('proposition1', workdir, command)
  settings = config['proposition1']
  rng = np.random.default_rng(settings['seed'])
  rows, pooled = [], {}
  for num_dims in settings['dimensions']:
    for teacher in range(settings['num_teachers']):
      raw = spectra.wishart_eigenvalues(rng, num_dims, normalised=False)
      for name, normalised in COVARIANCES.items():
        values = raw / num_dims if normalised else raw
        probability = expansion_probability(values)
        sampled = monte_carlo(rng, values, settings['num_samples']) if teacher < settings['num_sampled'] else None
        closed = None
        if num_dims == 2:
          rho = np.sort(1 - 1 / values)
          closed = float(rho[0] > 0) if rho[0] * rho[1] >= 0 else 2 / math.pi * math.atan(math.sqrt(rho[1] / -rho[0]))
        rows.append({'covariance': name, 'dimension': num_dims, 'teacher': teacher, 'probability': probability,
                     'monte_carlo': sampled, 'closed_form': closed, 'smallest_eigenvalue': float(values[0]),
                     'below_one': float(np.mean(values < 1))})
      pooled.setdefault(num_dims, []).append(raw / num_dims)
  _draw(report.picture(), settings, rows, pooled)
  report.write(settings, rows)
  errors = [abs(r['probability'] - r['monte_carlo']) * math.sqrt(settings['num_samples']) /
            math.sqrt(max(r['probability'] * (1 - r['probability']), 1 / settings['num_samples']))
            for r in rows if r['monte_carlo'] is not None]
  exact = [abs(r['probability'] - r['closed_form']) for r in rows if r['closed_form'] is not None]
  means = {name: [f'{np.mean(_probabilities(rows, name, n)):.3g}' for n in settings['dimensions']] for name in COVARIANCES}
  lines = [f'Mean probability, {name}: {", ".join(values)}' for name, values in means.items()]
  return '\n'.join([
      reporting.median_table(rows, ['covariance', 'dimension'], ['probability', 'smallest_eigenvalue', 'below_one']), '',
      *lines, f'Largest difference from Monte Carlo: {max(errors):.1f} standard errors in {len(errors)} comparisons',
      f'Largest difference from the closed form at T = 2: {max(exact, default=0):.1e}'])


def _probabilities(rows, name: str, num_dims: int) -> list[float]:
  return [r['probability'] for r in rows if (r['covariance'], r['dimension']) == (name, num_dims)]


def _draw(path, settings: Mapping[str, Any], rows, pooled: Mapping[int, list[np.ndarray]]) -> None:
  figure, axes = plt.subplots(1, 3, figsize=(13.5, 3.8))
  for color, name in enumerate(COVARIANCES):
    values = {n: _probabilities(rows, name, n) for n in settings['dimensions']}
    dims = list(values)
    low, middle, high = np.array([np.quantile(v, [0.25, 0.5, 0.75]) for v in values.values()]).T
    axes[0].plot(dims, [np.mean(v) for v in values.values()], 'o-', color=f'C{color}', label=f'{name}, mean')
    axes[0].plot(dims, middle, '--', color=f'C{color}', lw=1, label=f'{name}, median and quartiles')
    axes[0].fill_between(dims, low, high, color=f'C{color}', alpha=0.15)
  axes[0].set(xscale='log', xlabel='T', ylabel='probability of the expansion signal', title='Student N(0, I), exact',
              ylim=(-0.02, 0.75))
  axes[0].legend(fontsize=7)
  for color, num_dims in enumerate(settings['dimensions']):
    smallest = np.sort([v[0] for v in pooled[num_dims]]) * num_dims ** 2
    axes[1].plot(smallest, 1 - (np.arange(len(smallest)) + 0.5) / len(smallest), drawstyle='steps', lw=1,
                 color=f'C{color}', label=f'T = {num_dims}')
  x = np.geomspace(1e-3, 30, 200)
  axes[1].plot(x, spectra.smallest_eigenvalue_survival(x), 'k--', label='limit (Edelman, 1988)')
  axes[1].set(xscale='log', xlim=(1e-3, 30), xlabel='T times the smallest eigenvalue of R R^T', ylabel='share above',
              title='Smallest eigenvalue falls as 1/T')
  axes[1].legend(fontsize=7)
  largest = max(settings['dimensions'])
  axes[2].hist(np.concatenate(pooled[largest]), np.linspace(0, 4.2, 64), density=True, alpha=0.5, label=f'T = {largest}')
  x = np.linspace(0.02, 4, 400)
  axes[2].plot(x, spectra.marchenko_pastur(x), 'k', lw=1, label='Marchenko-Pastur')
  axes[2].set(xlabel='eigenvalue of R R^T / T', ylabel='density', ylim=(0, 3), title='All eigenvalues')
  axes[2].legend(fontsize=7)
  figure.tight_layout()
  figures.save(figure, path)
