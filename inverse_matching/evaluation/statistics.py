"""Numbers with intervals, and the rows that every JSON of numbers holds."""
from typing import Any, Callable

import numpy as np
import scipy.stats

NUM_RESAMPLES = 1000


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
