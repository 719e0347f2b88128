"""Spectra of random and controlled covariances."""
import numpy as np

from inverse_matching.errors import InputError


def wishart_eigenvalues(rng: np.random.Generator, num_dims: int, *, normalised: bool) -> np.ndarray:
  """Eigenvalues [T], ascending, of R R^T, or of R R^T / T if normalised, with R_ij ~ N(0, 1) of size T x T."""
  if num_dims < 1:
    raise InputError(f'A covariance needs one dimension or more, got {num_dims}.')
  values = np.linalg.svd(rng.standard_normal((num_dims, num_dims)), compute_uv=False)[::-1] ** 2
  return values / num_dims if normalised else values


def marchenko_pastur(x: np.ndarray) -> np.ndarray:
  """Limiting density of the eigenvalues of R R^T / T for square R (Marchenko and Pastur, 1967): on (0, 4)."""
  x = np.asarray(x, np.float64)
  inside = (x > 0) & (x < 4)
  safe = np.where(inside, x, 1.0)
  return np.where(inside, np.sqrt((4 - safe) / safe) / (2 * np.pi), 0.0)


def smallest_eigenvalue_survival(x: np.ndarray) -> np.ndarray:
  """Limit of P(T lambda_min > x), lambda_min of R R^T for square real R (Edelman, 1988, corollary 3.1)."""
  x = np.asarray(x, np.float64)
  return np.exp(-(x / 2 + np.sqrt(x)))


def log_spaced(num_dims: int, smallest: float, largest: float) -> np.ndarray:
  """T standard deviations from smallest to largest with a constant ratio."""
  if not 0 < smallest <= largest:
    raise InputError(f'A spectrum needs 0 < smallest <= largest, got {smallest} and {largest}.')
  return np.geomspace(smallest, largest, num_dims)
