"""Prior distributions over Z."""
import math

import jax.numpy as jnp
import numpy as np

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.types import Prior, check_event


def _filled(event_shape: tuple[int | None, ...], length: int | None) -> tuple[int, ...]:
  if (length is None) == (None in event_shape):
    raise InputError(f'A draw of event shape {event_shape} takes {"a" if length is None else "no"} length of an open time '
                     'axis.')
  return tuple(length if n is None else n for n in event_shape)


def standard_normal(event_shape: tuple[int | None, ...]) -> Prior:
  """Independent N(0, 1) in each dimension."""

  def log_density(z):
    check_event('z', z, event_shape)
    return -0.5 * (jnp.square(z) + math.log(2 * math.pi))

  return Prior(lambda keys, length=None: random.normal(keys, _filled(event_shape, length)), log_density)


def uniform(event_shape: tuple[int | None, ...]) -> Prior:
  """Independent U(0, 1) in each dimension; the density is zero outside."""

  def log_density(z):
    check_event('z', z, event_shape)
    return jnp.where((z >= 0) & (z <= 1), jnp.zeros_like(z), -jnp.inf)

  return Prior(lambda keys, length=None: random.uniform(keys, _filled(event_shape, length)), log_density)


def is_standard_normal(prior: Prior, event_shape: tuple[int | None, ...]) -> bool:
  """Whether the density is that of N(0, I), tried at two points; a time axis of variable length counts as one step."""
  z = np.stack([np.zeros([n or 1 for n in event_shape], np.float32), np.full([n or 1 for n in event_shape], 1.5, np.float32)])
  return bool(np.allclose(prior.log_density(z), standard_normal(event_shape).log_density(z), rtol=1e-4))
