"""Mixtures of logistics, and deep sigmoidal flows, which stack them."""
import functools
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp

from inverse_matching.elementwise import links, priors
from inverse_matching.errors import check_at_least
from inverse_matching.types import Array, Elementwise

MAX_STEPS = 64  # of the root finder, which takes about 8
_TOLERANCE = 4 * float(jnp.finfo(jnp.float32).eps)


class Mixture(NamedTuple):
  """theta of mixtures of K logistics."""
  logits: Array  # [B, *event, K], of the weights
  mean: Array  # [B, *event, K]
  log_scale: Array  # [B, *event, K]


def split(raw: Array) -> Mixture:
  """[..., 3 K] -> Mixture of [..., K]."""
  return Mixture(*jnp.split(raw, 3, axis=-1))


def logit_cdf(x: Array, theta: Mixture) -> tuple[Array, Array]:
  """(t, log dt/dx), t = logit F(x) for the CDF F of the mixture; x [...]."""
  y = (x[..., None] - theta.mean) * jnp.exp(-theta.log_scale)
  log_weight = jax.nn.log_softmax(theta.logits)
  below, above = jax.nn.log_sigmoid(y), jax.nn.log_sigmoid(-y)
  log_cdf, log_survival = (jax.nn.logsumexp(log_weight + part, axis=-1) for part in (below, above))
  # dt/dx = p / F + p / (1 - F), each a mean over the components that are there, so that nothing cancels far out.
  of_each = jnp.concatenate([jax.nn.log_softmax(log_weight + one) + other for one, other in ((below, above), (above, below))],
                            -1)
  scales = jnp.concatenate([theta.log_scale, theta.log_scale], -1)
  return log_cdf - log_survival, jax.nn.logsumexp(of_each - scales, axis=-1)


def _reciprocal(log_slope: Array) -> Array:
  return jnp.exp(jnp.minimum(-log_slope, 80.0))  # finite on a plateau, where there is no density


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def root(function: Callable[[Array, Any], tuple[Array, Array]], t: Array, theta: Any, low: Array, high: Array) -> Array:
  """The x in [low, high] at which an increasing function is t, each element by itself.

  Newton's method, with a bisection of the bracket in place of a step that leaves it or is more than half the one before, so
  that it converges from anywhere. The gradient is that of the implicit function.

  Args:
    function: (x, theta) -> (t, log dt/dx).
    t: target.
    theta: pytree of arrays.
    low: of the same shape as t; function(low) <= t.
    high: function(high) >= t.
  """

  def unfinished(state):
    return jnp.any(state[-1]) & (state[0] < MAX_STEPS)

  def step(state):
    count, x, low, high, last, active = state
    value, slope = function(x, theta)
    error = value - t
    low, high = jnp.where(error < 0, x, low), jnp.where(error > 0, x, high)
    newton = x - error * _reciprocal(slope)
    moved = jnp.abs(newton - x)
    # Lost in the noise of float32, in t or in x.
    done = (jnp.abs(error) <= _TOLERANCE * jnp.maximum(1.0, jnp.abs(t))) | (moved <= _TOLERANCE * jnp.abs(x))
    good = done | ((newton >= low) & (newton <= high) & (moved < 0.5 * last))
    new = jnp.where(active, jnp.where(good, jnp.clip(newton, low, high), low + 0.5 * (high - low)), x)
    return count + 1, new, low, high, jnp.abs(new - x), active & ~done

  start = low + 0.5 * (high - low)
  return jax.lax.while_loop(unfinished, step, (0, start, low, high, high - low, jnp.isfinite(start)))[1]


@root.defjvp
def _root_jvp(function, primals, tangents):
  t, theta, _, _ = primals
  dt, dtheta, _, _ = tangents
  x = root(function, *primals)
  (_, slope), (at_x, _) = jax.jvp(lambda theta: function(x, theta), (theta,), (dtheta,))
  return x, (dt - at_x) * _reciprocal(slope)


def quantile(t: Array, theta: Mixture) -> Array:
  """The x at which the mixture's CDF has logit t; undoes `logit_cdf`."""
  # Where all components are below t, so is the mixture.
  each = theta.mean + jnp.exp(theta.log_scale) * t[..., None]
  return root(logit_cdf, t, theta, jnp.min(each, axis=-1), jnp.max(each, axis=-1))


def _draw(u: Array, theta: Mixture) -> Array:
  weight = jax.nn.softmax(theta.logits)
  upper = jnp.cumsum(weight, axis=-1)
  chosen = jnp.sum(u[..., None] >= upper[..., :-1], axis=-1, keepdims=True)
  pick = lambda value: jnp.take_along_axis(value, chosen, axis=-1)[..., 0]
  # What is left of u, within the interval of the component, is uniform again.
  rest = jnp.clip(1 - (pick(upper) - u) / pick(weight), 1 - links.BELOW_ONE, links.BELOW_ONE)
  return pick(theta.mean) + jnp.exp(pick(theta.log_scale)) * (jnp.log(rest) - jnp.log1p(-rest))


def mixture_of_logistics(*, num_mixtures: int = 5, prior: str = 'normal') -> Elementwise:
  """x_t from a mixture of K logistics (Salimans et al., 2017, without the rounding); its CDF gives z.

  Args:
    num_mixtures: K.
    prior: see links.LINKS.
  """
  check_at_least(1, num_mixtures=num_mixtures)
  return links.through(prior, num_params=3 * num_mixtures, split=split, x_to_t=logit_cdf, t_to_x=quantile, sample=_draw)


def neural(*, num_units: int = 8, num_layers: int = 2) -> Elementwise:
  """A deep sigmoidal flow (Huang et al., 2018, section 3.1): z = f_L(... f_1(x)), f(x) = logit(sum_k w_k sigmoid(a_k x + b_k)).

  With a_k > 0 and weights that add to one, sigmoid(f) is the CDF of a mixture of logistics of means -b_k / a_k and scales
  1 / a_k, which is how theta, a Mixture of [B, *event, L, K], holds it. z is standard normal under the model.

  Args:
    num_units: K.
    num_layers: L.
  """
  check_at_least(1, num_units=num_units, num_layers=num_layers)

  def layers(theta):
    return [Mixture(*(part[..., i, :] for part in theta)) for i in range(num_layers)]

  def x_to_z(x, theta):
    total = 0.0
    for layer in layers(theta):
      x, slope = logit_cdf(x, layer)
      total = total + slope
    return x, total

  def z_to_x(z, theta):
    for layer in reversed(layers(theta)):
      z = quantile(z, layer)
    return z

  return Elementwise(3 * num_units * num_layers, lambda raw: split(raw.reshape(*raw.shape[:-1], num_layers, -1)),
                     priors.standard_normal, x_to_z, z_to_x)
