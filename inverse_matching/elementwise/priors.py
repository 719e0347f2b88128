"""Prior distributions over Z."""
import math

import jax.numpy as jnp
import numpy as np

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.types import Array, Prior, check_event


def _sum_event(value: Array) -> Array:
  return jnp.sum(value.reshape(value.shape[0], -1), axis=-1)


def _filled(event_shape: tuple[int | None, ...], length: int | None) -> tuple[int, ...]:
  if (length is None) == (None in event_shape):
    raise InputError(f'A draw of event shape {event_shape} takes {"a" if length is None else "no"} length of an open time '
                     'axis.')
  return tuple(length if n is None else n for n in event_shape)


def standard_normal(event_shape: tuple[int | None, ...]) -> Prior:
  """Independent N(0, 1) in each dimension."""

  def log_prob(z):
    check_event('z', z, event_shape)
    return _sum_event(-0.5 * (jnp.square(z) + math.log(2 * math.pi)))

  return Prior(sample=lambda keys, length=None: random.normal(keys, _filled(event_shape, length)), log_prob=log_prob)


def uniform(event_shape: tuple[int | None, ...]) -> Prior:
  """Independent U(0, 1) in each dimension; log_prob is -inf outside."""

  def log_prob(z):
    check_event('z', z, event_shape)
    return _sum_event(jnp.where((z >= 0) & (z <= 1), 0.0, -jnp.inf))

  return Prior(sample=lambda keys, length=None: random.uniform(keys, _filled(event_shape, length)), log_prob=log_prob)


def is_standard_normal(prior: Prior, event_shape: tuple[int | None, ...]) -> bool:
  """Whether log_prob is that of N(0, I), tried at two points; a time axis of variable length counts as one step."""
  z = np.stack([np.zeros([n or 1 for n in event_shape], np.float32), np.full([n or 1 for n in event_shape], 1.5, np.float32)])
  return bool(np.allclose(prior.log_prob(z), standard_normal(event_shape).log_prob(z), rtol=1e-4))
