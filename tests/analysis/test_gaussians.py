"""Closed forms of Gaussians against scipy and sampling."""
import numpy as np
import pytest
from scipy import stats

from inverse_matching.analysis import gaussians, kl_gaussians

RNG = np.random.default_rng(0)
OFFSET, STUDENT, TEACHER = RNG.standard_normal(3), RNG.standard_normal((3, 3)), RNG.standard_normal((3, 3))


def test_kl_in_one_dimension():
  """log(s_T / s_S) + (s_S^2 + m^2) / (2 s_T^2) - 1/2."""
  assert kl_gaussians(np.array([0.5]), np.array([[2.0]]), np.array([[-3.0]])) == pytest.approx(
      np.log(1.5) + (4 + 0.25) / 18 - 0.5)


def test_kl_is_the_mean_log_ratio():
  x = gaussians.sample(np.random.default_rng(1), 200_000, OFFSET, STUDENT)
  ratio = gaussians.log_prob(x, OFFSET, STUDENT) - gaussians.log_prob(x, np.zeros(3), TEACHER)
  assert kl_gaussians(OFFSET, STUDENT, TEACHER) == pytest.approx(np.mean(ratio), abs=5 * np.std(ratio) / np.sqrt(len(ratio)))


def test_kl_is_zero_for_another_factor_of_the_same_covariance_and_takes_batches():
  rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
  found = kl_gaussians(np.zeros((2, 3)), np.stack([TEACHER @ rotation, 2 * TEACHER]), np.stack([TEACHER, TEACHER]))
  np.testing.assert_allclose(found, [0, 3 * (1.5 - np.log(2))], atol=1e-9)


def test_log_prob_is_that_of_scipy():
  x = np.random.default_rng(3).standard_normal((5, 3))
  expected = stats.multivariate_normal(OFFSET, STUDENT @ STUDENT.T).logpdf(x)
  np.testing.assert_allclose(gaussians.log_prob(x, OFFSET, STUDENT), expected, rtol=1e-8)


def test_lanes_get_their_own_noise():
  x = gaussians.sample(np.random.default_rng(0), 4, np.zeros((2, 3)), np.stack([np.eye(3), np.eye(3)]))
  assert x.shape == (2, 4, 3) and not np.any(x[0] == x[1])
