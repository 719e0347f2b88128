"""Encodings against scipy, and against what the prior itself gives."""
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from inverse_matching.evaluation import encodings, sample_metrics, statistics

RNG = np.random.default_rng


@pytest.mark.parametrize('num_dims', [1, 2, 64, 3072])
def test_norm_of_the_prior(num_dims):
  """The chi distribution of scipy."""
  mean, std = encodings.normal_norm(num_dims)
  np.testing.assert_allclose(mean * np.sqrt(num_dims), scipy.stats.chi.mean(num_dims), rtol=1e-9)
  np.testing.assert_allclose(std * np.sqrt(num_dims), scipy.stats.chi.std(num_dims), rtol=1e-4)


def test_kolmogorov_smirnov_against_scipy():
  """Each dimension, and the threshold as the p-value."""
  z = RNG(0).normal(size=(60, 5)) * [1, 1.5, 0.3, 1, 1] + [0, 0, 0, 0.8, -0.2]
  tests = [scipy.stats.kstest(column, 'norm') for column in z.T]
  distances = encodings.uniform_ks(scipy.special.ndtr(z))
  np.testing.assert_allclose(distances, [t.statistic for t in tests], rtol=1e-12)
  rejected = distances > encodings.ks_threshold(60, 5)
  assert list(rejected) == [t.pvalue < 0.01 / 5 for t in tests]
  assert 0 < rejected.sum() < 5


def test_covariance_spectrum():
  """Known eigenvalues; the Marchenko-Pastur edges for prior draws; fewer samples than dimensions; not finite."""
  rng = RNG(1)
  rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
  x = rng.normal(size=(50, 4))
  x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
  low, high = encodings.covariance_spectrum(x * np.sqrt([0.3, 1, 2, 5]) @ rotation + 7)
  np.testing.assert_allclose([low, high], [0.3, 5], rtol=1e-9)
  z = rng.normal(size=(1200, 300))
  np.testing.assert_allclose(encodings.covariance_spectrum(z), encodings.marchenko_pastur_edges(1200, 300), rtol=0.06)
  np.testing.assert_allclose(encodings.marchenko_pastur_edges(1201, 300), [0.25, 2.25])
  low, high = encodings.covariance_spectrum(z[:100])
  assert low == 0 and high == pytest.approx(np.linalg.eigvalsh(np.cov(z[:100], rowvar=False))[-1], rel=1e-9)
  assert encodings.marchenko_pastur_edges(101, 300)[0] == 0
  z[3, 3] = np.inf
  assert np.isnan(encodings.covariance_spectrum(z)).all()


def test_gaussian_kernel_parts():
  """The two integrals over the prior by quadrature in one dimension, and as a product over dimensions."""
  z = RNG(2).normal(size=(6, 1)) * 2
  between, to_prior, constant = encodings.gaussian_kernel_parts(z)
  np.testing.assert_allclose(between, np.exp(-(z - z.T)**2 / 2), rtol=1e-9)
  density = scipy.stats.norm.pdf
  expected = [scipy.integrate.quad(lambda y, a=a: np.exp(-(a - y)**2 / 2) * density(y), -20, 20)[0] for a in z[:, 0]]
  np.testing.assert_allclose(to_prior, expected, rtol=1e-6)
  # The difference of two draws has variance 2.
  np.testing.assert_allclose(
      constant, scipy.integrate.quad(lambda d: np.exp(-d**2 / 2) * density(d, scale=np.sqrt(2)), -20, 20)[0], rtol=1e-6)
  z = RNG(3).normal(size=(4, 3))
  product = np.prod([[scipy.integrate.quad(lambda y, a=a: np.exp(-(a - y)**2 / 6) * density(y), -20, 20)[0] for a in row]
                     for row in z], axis=1)
  np.testing.assert_allclose(encodings.gaussian_kernel_parts(z)[1], product, rtol=1e-6)


def test_kernel_distance_is_unbiased():
  """Mean 0 under the prior at small sizes, and positive for what is not the prior."""
  rng = RNG(4)
  distance = lambda z: encodings.kernel_statistic(z)(np.arange(len(z)))
  null = [distance(rng.normal(size=(10, 5))) for _ in range(3000)]
  assert abs(np.mean(null)) < 4 * scipy.stats.sem(null) and min(null) < 0
  wide = [distance(1.3 * rng.normal(size=(10, 5))) for _ in range(500)]
  assert np.mean(wide) > 10 * scipy.stats.sem(wide)


def rows_of(z, **settings):
  """metric -> row."""
  return {row['metric']: row for row in sample_metrics.encoding_rows('arm', z, seed=0, **settings)}


def test_norms():
  """By hand: the mean of 2.5 and 1, each |z| / sqrt(4); their variance is 10 times 0.75^2 over 9, which is without bias."""
  rows = rows_of(np.tile([[3.0, 4, 0, 0], [1, 1, 1, 1]], (5, 1)))
  assert rows['encoding_norm']['value'] == pytest.approx(1.75)
  assert rows['encoding_norm_std']['value'] == pytest.approx(np.sqrt(10 * 0.75**2 / 9))


