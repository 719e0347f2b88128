"""Proposition 1 of the paper: the probability of the expansion signal against dimension, exactly and by sampling."""
import math
from typing import Any, Mapping, Sequence

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching.analysis import expansion_probability, spectra
from inverse_matching.experiments.experiment import Result, Rows

COVARIANCES = {'R R^T': False, 'R R^T / T': True}  # name -> whether it is normalised


def monte_carlo(rng: np.random.Generator, eigenvalues: np.ndarray, num_samples: int) -> float:
  """Share of x ~ N(0, I) with x . g_x > 0, in the eigenbasis of the teacher's covariance."""
  x = rng.standard_normal((num_samples, len(eigenvalues)))
  return float(np.mean(np.sum(x * (x - x / eigenvalues), axis=1) > 0))


def closed_form(eigenvalues: np.ndarray) -> float:
  """The probability in two dimensions."""
  low, high = np.sort(1 - 1 / eigenvalues)
  return float(low > 0) if low * high >= 0 else 2 / math.pi * math.atan(math.sqrt(high / -low))


def run(settings: Mapping[str, Any]) -> Result:
  """A row per teacher; the table has medians over teachers."""
  rng, num_samples = np.random.default_rng(settings['seed']), settings['num_samples']
  rows, normalised = Rows(), {num_dims: [] for num_dims in settings['dimensions']}
  for num_dims in settings['dimensions']:
    for teacher in range(settings['num_teachers']):
      raw = spectra.wishart_eigenvalues(rng, num_dims, normalised=False)
      normalised[num_dims].append(raw / num_dims)
      for name, is_normalised in COVARIANCES.items():
        values = raw / num_dims if is_normalised else raw
        rows.append({'covariance': name, 'dimension': num_dims, 'teacher': teacher,
                     'probability': expansion_probability(values),
                     'monte_carlo': monte_carlo(rng, values, num_samples) if teacher < settings['num_sampled'] else None,
                     'closed_form': closed_form(values) if num_dims == 2 else None,
                     'smallest_eigenvalue': float(values[0]), 'below_one': float(np.mean(values < 1))})
  lines = [rows.median_table(['covariance', 'dimension'], ['probability', 'smallest_eigenvalue', 'below_one']), '']
  for (name,), of_name in rows.groups('covariance').items():
    means = [f'{np.mean(group.values("probability")):.3g}' for group in of_name.groups('dimension').values()]
    lines.append(f'Mean probability, {name}: {", ".join(means)}')
  sampled, closed = rows.having('monte_carlo'), rows.having('closed_form')
  exact = sampled.values('probability')
  errors = np.abs(exact - sampled.values('monte_carlo')) * math.sqrt(num_samples) / np.sqrt(
      np.maximum(exact * (1 - exact), 1 / num_samples))
  difference = max(np.abs(closed.values('probability') - closed.values('closed_form')), default=0)
  lines += [f'Largest difference from Monte Carlo: {max(errors):.1f} standard errors in {len(errors)} comparisons',
            f'Largest difference from the closed form at T = 2: {difference:.1e}']
  return Result(rows, {'': _draw(rows, normalised)}, '\n'.join(lines))


def _draw(rows: Rows, normalised: Mapping[int, Sequence[np.ndarray]]) -> plt.Figure:
  figure, axes = plt.subplots(1, 3, figsize=(13.5, 3.8))
  dims = list(normalised)
  for color, name in enumerate(COVARIANCES):
    groups = [rows.where(covariance=name, dimension=num_dims).values('probability') for num_dims in dims]
    low, middle, high = np.quantile(groups, [0.25, 0.5, 0.75], axis=1)
    axes[0].plot(dims, np.mean(groups, axis=1), 'o-', color=f'C{color}', label=f'{name}, mean')
    axes[0].plot(dims, middle, '--', color=f'C{color}', lw=1, label=f'{name}, median and quartiles')
    axes[0].fill_between(dims, low, high, color=f'C{color}', alpha=0.15)
  axes[0].set(xscale='log', xlabel='T', ylabel='probability of the expansion signal', title='Student N(0, I), exact',
              ylim=(-0.02, 0.75))
  for color, (num_dims, spectra_of) in enumerate(normalised.items()):
    smallest = np.sort([values[0] for values in spectra_of]) * num_dims ** 2
    axes[1].plot(smallest, 1 - (np.arange(len(smallest)) + 0.5) / len(smallest), drawstyle='steps', lw=1,
                 color=f'C{color}', label=f'T = {num_dims}')
  x = np.geomspace(1e-3, 30, 200)
  axes[1].plot(x, spectra.smallest_eigenvalue_survival(x), 'k--', label='limit (Edelman, 1988)')
  axes[1].set(xscale='log', xlim=(1e-3, 30), xlabel='T times the smallest eigenvalue of R R^T', ylabel='share above',
              title='Smallest eigenvalue falls as 1/T')
  largest = max(dims)
  axes[2].hist(np.concatenate(normalised[largest]), np.linspace(0, 4.2, 64), density=True, alpha=0.5, label=f'T = {largest}')
  x = np.linspace(0.02, 4, 400)
  axes[2].plot(x, spectra.marchenko_pastur(x), 'k', lw=1, label='Marchenko-Pastur')
  axes[2].set(xlabel='eigenvalue of R R^T / T', ylabel='density', ylim=(0, 3), title='All eigenvalues')
  for axis in axes:
    axis.legend(fontsize=7)
  return figure
