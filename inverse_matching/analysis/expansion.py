"""Proposition 1 of the paper: the probability of the expansion signal, exactly.

For a Gaussian student N(mu_S, Sigma_S), a Gaussian teacher N(mu_T, Sigma_T) and x drawn from the student, the signal is the
event (x - mu_T) . g_x > 0 with

    g_x = grad_x [log p_T(x) - log p_S(x)] = Sigma_S^-1 (x - mu_S) - Sigma_T^-1 (x - mu_T).

Write m = mu_S - mu_T, x = mu_S + L e with L L^T = Sigma_S and e standard normal, and w = L^-1 (x - mu_T) = e + L^-1 m.
Then (x - mu_T) . g_x = w . e - w^T B w with B = L^T Sigma_T^-1 L, whose eigenvalues are 1 / d_i^2. In its eigenbasis, with
a_i the coordinates of L^-1 m and rho_i = 1 - 1 / d_i^2, this is

    sum_i rho_i e_i^2 + (2 rho_i - 1) a_i e_i + (rho_i - 1) a_i^2,

a quadratic form whose mean is T - tr(Sigma_T^-1 Sigma_S) - m^T Sigma_T^-1 m. For m = 0 it is the paper's sum rho_i e_i^2.
"""
from typing import NamedTuple

import numpy as np

from inverse_matching.analysis.quadratic_form import probability_positive
from inverse_matching.errors import InputError


class Relative(NamedTuple):
  """A student in the coordinates where it is standard normal and the teacher's covariance is diagonal (footnote 1)."""
  rho: np.ndarray  # [T], 1 - 1 / d_i^2
  offset: np.ndarray  # [T], mu_S - mu_T


def expansion_probability(eigenvalues: np.ndarray) -> float:
  """P(x . g_x > 0) for x ~ N(0, I) and a centred teacher: equation 7.

  Args:
    eigenvalues: d_i^2 [T], those of the teacher's covariance relative to the student's.

  Returns:
    The probability; 0 if all eigenvalues are at most 1, 1 if all are at least 1 and one is not 1.

  Raises:
    InputError: no eigenvalues, or one that is not a positive number.
  """
  d2 = np.asarray(eigenvalues, np.float64)
  if d2.ndim != 1 or not d2.size:
    raise InputError(f'expansion_probability needs a list of one or more eigenvalues, got shape {list(d2.shape)}.')
  if not np.all((d2 > 0) & np.isfinite(d2)):
    raise InputError(f'expansion_probability needs positive finite eigenvalues, got {d2[~((d2 > 0) & np.isfinite(d2))][0]}.')
  return probability_positive((d2 - 1) / d2)


def expansion_probability_gaussians(mean_offset: np.ndarray, covariance_student: np.ndarray,
                                    covariance_teacher: np.ndarray) -> float:
  """P((x - mu_T) . g_x > 0) for x from the student.

  Args:
    mean_offset: mu_S - mu_T, [T].
    covariance_student: [T, T].
    covariance_teacher: [T, T].

  Raises:
    InputError: shapes differ, T = 0, or a covariance is not positive definite.
  """
  offset = np.asarray(mean_offset, np.float64)
  if offset.ndim != 1 or not offset.size:
    raise InputError(f'The offset of the means must have shape [T] with T at least 1, got {list(offset.shape)}.')
  factors = [_cholesky(name, covariance, offset.size)
             for name, covariance in (('student', covariance_student), ('teacher', covariance_teacher))]
  return expansion_probability_factors(offset, *factors)


def expansion_probability_factors(mean_offset: np.ndarray, factor_student: np.ndarray, factor_teacher: np.ndarray) -> float:
  """The same from any R_S, R_T [T, T] with covariances R R^T: exact for covariances too ill-conditioned to be formed."""
  rho, a = relative(mean_offset, factor_student, factor_teacher)
  return probability_positive(rho, (2 * rho - 1) * a, float(np.sum((rho - 1) * a * a)))


def relative(mean_offset: np.ndarray, factor_student: np.ndarray, factor_teacher: np.ndarray) -> Relative:
  """Footnote 1 of the paper from factors R with covariance R R^T, [T, T] each; mean_offset is mu_S - mu_T [T]."""
  factor_student = np.asarray(factor_student, np.float64)
  ratio = np.linalg.solve(np.asarray(factor_teacher, np.float64), factor_student)
  _, inverse_d, basis = np.linalg.svd(ratio)
  offset = basis @ np.linalg.solve(factor_student, np.asarray(mean_offset, np.float64))
  return Relative((1 - inverse_d) * (1 + inverse_d), offset)


def _cholesky(name: str, covariance: np.ndarray, num_dims: int) -> np.ndarray:
  covariance = np.asarray(covariance, np.float64)
  if covariance.shape != (num_dims, num_dims):
    raise InputError(f'The covariance of the {name} has shape {list(covariance.shape)}, expected [{num_dims}, {num_dims}].')
  try:
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9 * np.max(np.abs(covariance))):
      raise np.linalg.LinAlgError
    return np.linalg.cholesky(covariance)
  except np.linalg.LinAlgError as error:
    raise InputError(f'The covariance of the {name} is not symmetric positive definite: add a small multiple of the '
                     'identity, or give a covariance.') from error
