"""Statistics against scipy and numpy, both kinds of intervals and their coverage, rows and tables."""
import functools

import numpy as np
import pytest
import scipy.stats

from inverse_matching.evaluation import set_distances, statistics, tables

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=80), RNG.normal(0.5, 2.0, size=120)
wasserstein_interval = functools.partial(statistics.wasserstein_interval, seed=0)


def test_statistics_against_scipy():
  """Kolmogorov-Smirnov and Wasserstein-1 from their definitions; the shift of the mean."""
  grid = np.sort(np.concatenate([A, B]))
  cdf = lambda s: np.searchsorted(np.sort(s), grid, side='right') / len(s)
  np.testing.assert_allclose(statistics.kolmogorov_smirnov(A, B), np.abs(cdf(A) - cdf(B)).max(), rtol=1e-9)
  np.testing.assert_allclose(statistics.kolmogorov_smirnov(A, B), scipy.stats.ks_2samp(A, B).statistic, rtol=1e-9)
  between = np.sum(np.abs(cdf(A) - cdf(B))[:-1] * np.diff(grid))
  np.testing.assert_allclose(statistics.wasserstein(A, B), between, rtol=1e-9)
  np.testing.assert_allclose(statistics.wasserstein(A, A + 3), 3, rtol=1e-9)
  np.testing.assert_allclose(statistics.mean_shift(A, B), A.mean() - B.mean(), rtol=1e-9)
  assert statistics.kolmogorov_smirnov(A, A) == statistics.wasserstein(A, A) == statistics.mean_shift(A, A) == 0


def test_the_interval_of_kolmogorov_smirnov_has_both_bands():
  """Each empirical distribution function leaves its band, by Massart's bound, with half of the 5%."""
  a, b = np.arange(200), np.arange(100, 400)  # all of a is below two thirds of b
  value, low, high = statistics.kolmogorov_smirnov_interval(a, b)
  half = sum(np.sqrt(np.log(2 / 0.025) / (2 * n)) for n in (200, 300))
  np.testing.assert_allclose([value, low, high], [2 / 3, 2 / 3 - half, 2 / 3 + half], rtol=1e-9)


def test_bootstrap_covers(monkeypatch):
  """About 95 of 100 intervals of a mean hold the true mean; the width is that of theory."""
  monkeypatch.setattr(statistics, 'NUM_RESAMPLES', 300)
  covered, widths = [], []
  for seed in range(200):
    value, low, high = statistics.mean(np.random.default_rng(seed).normal(1.0, 2.0, 100), seed=seed)
    assert low < value < high
    covered.append(low < 1.0 < high)
    widths.append(high - low)
  assert 0.89 < np.mean(covered) < 0.985  # within five standard errors of 0.94
  np.testing.assert_allclose(np.mean(widths), 2 * 1.96 * 2 / np.sqrt(100), rtol=0.05)


def test_bootstrap_is_a_function_of_its_seed():
  """And its width is that of theory."""
  again = [statistics.bootstrap(np.mean, A, seed=s) for s in (0, 0, 1)]
  assert again[0] == again[1] != again[2]
  value, low, high = again[0]
  np.testing.assert_allclose([value - low, high - value], 1.96 * A.std() / np.sqrt(len(A)), rtol=0.15)


@pytest.mark.parametrize('interval', [statistics.kolmogorov_smirnov_interval, wasserstein_interval])
@pytest.mark.parametrize('shift', [0.0, 0.1, 1.0])
def test_intervals_of_distances_cover(interval, shift, monkeypatch):
  """Of the distance of the distributions, N(0, 1) and N(shift, 1), also where it is zero; and they get narrow."""
  monkeypatch.setattr(statistics, 'NUM_RESAMPLES', 200)
  truth = shift if interval is wasserstein_interval else 2 * scipy.stats.norm.cdf(shift / 2) - 1
  covered, widths = [], []
  for seed in range(200):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=200), shift + rng.normal(size=300)
    value, low, high = interval(a, b)
    assert low <= value <= high
    covered.append(low <= truth <= high)
    widths.append(high - low)
  assert np.mean(covered) >= 0.95
  large = interval(np.random.default_rng(0).normal(size=20_000), shift + np.random.default_rng(1).normal(size=20_000))
  assert large[2] - large[1] < np.mean(widths) / 5


@pytest.mark.parametrize('interval', [statistics.kolmogorov_smirnov_interval, wasserstein_interval])
def test_intervals_of_distances_cover_draws_that_belong_together(interval, monkeypatch):
  """Correlation -0.9, where the errors of both samples add."""
  monkeypatch.setattr(statistics, 'NUM_RESAMPLES', 200)
  covered = []
  for seed in range(200):
    a, b = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, -0.9], [-0.9, 1]], size=200).T
    _, low, high = interval(a, b)
    covered.append(low <= 0 <= high)
  assert np.mean(covered) >= 0.95


