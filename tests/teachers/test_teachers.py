"""The Gaussian teacher against scipy."""
import jax
import numpy as np
import scipy.stats

from inverse_matching import teachers


def test_gaussian_log_prob():
  """The density of N(mean, R R^T)."""
  teacher = teachers.gaussian((4,), mean=2.0)
  params = teacher.init(jax.random.key(0))
  x = 2 + 3 * jax.random.normal(jax.random.key(1), (20, 4))
  matrix = np.asarray(params['matrix'], np.float64)
  law = scipy.stats.multivariate_normal(np.full(4, 2.0), matrix @ matrix.T)
  np.testing.assert_allclose(teacher.log_prob(params, x), law.logpdf(np.asarray(x, np.float64)), rtol=2e-4)


def test_gaussian_samples():
  """Mean and covariance of samples, within five standard errors."""
  teacher = teachers.gaussian((3,))
  params = teacher.init(jax.random.key(0))
  x = np.asarray(jax.jit(teacher.sample)(params, jax.random.split(jax.random.key(1), 40_000)), np.float64)
  matrix = np.asarray(params['matrix'], np.float64)
  covariance = matrix @ matrix.T
  np.testing.assert_array_less(np.abs(x.mean(0) - 2), 5 * np.sqrt(np.diag(covariance) / len(x)))
  error = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / len(x))
  np.testing.assert_array_less(np.abs(np.cov(x.T) - covariance), 5 * error)


def test_gaussian_matrix_is_standard_normal():
  """R_ij ~ N(0, 1), as in section 3.2 of the paper."""
  matrix = np.asarray(teachers.gaussian((60,)).init(jax.random.key(0))['matrix'])
  assert scipy.stats.kstest(matrix.ravel(), scipy.stats.norm.cdf).pvalue > 1e-3
