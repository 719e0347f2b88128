"""Short-time spectra, and distances between them."""
from typing import Callable

import jax.numpy as jnp
import numpy as np

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.types import Array

# kind -> function of the power |STFT|^2. The root has no gradient at zero, where a silent recording is.
KINDS = {'magnitude': lambda power: jnp.sqrt(power + 1e-10), 'power': lambda power: power}


def _frames(value: Array, window: int, hop: int) -> Array:
  """[B, T] -> [B, N, window], those that lie in the signal as a whole."""
  if value.shape[1] < window:
    raise InputError(f'A signal of {value.shape[1]} samples is shorter than the window of its spectrum, {window}: take longer '
                     'crops or a shorter window.')
  starts = np.arange(0, value.shape[1] - window + 1, hop)
  return value[:, starts[:, None] + np.arange(window)]


def stft(x: Array, *, fft_size: int, window: int, hop: int) -> Array:
  """Short-time Fourier transform with a Hann window, complex [B, N, fft_size // 2 + 1] of x [B, T].

  Args:
    x: signal.
    fft_size: length of the transform; a window that is shorter is padded with zeros.
    window: in samples.
    hop: in samples.

  Raises:
    InputError: the signal is shorter than a window, or the window longer than the transform.
  """
  if not 1 <= window <= fft_size or hop < 1:
    raise InputError(f'A spectrum needs 1 <= window <= fft_size and hop >= 1, got {window}, {fft_size} and {hop}.')
  hann = np.hanning(window + 1)[:-1].astype(np.float32)  # periodic
  return jnp.fft.rfft(_frames(x, window, hop) * hann, fft_size)


def distance(kind: str, *, fft_size: int, window: int, hop: int, time_average: bool = False) -> Callable[..., Array]:
  """(a, b [B, T], mask [B, T] or None) -> [B]: squared difference of short-time spectra, the mean over frequencies and frames.

  'power' is on |STFT|^2 (Parallel WaveNet, van den Oord et al., 2018, section 4.2), 'magnitude' on |STFT| (ClariNet, Ping et
  al., 2019, section 3.3). Frames that hold a sample that does not count are left out.

  Args:
    kind: in KINDS.
    fft_size: see stft.
    window: in samples.
    hop: in samples.
    time_average: whether spectra are averaged over time before they are compared; the average power of a band is then what
      must agree, whenever it sounds.

  Raises:
    InputError: unknown kind.
  """
  of_power = registry.choose('spectrum', KINDS, kind)

  def spectrum(x):
    transform = stft(x, fft_size=fft_size, window=window, hop=hop)
    return of_power(jnp.square(transform.real) + jnp.square(transform.imag))

  def measure(a: Array, b: Array, mask: Array | None = None) -> Array:
    weight = jnp.ones_like(a) if mask is None else mask
    weight = jnp.min(_frames(weight, window, hop), axis=-1)  # [B, N]
    mean = lambda v: jnp.sum(v * weight[..., None], 1, keepdims=True) / jnp.maximum(jnp.sum(weight, 1), 1)[:, None, None]
    a, b = spectrum(a), spectrum(b)
    if time_average:
      a, b = mean(a), mean(b)
    difference = jnp.square(a - b)
    return jnp.mean(difference if time_average else mean(difference), axis=(1, 2))

  return measure
