"""Numbers with intervals, and the rows that every JSON of numbers holds."""
from typing import Any, Callable, Sequence

import numpy as np
import scipy.stats

NUM_RESAMPLES = 1000  # of the bootstrap
NUM_GROUPS = 20  # of the jackknife


def bootstrap(statistic: Callable[..., float], *samples: np.ndarray, seed: int) -> tuple[float, float, float]:
  """(value, low, high): a statistic with its 95% percentile bootstrap interval.

  Args:
    statistic: of the samples, each [n, ...].
    *samples: each is resampled along its first axis, independently of the others.
    seed: of the resampling.
  """
  rng = np.random.default_rng(seed)
  draws = [statistic(*(s[rng.integers(0, len(s), len(s))] for s in samples)) for _ in range(NUM_RESAMPLES)]
  low, high = np.quantile(draws, [0.025, 0.975])
  return float(statistic(*samples)), float(low), float(high)


def jackknife(statistic: Callable[..., float | Sequence[float]], sizes: Sequence[int], *, seed: int,
              bounds: tuple = (None, None)) -> list[tuple[float, float, float]]:
  """(value, low, high) of each number that a statistic of one or more samples gives: 95% by the delete-a-group jackknife.

  A bootstrap sample holds some examples twice. That is a pair of distance 0 in a U-statistic, a neighbour of distance 0 in
  a nearest-neighbour statistic, and a second dose of the bias of a Frechet distance. Here each of 20 random groups of
  examples is left out in turn (Efron and Tibshirani, 1993, section 11.5), so every set that is looked at is a sample
  without repetition; a bias that depends on the sample size shifts all of them alike and drops out. The variances of the
  samples add. The interval is value +- t standard errors with 19 degrees of freedom; for a kernel distance between equal
  distributions it is too wide (the first-order term vanishes there), never too narrow.

  Args:
    statistic: takes an array of indices for each sample, all to be kept; gives a number or a sequence of numbers.
    sizes: of the samples.
    seed: of the groups.
    bounds: (low, high) of the numbers, one for all or one for each, or None; the interval is cut there.
  """
  rng = np.random.default_rng(seed)
  numbers = lambda kept: np.atleast_1d(np.asarray(statistic(*kept), np.float64))
  everything = [np.arange(size) for size in sizes]
  value = numbers(everything)
  variance, degrees = np.zeros_like(value), np.inf
  for axis, size in enumerate(sizes):
    groups = np.array_split(rng.permutation(size), min(NUM_GROUPS, size))
    rest = [np.delete(everything[axis], group) for group in groups]
    left_out = [numbers([*everything[:axis], kept, *everything[axis + 1:]]) for kept in rest]
    variance += (len(groups) - 1) * np.var(left_out, axis=0)
    degrees = min(degrees, len(groups) - 1)
  half = scipy.stats.t.ppf(0.975, degrees) * np.sqrt(variance)
  low, high = (np.clip(v, *bounds) for v in (value - half, value + half))
  return [(float(v), float(a), float(b)) for v, a, b in zip(value, low, high)]


def mean(values: np.ndarray, *, seed: int) -> tuple[float, float, float]:
  """Mean of values [n] with its bootstrap interval."""
  return bootstrap(lambda v: float(np.mean(v)), np.asarray(values, np.float64), seed=seed)


def mean_shift(a: np.ndarray, b: np.ndarray) -> float:
  """mean(a) - mean(b) of [n] and [m]."""
  return float(np.mean(a, dtype=np.float64) - np.mean(b, dtype=np.float64))


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
  """Largest difference between the empirical distribution functions of [n] and [m]."""
  return float(scipy.stats.ks_2samp(a, b, method='asymp').statistic)


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
  """Wasserstein-1 distance between the empirical distributions of [n] and [m], in the units of the values."""
  return float(scipy.stats.wasserstein_distance(a, b))


def row(arm: str, metric: str, reference: str | None, value: float | tuple[float, float, float], *, n: int, seed: int,
        floor: float | None = None) -> dict[str, Any]:
  """One flat row of a JSON of numbers.

  Args:
    arm: 'teacher', 'flow/<loss>', 'resnet/<loss>_<distance>[_noise]'.
    metric: its name.
    reference: what it is measured against or on: 'teacher', 'data', 'train', 'held_out'; None if nothing.
    value: a number, or (value, low, high).
    n: number of examples.
    seed: of the evaluation.
    floor: the same metric of the reference against itself.
  """
  value, low, high = value if isinstance(value, tuple) else (value, None, None)
  return {'arm': arm, 'metric': metric, 'reference': reference, 'value': value, 'low': low, 'high': high, 'floor': floor,
          'n': n, 'seed': seed}
