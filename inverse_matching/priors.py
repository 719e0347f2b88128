"""Prior distributions over Z."""
import math

import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.types import Array, Prior, check_event


def _sum_event(value: Array) -> Array:
  return jnp.sum(value.reshape(value.shape[0], -1), axis=-1)


def standard_normal(event_shape: tuple[int, ...]) -> Prior:
  """Independent N(0, 1) in each dimension."""

  def log_prob(z):
    check_event('z', z, event_shape)
    return _sum_event(-0.5 * (jnp.square(z) + math.log(2 * math.pi)))

  return Prior(sample=lambda keys: random.normal(keys, event_shape), log_prob=log_prob)


def uniform(event_shape: tuple[int, ...]) -> Prior:
  """Independent U(0, 1) in each dimension; log_prob is -inf outside."""

  def log_prob(z):
    check_event('z', z, event_shape)
    return _sum_event(jnp.where((z >= 0) & (z <= 1), 0.0, -jnp.inf))

  return Prior(sample=lambda keys: random.uniform(keys, event_shape), log_prob=log_prob)
