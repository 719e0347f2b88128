"""The jackknife against the textbook, and its coverage."""
import numpy as np
import scipy.stats

from inverse_matching.evaluation import resampling, set_distances


def test_mean_of_one_sample():
  """Groups of one: the t interval of the mean."""
  x = np.random.default_rng(0).normal(size=20)
  (value, low, high), = resampling.jackknife(lambda i: x[i].mean(), [20], seed=0)
  expected = scipy.stats.t.interval(0.95, 19, x.mean(), scipy.stats.sem(x))
  np.testing.assert_allclose([value, low, high], [x.mean(), *expected], rtol=1e-10)


def test_several_numbers_of_two_samples():
  """Variances add, each number has its own, and bounds cut."""
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=20), 3 * rng.normal(size=20)
  found = resampling.jackknife(lambda i, j: (x[i].mean() - y[j].mean(), x[i].mean(), 0.99), [20, 20], seed=0,
                               bounds=(None, [np.inf, x.mean(), 1.0]))
  half = scipy.stats.t.ppf(0.975, 19) * np.hypot(scipy.stats.sem(x), scipy.stats.sem(y))
  np.testing.assert_allclose(found[0], [x.mean() - y.mean() + d for d in (0, -half, half)], rtol=1e-10)
  np.testing.assert_allclose(found[1][2], x.mean())
  np.testing.assert_allclose(found[2], 0.99)


def test_same_seed_same_interval():
  """The groups follow the seed."""
  x = np.random.default_rng(2).normal(size=203)
  run = lambda seed: resampling.jackknife(lambda i: np.median(x[i]), [203], seed=seed)
  assert run(0) == run(0) and run(0) != run(1)


def coverage(shift: float, truth: float, repetitions: int = 150) -> float:
  """How often the interval of a kernel distance holds the truth."""
  rng = np.random.default_rng(3)
  hits = 0
  for seed in range(repetitions):
    x, y = rng.normal(size=(100, 1)) + shift, rng.normal(size=(60, 1))
    (_, low, high), = resampling.jackknife(set_distances.kernel_statistic(x, y), (100, 60), seed=seed)
    hits += low <= truth <= high
  return hits / repetitions


def test_coverage_of_the_kernel_distance():
  """Near 95% for a shift (its distance as in test_samples), and no less for equal laws, where it is degenerate."""
  assert 0.88 <= coverage(0.5, 3 * 0.5**2 + 3 * 0.25**2 + 1.625**2) <= 0.99
  assert coverage(0.0, 0.0) >= 0.93
