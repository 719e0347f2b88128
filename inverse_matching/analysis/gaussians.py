"""Closed forms for x = mean + R z with standard normal z. Leading axes are batches."""
import numpy as np


def kl_gaussians(mean_offset: np.ndarray, factor_student: np.ndarray, factor_teacher: np.ndarray) -> np.ndarray:
  """KL(student || teacher) in nats, [...].

  Args:
    mean_offset: mu_S - mu_T, [..., T].
    factor_student: R_S with covariance R_S R_S^T, [..., T, T].
    factor_teacher: R_T, [..., T, T].
  """
  m, factor_student, factor_teacher = (np.asarray(v, np.float64) for v in (mean_offset, factor_student, factor_teacher))
  both = np.concatenate([factor_student, m[..., None]], axis=-1)
  whitened = np.linalg.solve(factor_teacher, both)
  log_det = np.linalg.slogdet(factor_student)[1] - np.linalg.slogdet(factor_teacher)[1]
  return 0.5 * (np.sum(whitened ** 2, axis=(-2, -1)) - m.shape[-1]) - log_det


def log_prob(x: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
  """log N(x; mean, R R^T) in nats, [..., N], of x [..., N, T]."""
  mean, factor = np.asarray(mean, np.float64), np.asarray(factor, np.float64)
  z = whiten(x, mean, factor)
  log_det = np.linalg.slogdet(factor)[1]
  return -0.5 * np.sum(z ** 2 + np.log(2 * np.pi), axis=-1) - log_det[..., None]


def whiten(x: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
  """z = R^-1 (x - mean), [..., N, T]: its norm is the Mahalanobis norm of x."""
  centred = np.asarray(x, np.float64) - mean[..., None, :]
  return np.swapaxes(np.linalg.solve(np.asarray(factor, np.float64), np.swapaxes(centred, -1, -2)), -1, -2)


def sample(rng: np.random.Generator, num: int, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
  """x = mean + R z, [..., num, T]."""
  factor = np.asarray(factor, np.float64)
  z = rng.standard_normal((*factor.shape[:-2], num, factor.shape[-1]))
  return np.asarray(mean, np.float64)[..., None, :] + z @ np.swapaxes(factor, -1, -2)
