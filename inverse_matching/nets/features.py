"""Features of frames, on which networks over waveforms are conditioned."""
import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.types import Cond


def check_features(cond: Cond, length: int, num_features: int, hop: int | None = None) -> None:
  """Raises InputError unless cond is [B, F, num_features] for waveforms [B, T] of T = F hop samples, or None if there are none.

  Args:
    cond: to check.
    length: T.
    num_features: 0 for a network without features.
    hop: samples in a frame; None for any that fits.
  """
  if num_features == 0:
    if cond is not None:
      raise InputError('This model takes no features, but cond is given: set num_features, or leave cond out.')
    return
  shape = None if cond is None else jnp.shape(cond)
  fits = shape is not None and len(shape) == 3 and shape[1] > 0 and shape[2] == num_features
  if fits and length == shape[1] * (hop or length // shape[1]):
    return
  given = 'is missing' if shape is None else f'has shape {list(shape)}'
  wanted = f'[B, {length // hop}, {num_features}]' if hop else f'[B, F, {num_features}], where F divides that number'
  raise InputError(f'cond {given}: {length} samples take features {wanted}.')
