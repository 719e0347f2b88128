"""Discrete data: x = k + u with k in 0..levels - 1 and noise u in (0, 1).

The network sees k alone. Under the model z = P(K < k) + u p(k) is uniform, and log dz/dx = log p(k), so that the likelihood
of x is that of k: exact, not a bound. Both are carried as logarithms from below and from above (see links).
"""
import math
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp

from inverse_matching.elementwise import links, mixtures
from inverse_matching.elementwise.mixtures import Mixture
from inverse_matching.errors import check_at_least
from inverse_matching.types import Array, Elementwise


class Categorical(NamedTuple):
  """theta of categorical conditionals."""
  logits: Array  # [B, *event, levels]


class Distribution(NamedTuple):
  """A distribution over 0..levels - 1, for every dimension."""
  log_below: Callable[[Array], Array]  # k in 0..levels -> log P(K < k)
  log_above: Callable[[Array], Array]  # k in 0..levels -> log P(K >= k)
  log_prob: Callable[[Array], Array]  # k in 0..levels - 1 -> log p(k)


def level(x: Array, levels: int) -> Array:
  """k = floor(x) of x = k + u, as a float in 0..levels - 1."""
  return jnp.clip(jnp.floor(x), 0, levels - 1)


def join(k: Array, u: Array) -> Array:
  """x = k + u, kept below k + 1 where the sum rounds up to it."""
  return jnp.minimum(k + u, jnp.nextafter(k + 1, 0.0))


def _discrete(levels: int, prior: str, num_params: int, split: Callable[[Array], Any],
              distribution_of: Callable[[Any], Distribution]) -> Elementwise:
  check_at_least(2, levels=levels)

  def x_to_t(x, theta):
    distribution = distribution_of(theta)
    k = level(x, levels)
    u, log_prob = jnp.clip(x - k, links.ABOVE_ZERO, links.BELOW_ONE), distribution.log_prob(k)
    log_low = jnp.logaddexp(distribution.log_below(k), jnp.log(u) + log_prob)
    log_high = jnp.logaddexp(distribution.log_above(k + 1), jnp.log1p(-u) + log_prob)
    return log_low - log_high, log_prob - log_low - log_high

  def t_to_x(t, theta):
    distribution = distribution_of(theta)
    # The last k with P(K < k) <= z, found bit by bit.
    k = jnp.zeros_like(t)
    for bit in reversed(range(math.ceil(math.log2(levels)))):
      higher = k + 2**bit
      log_low, log_high = distribution.log_below(higher), distribution.log_above(higher)
      k = jnp.where((higher < levels) & (log_low - log_high <= t), higher, k)
    log_prob = distribution.log_prob(k)
    log_low, log_high = jax.nn.log_sigmoid(t), jax.nn.log_sigmoid(-t)
    from_below, from_above = (-jnp.expm1(jnp.minimum(outside - log_z, 0.0)) * jnp.exp(jnp.minimum(log_z - log_prob, 80.0))
                              for outside, log_z in ((distribution.log_below(k), log_low),
                                                     (distribution.log_above(k + 1), log_high)))
    return join(k, jnp.clip(jnp.where(t < 0, from_below, 1 - from_above), 0.0, 1.0))

  return links.through(prior, num_params=num_params, split=split, x_to_t=x_to_t, t_to_x=t_to_x, differentiable=False,
                       levels=levels)


def categorical(*, levels: int, prior: str = 'normal') -> Elementwise:
  """k_t from a softmax over all levels (van den Oord et al., 2016).

  Args:
    levels: number of values.
    prior: see links.LINKS.
  """

  def distribution_of(theta):
    log_prob = jax.nn.log_softmax(theta.logits)
    index = jnp.arange(levels)

    def total(chosen):
      # Not a table by cumlogsumexp: XLA's CPU backend computes its entries anew for each that is read.
      return jax.nn.logsumexp(jnp.where(chosen, log_prob, -jnp.inf), axis=-1)

    def at(k):
      return jnp.take_along_axis(log_prob, jnp.clip(k, 0, levels - 1).astype(jnp.int32)[..., None], axis=-1)[..., 0]

    return Distribution(lambda k: total(index < k[..., None]), lambda k: total(index >= k[..., None]), at)

  return _discrete(levels, prior, levels, Categorical, distribution_of)


def discretized_mixture_of_logistics(*, levels: int, num_mixtures: int = 5, prior: str = 'normal') -> Elementwise:
  """A mixture of K logistics rounded to the levels: PixelCNN++'s likelihood (Salimans et al., 2017, section 2.1).

  theta is in units in which the levels are spread over [-1, 1]; the first and last level get the tails.

  Args:
    levels: number of values.
    num_mixtures: K.
    prior: see links.LINKS.
  """
  check_at_least(1, num_mixtures=num_mixtures)

  def distribution_of(theta: Mixture):
    half = 1 / (levels - 1)  # of the width of a level
    log_weight = jax.nn.log_softmax(theta.logits)
    inverse_scale = jnp.exp(-theta.log_scale)

    def scaled(k):  # the edge below level k, from each component
      return ((2 * k - 1)[..., None] * half - 1 - theta.mean) * inverse_scale

    def mix(part):
      return jax.nn.logsumexp(log_weight + part, axis=-1)

    def log_below(k):
      return jnp.where(k <= 0, -jnp.inf, jnp.where(k >= levels, 0.0, mix(jax.nn.log_sigmoid(scaled(k)))))

    def log_above(k):
      return jnp.where(k <= 0, 0.0, jnp.where(k >= levels, -jnp.inf, mix(jax.nn.log_sigmoid(-scaled(k)))))

    def log_prob(k):
      # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), of which the end levels lack a factor and the last.
      first, last = (k <= 0)[..., None], (k >= levels - 1)[..., None]
      upper = jnp.where(last, 0.0, jax.nn.log_sigmoid(scaled(k + 1)))
      lower = jnp.where(first, 0.0, jax.nn.log_sigmoid(-scaled(k)))
      width = jnp.where(first | last, 0.0, jnp.log(-jnp.expm1(-2 * half * inverse_scale)))
      return mix(upper + lower + width)

    return Distribution(log_below, log_above, log_prob)

  return _discrete(levels, prior, 3 * num_mixtures, mixtures.split, distribution_of)
