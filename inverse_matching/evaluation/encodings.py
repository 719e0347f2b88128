"""How far encodings z [N, T] are from the standard normal prior.

The paper explains the poor samples of x-reconstruction by this mismatch (section 4.1.2): the student sees T(x) in training
and prior draws in sampling. Here z may be T(x) for data or teacher samples, or T(S(z)).
"""
import functools
from typing import Callable

import numpy as np
import scipy.special
import scipy.stats

from inverse_matching.evaluation import set_distances

LEVEL = 0.01  # of the Kolmogorov-Smirnov tests, over all dimensions together


def normal_norm(num_dims: int) -> tuple[float, float]:
  """Mean and standard deviation of |z| / sqrt(T) under the prior: those of a chi variable over sqrt(T)."""
  mean = np.exp(scipy.special.gammaln((num_dims + 1) / 2) - scipy.special.gammaln(num_dims / 2)) * np.sqrt(2 / num_dims)
  return float(mean), float(np.sqrt(max(0.0, 1 - mean**2)))


def uniform_ks(u: np.ndarray) -> np.ndarray:
  """Largest distance [T] between the empirical distribution function of each dimension of u [N, T] and the uniform one."""
  u = np.sort(u, axis=0)
  steps = np.arange(len(u) + 1)[:, None] / len(u)
  return np.maximum(np.max(steps[1:] - u, axis=0), np.max(u - steps[:-1], axis=0))


@functools.cache
def ks_threshold(n: int, num_dims: int) -> float:
  """The Kolmogorov-Smirnov distance of n normal draws that a dimension passes with probability LEVEL / T (Bonferroni)."""
  return float(scipy.stats.kstwo.isf(LEVEL / num_dims, n))


def covariance_spectrum(z: np.ndarray) -> tuple[float, float]:
  """Smallest and largest eigenvalue of the sample covariance of [N, T]; NaN if z is not finite."""
  if not np.isfinite(z).all():
    return float('nan'), float('nan')
  n, num_dims = z.shape
  centred = z - z.mean(0)
  if n <= num_dims:  # the others are zero, and those that are not are the Gram matrix's
    return 0.0, float(np.linalg.eigvalsh(centred @ centred.T)[-1] / (n - 1))
  values = np.linalg.eigvalsh(centred.T @ centred) / (n - 1)
  return float(max(values[0], 0.0)), float(values[-1])


def marchenko_pastur_edges(n: int, num_dims: int) -> tuple[float, float]:
  """What covariance_spectrum tends to for n prior draws (Marchenko and Pastur, 1967): (1 -+ sqrt(T / (n - 1)))^2.

  The smallest is 0 where n - 1 < T.
  """
  root = np.sqrt(num_dims / (n - 1))
  return float(max(0.0, 1 - root)**2), float((1 + root)**2)


def gaussian_kernel_parts(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
  """(k(z_i, z_j) [N, N], E k(z_i, Z) [N], E k(Z, Z')), Z and Z' from the prior, k(a, b) = exp(-|a - b|^2 / (2 T)).

  The bandwidth is the typical distance of prior draws: |a - b|^2 is 2 T in the mean.
  """
  num_dims = z.shape[1]
  squares = np.sum(z * z, axis=1)
  between = np.exp(-np.maximum(squares[:, None] + squares - 2 * z @ z.T, 0) / (2 * num_dims))
  to_prior = (num_dims / (num_dims + 1))**(num_dims / 2) * np.exp(-squares / (2 * (num_dims + 1)))
  return between, to_prior, float((num_dims / (num_dims + 2))**(num_dims / 2))


def kernel_statistic(z: np.ndarray) -> Callable[[np.ndarray], float]:
  """The squared maximum mean discrepancy of z [N, T] from the prior, unbiased, under the kernel of gaussian_kernel_parts.

  The prior's side of the two-sample statistic (Gretton et al., 2012) is a Gaussian integral and is put in exactly: the same
  mean as with prior draws, less variance. It is about 0 for prior draws, and then at times negative. A function of the indices
  that are kept, for statistics.jackknife.
  """
  between, to_prior, constant = gaussian_kernel_parts(z)
  within = set_distances.u_statistic(between)
  return lambda i: within(i) - 2 * float(np.mean(to_prior[i])) + constant