def test_variance_ratio_of_pairs(monkeypatch):
  """Its value from numpy; it covers; and it is as narrow as pairs allow, a fifth of what two samples apart would give."""
  monkeypatch.setattr(statistics, 'NUM_RESAMPLES', 300)
  covered, widths = [], []
  for seed in range(150):
    rng = np.random.default_rng(seed)
    b = 7 + rng.normal(size=(100, 2, 3))
    a = 1.1 * b + 0.1 * rng.normal(size=b.shape)
    value, low, high = statistics.variance_ratio(a, b, seed=seed)
    np.testing.assert_allclose(value, np.mean(np.var(a, 0)) / np.mean(np.var(b, 0)), rtol=1e-9)
    covered.append(low <= 1.22 <= high)
    widths.append(high - low)
  assert 0.88 < np.mean(covered) < 0.99
  # Independent samples: the relative error of each variance of 6 dimensions is sqrt(2 / (6 n)).
  assert np.mean(widths) < 0.2 * 2 * 1.96 * 1.22 * np.sqrt(2 * 2 / (6 * 100))


def test_rows_and_tables():
  """A line per metric and reference, a column per arm; missing cells are empty, and what is not finite is said."""
  rows = [statistics.row('teacher', 'error', 'data', (1.0, 0.5, 1.5), n=3, seed=0, floor=0.25),
          statistics.row('flow/a', 'error', 'data', 2.0, n=3, seed=0),
          statistics.row('flow/a', 'rank', None, None, n=3, seed=0)]
  assert list(rows[0]) == ['arm', 'metric', 'reference', 'value', 'low', 'high', 'floor', 'n', 'seed']
  lines = tables.by_arm(rows)
  assert lines == [['arm', 'error (data)', 'rank'], ['teacher', '1 [0.5, 1.5]', ''], ['flow/a', '2', 'not finite'],
                   ['floor', '0.25', '']]
  assert tables.by_metric(rows) == [list(column) for column in zip(*lines)]
  assert tables.by_arm(rows, [('error', 'data')], intervals=False)[1] == ['teacher', '1']
  assert tables.plain(lines).splitlines()[1].split() == ['teacher', '1', '[0.5,', '1.5]']
  assert tables.markdown(lines).splitlines()[:2] == ['| arm | error (data) | rank |', '| --- | --- | --- |']


def test_mean_of_one_sample():
  """Groups of one: the t interval of the mean."""
  x = np.random.default_rng(0).normal(size=20)
  (value, low, high), = statistics.jackknife(lambda i: x[i].mean(), [20], seed=0)
  expected = scipy.stats.t.interval(0.95, 19, x.mean(), scipy.stats.sem(x))
  np.testing.assert_allclose([value, low, high], [x.mean(), *expected], rtol=1e-10)


def test_several_numbers_of_two_samples():
  """Variances add, each number has its own, and bounds cut."""
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=20), 3 * rng.normal(size=20)
  found = statistics.jackknife(lambda i, j: (x[i].mean() - y[j].mean(), x[i].mean(), 0.99), [20, 20], seed=0,
                               bounds=(None, [np.inf, x.mean(), 1.0]))
  half = scipy.stats.t.ppf(0.975, 19) * np.hypot(scipy.stats.sem(x), scipy.stats.sem(y))
  np.testing.assert_allclose(found[0], [x.mean() - y.mean() + d for d in (0, -half, half)], rtol=1e-10)
  np.testing.assert_allclose(found[1][2], x.mean())
  np.testing.assert_allclose(found[2], 0.99)


def test_same_seed_same_interval():
  """The groups follow the seed."""
  x = np.random.default_rng(2).normal(size=203)
  run = lambda seed: statistics.jackknife(lambda i: np.median(x[i]), [203], seed=seed)
  assert run(0) == run(0) and run(0) != run(1)


def coverage(shift: float, truth: float, repetitions: int = 150) -> float:
  """How often the interval of a kernel distance holds the truth."""
  rng = np.random.default_rng(3)
  hits = 0
  for seed in range(repetitions):
    x, y = rng.normal(size=(100, 1)) + shift, rng.normal(size=(60, 1))
    (_, low, high), = statistics.jackknife(set_distances.kernel_statistic(x, y), (100, 60), seed=seed)
    hits += low <= truth <= high
  return hits / repetitions


def test_coverage_of_the_kernel_distance():
  """Near 95% for a shift (its distance as in test_set_distances), and no less for equal laws, where it is degenerate."""
  assert 0.88 <= coverage(0.5, 3 * 0.5**2 + 3 * 0.25**2 + 1.625**2) <= 0.99
  assert coverage(0.0, 0.0) >= 0.93


@pytest.mark.parametrize('share', [0.0, 0.002, 0.3])
def test_the_interval_of_a_share_covers(share):
  """Where none of the events happened too, of which a bootstrap says 0 to 0."""
  found = [statistics.share(np.arange(200) < count) for count in range(201)]
  covers = np.array([low <= share <= high for _, low, high in found])
  assert covers @ scipy.stats.binom.pmf(np.arange(201), 200, share) >= 0.95 and all(high > low for _, low, high in found)
