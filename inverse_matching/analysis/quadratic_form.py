"""The probability that a quadratic form in normal variables is positive, by inversion of its moment generating function.

For Q = sum_i a_i e_i^2 + b_i e_i + c with independent standard normal e_i,

    log E exp(s Q) = K(s) = c s + sum_i [b_i^2 s^2 / (2 (1 - 2 a_i s)) - log(1 - 2 a_i s) / 2],

and P(Q > 0) is the integral of exp(K(s)) / (2 pi i s) along a vertical line right of 0. On the imaginary axis it is Imhof's
integral (Imhof, 1961, Biometrika 48; with linear terms: Davies, 1980, Applied Statistics 29). The line through the saddle
point of K(s) - log s has the same value without the cancellation (Helstrom, 1996, IEEE Trans. AES 32), so that small
probabilities keep their relative accuracy. With s = saddle + i tau sinh(v) the integrand is analytic in v and falls
exponentially at every spread of the a_i: the trapezoidal rule converges geometrically. With linear terms exp(K) turns into
exp(s limit), limit = c - sum_i b_i^2 / (4 a_i), far from 0: there the line is bent into the hyperbola on which that falls.
"""
import math

import numpy as np
from scipy import optimize

from inverse_matching.errors import InputError

_NEGLIGIBLE = 41.0  # exp(-41) = 2e-18
_TOLERANCE = 1e-10  # relative, between two steps of the trapezoidal rule; the error of the finer one is far below
_MAX_HALVINGS = 14
_BEND = math.pi / 8  # between the vertical and the arms of the hyperbola
_CHUNK = 1 << 20  # complex numbers at a time


def probability_positive(quadratic: np.ndarray, linear: np.ndarray | float = 0.0, constant: float = 0.0) -> float:
  """P(sum_i quadratic_i e_i^2 + linear_i e_i + constant > 0), e standard normal.

  Args:
    quadratic: [T].
    linear: [T], or one number for all.
    constant: a number.

  Returns:
    The probability: absolute error below 1e-9, relative error below 1e-6 down to 1e-300.

  Raises:
    InputError: no terms, or numbers that are not finite.
  """
  a = np.asarray(quadratic, np.float64).reshape(-1)
  b = np.abs(np.broadcast_to(np.asarray(linear, np.float64), a.shape))
  if not a.size or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b)) and math.isfinite(constant)):
    raise InputError('A quadratic form needs one or more terms and finite numbers.')
  scale = max(np.max(np.abs(a)), np.max(b), abs(constant))
  if scale == 0:
    return 0.0
  a, b, c = a / scale, b / scale, constant / scale
  keep = (a != 0) | (b != 0)
  a, b = a[keep], b[keep]
  if c + np.sum(a) > 0:  # the mean of Q
    return float(1.0 - _upper_tail(-a, b, -c))
  return float(_upper_tail(a, b, c))


def _upper_tail(a: np.ndarray, b: np.ndarray, c: float) -> float:
  """P(Q > 0) for a mean of 0 or less."""
  if _supremum(a, b, c) <= 0:
    return 0.0
  s = _saddle(a, b, c)
  rest = 1 - 2 * s * a
  tau = 1 / math.sqrt(np.sum(2 * (a / rest) ** 2 + b * b / rest ** 3) + 1 / s ** 2)

  bend = _BEND * np.sign(c - np.sum(b[a != 0] ** 2 / (4 * a[a != 0])))

  def log_integrand(v):
    points = s + tau * (math.sin(bend) * (1 - np.cosh(v)) + 1j * math.cos(bend) * np.sinh(v))
    tangent = tau * (1j * math.cos(bend) * np.cosh(v) - math.sin(bend) * np.sinh(v))
    return _cumulant(points, a, b, c) + np.log(tangent / points)

  # exp(peak) is the size of the integrand; it is taken out so that nothing underflows.
  peak = log_integrand(np.zeros(1))[0].real
  grid = np.arange(0.0, 300.0, 0.5)
  # It falls from there on; the first place, because far out rounding of the cancelling parts of K takes over.
  end = grid[np.argmax(log_integrand(grid).real - peak < -_NEGLIGIBLE)]
  values = lambda v: np.sum(np.exp(log_integrand(v) - peak).imag)
  step = 0.125
  total = values(np.arange(step, end, step)) + 0.5  # the integrand is 1 at v = 0, and its imaginary part even
  estimate = step * total
  for _ in range(_MAX_HALVINGS):
    total += values(np.arange(step / 2, end, step))
    step /= 2
    previous, estimate = estimate, step * total
    if abs(estimate - previous) <= _TOLERANCE * abs(estimate):
      break
  return min(1.0, max(0.0, math.exp(peak) * estimate / math.pi))


def _supremum(a: np.ndarray, b: np.ndarray, c: float) -> float:
  if np.any(a > 0) or np.any((a == 0) & (b != 0)):
    return math.inf
  return c + float(np.sum(b * b / (-4 * a)))


def _cumulant(s: np.ndarray, a: np.ndarray, b: np.ndarray, c: float) -> np.ndarray:
  """K at complex points s [N]."""
  out = c * s
  rows = max(1, _CHUNK // max(1, a.size))
  for i in range(0, len(s), rows):
    point = s[i:i + rows, None]
    rest = 1 - 2 * a * point
    out[i:i + rows] -= 0.5 * np.sum(np.log(rest), axis=1)
    if np.any(b):
      # As s (b s / rest) b / 2: s^2 alone may overflow.
      out[i:i + rows] += 0.5 * np.sum((b * point) * (b * point / rest), axis=1)
  return out


def _saddle(a: np.ndarray, b: np.ndarray, c: float) -> float:
  """The minimum of K(s) - log s for s > 0 within the domain of K."""
  top = np.max(a)

  def slope(s):
    rest = 1 - 2 * s * a
    return s * (c + np.sum(a / rest + s * b * b * (1 - s * a) / rest ** 2)) - 1

  if top > 0:
    # s = s_max / (1 + exp(-y)), and 1 - 2 s a is at least 1 / (2 T) or so at the minimum.
    place = lambda y: 1 / (2 * top * (1 + math.exp(-y)))
    low, high = -700.0, 34.0
  else:
    place, low, high = math.exp, -200.0, 300.0
  return place(optimize.brentq(lambda y: slope(place(y)), low, high, xtol=1e-6))
