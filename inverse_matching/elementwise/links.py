"""From t = logit of a CDF to z: the last step of every map that is made from a distribution function.

A CDF F is carried as t = log F(x) - log (1 - F(x)), which float32 holds to full relative precision in both tails, where F
itself has become 0 or 1.
"""
import math
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from inverse_matching import registry
from inverse_matching.elementwise import priors
from inverse_matching.types import Array, Elementwise, Prior

ABOVE_ZERO, BELOW_ONE = float(jnp.finfo(jnp.float32).tiny), 1 - float(jnp.finfo(jnp.float32).epsneg)  # nearest in float32
_LOG_NORMALISER = 0.5 * math.log(2 * math.pi)
_FAR = 12.0


class Link(NamedTuple):
  """A fixed increasing map from t, which has the standard logistic distribution, to z, which has that of the prior."""
  prior: Callable[[tuple[int, ...]], Prior]
  t_to_z: Callable[[Array], Array]
  z_to_t: Callable[[Array], Array]
  log_slope: Callable[[Array, Array], Array]  # (t, z) -> log dz/dt


def log_slope(t: Array) -> Array:
  """log of the standard logistic density at t: log dF/dt."""
  return jax.nn.log_sigmoid(t) + jax.nn.log_sigmoid(-t)


def log_hazard(y: Array) -> Array:
  """log of the normal density at y over the probability beyond y; to rounding for y of millions too, where both underflow."""
  near, far = jnp.minimum(y, _FAR), jnp.maximum(y, _FAR)
  square = 1 / jnp.square(far)
  # The asymptotic series of Mills' ratio: at _FAR its next term is below the rounding of float32.
  series = jnp.log(far) - jnp.log1p(-square * (1 - square * (3 - 15 * square)))
  return jnp.where(y < _FAR, _log_normal(near) - log_ndtr(-near), series)


@jax.custom_jvp
def normal_quantile(t: Array) -> Array:
  """The z at which the standard normal CDF has logit t; accurate at |t| of thousands too, where the CDF is 0 or 1."""
  tail = jax.nn.log_sigmoid(-jnp.abs(t))
  # log Phi is concave, so Newton's method from the left of the root never leaves it. Both bounds are left of the root: the
  # tangent at t = 0, and Phi(-y) <= exp(-y^2 / 2) / 2.
  z = jnp.maximum(-math.sqrt(math.pi / 8) * jnp.abs(t), -jnp.sqrt(-2 * tail))
  for _ in range(4):
    z = z - (log_ndtr(z) - tail) * jnp.exp(-log_hazard(-z))
  return -jnp.sign(t) * z


@normal_quantile.defjvp
def _normal_quantile_jvp(primals, tangents):
  z = normal_quantile(*primals)
  return z, jnp.exp(_normal_log_slope(*primals, z)) * tangents[0]


def _normal_log_slope(t: Array, z: Array) -> Array:
  # The logistic density at t is F(t) F(-t), and F(-|t|) is the probability beyond |z|: no difference of large numbers is left.
  return jax.nn.log_sigmoid(jnp.abs(t)) - log_hazard(jnp.abs(z))


def _log_normal(z: Array) -> Array:
  return -0.5 * jnp.square(z) - _LOG_NORMALISER


def _logit(z: Array) -> Array:
  z = jnp.clip(z, ABOVE_ZERO, BELOW_ONE)  # a z that was rounded to 0 or 1 has a finite x
  return jnp.log(z) - jnp.log1p(-z)


# 'uniform': z = F(x). 'normal': z = Phi^-1(F(x)), which keeps its precision in the tails and is what students see by default.
LINKS = {
    'normal': Link(priors.standard_normal, normal_quantile, lambda z: log_ndtr(z) - log_ndtr(-z), _normal_log_slope),
    'uniform': Link(priors.uniform, lambda t: jnp.exp(jax.nn.log_sigmoid(t)), _logit, lambda t, z: log_slope(t)),
}


def through(prior: str, *, num_params: int, split: Callable[[Array], Any], x_to_t: Callable[[Array, Any], tuple[Array, Array]],
            t_to_x: Callable[[Array, Any], Array], **fields) -> Elementwise:
  """The map x -> t -> z.

  Args:
    prior: in LINKS.
    num_params, split: see Elementwise.
    x_to_t: (x, theta) -> (t, log dt/dx), t the logit of the CDF.
    t_to_x: (t, theta) -> x.
    **fields: other fields of Elementwise.

  Raises:
    InputError: unknown prior.
  """
  link = registry.choose('prior', LINKS, prior)

  def x_to_z(x, theta):
    t, slope = x_to_t(x, theta)
    z = link.t_to_z(t)
    return z, slope + link.log_slope(t, z)

  return Elementwise(num_params, split, link.prior, x_to_z, lambda z, theta: t_to_x(link.z_to_t(z), theta), **fields)
