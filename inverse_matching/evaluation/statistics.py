"""Numbers with intervals, and the rows that every JSON of numbers holds."""
from typing import Any, Callable, Sequence

import numpy as np
import scipy.stats

NUM_RESAMPLES = 1000  # of the bootstrap
NUM_GROUPS = 20  # of the jackknife


def bootstrap(statistic: Callable[[np.ndarray], float], sample: np.ndarray, *, seed: int) -> tuple[float, float, float]:
  """(value, low, high): a statistic with its 95% percentile bootstrap interval.

  For what is smooth in the distribution, like a mean. A distance is larger for resamples than for the samples themselves:
  Kolmogorov-Smirnov and Wasserstein distance have intervals of their own.

  Args:
    statistic: of the sample.
    sample: [n, ...], resampled along the first axis. Things that belong together are resampled together: give them as one.
    seed: of the resampling.
  """
  rng = np.random.default_rng(seed)
  draws = [statistic(sample[rng.integers(0, len(sample), len(sample))]) for _ in range(NUM_RESAMPLES)]
  low, high = np.quantile(draws, [0.025, 0.975])
  return float(statistic(sample)), float(low), float(high)


def jackknife(statistic: Callable[..., float | Sequence[float]], sizes: Sequence[int], *, seed: int,
              bounds: tuple = (None, None)) -> list[tuple[float, float, float]]:
  """(value, low, high) of each number that a statistic of one or more samples gives: 95% by the delete-a-group jackknife.

  A bootstrap sample holds some examples twice. That is a pair of distance 0 in a U-statistic, a neighbour of distance 0 in
  a nearest-neighbour statistic, and a second dose of the bias of a Frechet distance. Here each of 20 random groups of
  examples is left out in turn (Efron and Tibshirani, 1993, section 11.5), so every set that is looked at is a sample
  without repetition; a bias that depends on the sample size shifts all of them alike and drops out. The variances of the
  samples add. The interval is value +- t standard errors with 19 degrees of freedom. It is too wide, never too narrow, for a
  kernel distance between equal distributions (the first-order term vanishes there), and 1.3 to 2.2 times for precision, recall,
  density and coverage (a group that is left out moves the radii of its neighbours).

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


def share(happened: np.ndarray) -> tuple[float, float, float]:
  """(share, low, high) of a share of events, [N] bool: the interval of Clopper and Pearson, which is one at 0 and 1 too."""
  interval = scipy.stats.binomtest(int(np.sum(happened)), len(happened)).proportion_ci(0.95)
  return float(np.mean(happened)), float(interval.low), float(interval.high)


def over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
  """The mean of values of several training seeds, with its 95% t interval."""
  values = np.asarray(values, np.float64)
  half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
  return float(np.mean(values)), float(np.mean(values) - half), float(np.mean(values) + half)


def mean_shift(a: np.ndarray, b: np.ndarray) -> float:
  """mean(a) - mean(b) of [n] and [m]."""
  return float(np.mean(a, dtype=np.float64) - np.mean(b, dtype=np.float64))


def variance_ratio(a: np.ndarray, b: np.ndarray, *, seed: int) -> tuple[float, float, float]:
  """Mean over dimensions of the variance of a [n, ...] over that of b [n, ...], with its 95% bootstrap interval.

  a[i] and b[i] belong together (S(z) and T^-1(z) of the same z), so that pairs are resampled: most of what moves one of the
  variances moves both.
  """
  rng, n = np.random.default_rng(seed), len(a)
  # The variances of a resample from how often it has each example: a product of matrices for all resamples.
  counts = np.stack([np.ones(n), *(_resample(rng, n) for _ in range(NUM_RESAMPLES))])

  def variances(values):
    values = np.asarray(values, np.float64).reshape(n, -1)
    values = values - values.mean(0)
    return np.mean(counts @ values**2 / n - (counts @ values / n)**2, axis=1)

  ratios = variances(a) / variances(b)
  low, high = np.quantile(ratios[1:], [0.025, 0.975])
  return float(ratios[0]), float(low), float(high)


def _resample(rng: np.random.Generator, n: int) -> np.ndarray:
  """How often a bootstrap sample has each of n examples, [n]."""
  return np.bincount(rng.integers(0, n, n), minlength=n)


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
  """Largest difference between the empirical distribution functions of [n] and [m]."""
  return float(scipy.stats.ks_2samp(a, b, method='asymp').statistic)


def kolmogorov_smirnov_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
  """(value, low, high): `kolmogorov_smirnov` with a 95% interval for the distance of the distributions.

  The empirical distribution function of n draws is within `ks_band` of the true one (Dvoretzky, Kiefer and Wolfowitz, 1956;
  Massart, 1990), so that the interval is value +- the sum of both bands, each at half of the 5%. It holds for any
  distributions, draws that belong together or not, and at distance 0, where a bootstrap never does.
  """
  value = kolmogorov_smirnov(a, b)
  half = ks_band(len(a), 0.025) + ks_band(len(b), 0.025)
  return value, max(0.0, value - half), min(1.0, value + half)


def ks_band(n: int, level: float) -> float:
  """How far the empirical distribution function of n draws is from the true one, but for a probability of `level`."""
  return float(np.sqrt(np.log(2 / level) / (2 * n)))


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
  """Wasserstein-1 distance between the empirical distributions of [n] and [m], in the units of the values."""
  return float(scipy.stats.wasserstein_distance(a, b))


def wasserstein_interval(a: np.ndarray, b: np.ndarray, *, seed: int) -> tuple[float, float, float]:
  """(value, low, high): `wasserstein` with a 95% interval for the distance of the distributions.

  By the triangle inequality the error is at most the sum of the distances of either sample to its own distribution; the
  interval is value +- the 95% quantile of that sum in a bootstrap. In simulations it covers 98 to 100%, at equal distributions
  too, where a percentile bootstrap covers none. Samples of equal size are resampled together, which is right whether they
  belong together or not.
  """
  rng = np.random.default_rng(seed)
  to_own = [_distance_to_own(np.asarray(sample, np.float64)) for sample in (a, b)]
  errors = []
  for _ in range(NUM_RESAMPLES):
    counts = _resample(rng, len(a))
    errors.append(to_own[0](counts) + to_own[1](counts if len(a) == len(b) else _resample(rng, len(b))))
  value, half = wasserstein(a, b), float(np.quantile(errors, 0.95))
  return value, max(0.0, value - half), value + half


def _distance_to_own(sample: np.ndarray) -> Callable[[np.ndarray], float]:
  """How often each example occurs in a resample [n] -> its Wasserstein-1 distance from the sample."""
  order = np.argsort(sample)
  gaps = np.diff(sample[order])
  return lambda counts: float(np.abs(np.cumsum(counts[order] - 1)[:-1]) @ gaps / len(sample))


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