def test_the_upper_tail():
  """The share in closed form, of a normal law and of one that is bounded."""
  shifted = rows_of(0.5 + RNG(7).normal(size=(2000, 6)))['encoding_upper_tail']
  assert shifted['low'] < 1 - scipy.stats.norm.cdf(1.6449 - 0.5) < shifted['high'] and shifted['floor'] == 0.05
  assert rows_of(RNG(7).uniform(-1.7, 1.6, (200, 6)))['encoding_upper_tail']['value'] == 0


def test_prior_draws_pass():
  """Values are near their floors, within what the interval allows for."""
  rows = rows_of(RNG(5).normal(size=(800, 4, 5, 1)))
  assert set(rows) == set(sample_metrics.ENCODING_METRICS)
  assert rows['encoding_ks_rejected']['value'] == 0
  for metric in ('encoding_ks_mean', 'encoding_ks_max'):
    assert 0.7 < rows[metric]['value'] / rows[metric]['floor'] < 1.4
  for metric, row in rows.items():
    assert row['reference'] == 'prior' and row['n'] == 800
    if metric == 'encoding_ks_rejected':
      assert row['low'] is row['high'] is None
      continue
    assert row['low'] <= row['value'] <= row['high']
    assert row['floor'] == pytest.approx(row['value'], abs=3 * (row['high'] - row['low']) / 2 + 0.02), metric


def test_intervals_of_kolmogorov_smirnov_distances_cover():
  """The largest and the mean distance of the dimensions, most of which are those of the prior."""
  shifts = np.where(np.arange(12) < 2, 0.2, 0.0)
  truth = 2 * scipy.stats.norm.cdf(shifts / 2) - 1
  truth = {'encoding_ks_max': truth.max(), 'encoding_ks_mean': truth.mean()}
  all_rows = [rows_of(shifts + RNG(seed).normal(size=(200, 12))) for seed in range(80)]
  for metric, value in truth.items():
    assert np.mean([rows[metric]['low'] <= value <= rows[metric]['high'] for rows in all_rows]) >= 0.95, metric


def test_the_band_holds_for_all_dimensions_at_once():
  """Each of 12 dimensions has a twelfth of the 5% by which an interval may miss."""
  rows = rows_of(1.4 * RNG(8).normal(size=(200, 12)))
  band = statistics.ks_band(200, 0.05 / 12)
  for metric in ('encoding_ks_max', 'encoding_ks_mean'):
    row = rows[metric]
    assert row['high'] == pytest.approx(row['value'] + band) and row['low'] == pytest.approx(max(0, row['value'] - band))


@pytest.mark.parametrize('law', ['wide', 'narrow', 'shifted', 'correlated'])
def test_other_laws_fail(law):
  """Each is seen by the metrics that should see it, with intervals that leave the floor out."""
  z = RNG(6).normal(size=(800, 20))
  z = {'wide': 1.4 * z, 'narrow': 0.65 * z, 'shifted': z + 0.3,
       'correlated': np.sqrt(0.5) * (z + z[:, :1])}[law]
  rows = rows_of(z)
  outside = {metric for metric, row in rows.items()
             if row['low'] is not None and not row['low'] <= row['floor'] <= row['high']}
  assert 'encoding_kernel_distance' in outside and rows['encoding_kernel_distance']['low'] > 0
  if law == 'correlated':
    assert {'encoding_norm_std', 'encoding_max_eigenvalue'} <= outside
    return
  assert {'encoding_norm', 'encoding_ks_max', 'encoding_ks_mean'} <= outside
  assert rows['encoding_ks_rejected']['value'] > 0.5
  assert law == 'shifted' or {'encoding_min_eigenvalue', 'encoding_max_eigenvalue'} <= outside


def test_encodings_that_are_not_finite_give_rows():
  """A student far off the teacher's data may overflow."""
  z = RNG(7).normal(size=(50, 6))
  z[0, 0] = np.inf
  rows = rows_of(z)
  assert np.isnan(rows['encoding_max_eigenvalue']['value']) and np.isfinite(rows['encoding_ks_max']['value'])
  z[0, 0] = np.nan  # which has no place among the others, so that nothing can be said of its dimension
  for metric, row in rows_of(z).items():
    assert np.isnan(row['value']) and (row['low'] is None or np.isnan([row['low'], row['high']]).all()), metric


def test_eigenvalues_of_many_dimensions_have_no_interval():
  """They would take minutes; the values are the same, and all else has its interval."""
  z = RNG(8).normal(size=(40, sample_metrics.MOST_SPECTRA + 1))
  rows, few = rows_of(z), rows_of(z[:, :-1])
  assert tuple(rows[metric]['value'] for metric in sample_metrics.SPECTRUM) == encodings.covariance_spectrum(z)
  assert {metric for metric, row in rows.items() if row['low'] is None} == {*sample_metrics.SPECTRUM, 'encoding_ks_rejected'}
  assert {metric for metric, row in few.items() if row['low'] is None} == {'encoding_ks_rejected'}
