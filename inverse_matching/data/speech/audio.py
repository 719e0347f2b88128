"""Recordings as files: reading wav and flac, changing the rate, writing wav."""
import io
import math
import os
import pathlib
import types
from typing import NamedTuple
import wave

from absl import logging
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import files

SUFFIXES = ('.wav', '.flac')
FULL_SCALE = 32768  # of 16-bit samples
MOST_SAMPLES = 2**25  # of a file, in all channels: flac packs silence so well that a small file can hold days of it
LOUDEST = 2.0  # of full scale, in a file of floats; beyond it the file means another scale


class Recording(NamedTuple):
  """A recording, and what it was in its file."""
  waveform: np.ndarray  # [T] float32 in [-1, 1]
  rate: int  # Hz
  file_rate: int  # Hz
  num_channels: int  # in the file; the waveform is their mean


def require_soundfile() -> types.ModuleType:
  """The module soundfile; InputError if it is not installed."""
  try:
    import soundfile
  except (ImportError, OSError) as error:  # OSError: the C library below it is missing
    raise InputError('Reading recordings needs soundfile, which is not installed: run '
                     "pip install 'inverse_matching[speech]'.") from error
  return soundfile


def read(path: str | os.PathLike, rate: int | None = None) -> Recording:
  """Reads a wav or flac file as one channel.

  Silence and clipped recordings are taken as they are.

  Args:
    path: of the file.
    rate: Hz, to which the recording is brought; None leaves that of the file.

  Raises:
    InputError: the file is missing, empty, not a recording, longer than MOST_SAMPLES, or has samples that are not finite or
      not in [-1, 1].
  """
  soundfile, path = require_soundfile(), pathlib.Path(path)
  try:
    # From memory: libsndfile tells a missing file from a damaged one in words of its own.
    with soundfile.SoundFile(io.BytesIO(path.read_bytes())) as file:
      size, file_rate = file.frames * file.channels, file.samplerate
      samples = file.read(dtype='float32', always_2d=True) if size <= MOST_SAMPLES else None
  except OSError as error:
    raise InputError(f'{path} cannot be read ({error.strerror or error}): name a wav or flac file.') from error
  except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, MemoryError) as error:
    raise InputError(f'{path} is not a recording that can be read: it must be a whole wav or flac file; remove it or record it '
                     'again.') from error
  if samples is None:
    raise InputError(f'{path} has {size} samples, and a recording may have {MOST_SAMPLES} (35 minutes at 16 kHz): cut it into '
                     'shorter ones.')
  if not samples.size:
    raise InputError(f'{path} holds no samples: remove it or record it again.')
  if not np.isfinite(samples).all():
    raise InputError(f'{path} has samples that are NaN or infinite: remove it or record it again.')
  if (peak := np.abs(samples).max()) > LOUDEST:
    raise InputError(f'{path} has samples up to {peak:g}, and full scale is 1: divide them by their full scale.')
  if samples.shape[1] > 1:
    logging.log_first_n(logging.INFO, '%s has %d channels: the mean of the channels is taken, here and of others.', 1, path,
                        samples.shape[1])
  waveform = samples.mean(1) if samples.shape[1] > 1 else samples[:, 0]
  waveform = resample(waveform, file_rate, rate or file_rate)
  return Recording(np.clip(waveform, -1, 1), rate or file_rate, file_rate, samples.shape[1])


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
  """[T] float32 at another rate (Hz), by a polyphase filter that keeps what is below both Nyquist frequencies."""
  if rate == new_rate:
    return np.ascontiguousarray(waveform, np.float32)
  from scipy import signal  # slow to import
  divisor = math.gcd(rate, new_rate)
  return signal.resample_poly(waveform, new_rate // divisor, rate // divisor).astype(np.float32)


def to_int16(waveform: np.ndarray) -> np.ndarray:
  """16-bit samples of a waveform, cut at full scale."""
  return np.clip(np.rint(np.asarray(waveform, np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
  """The waveform, float32 in [-1, 1), of 16-bit samples."""
  return samples.astype(np.float32) / FULL_SCALE


def write(path: str | os.PathLike, waveform: np.ndarray, rate: int) -> None:
  """Writes [T] as a 16-bit wav file, whole or not at all; what is past full scale is cut. Needs no further package.

  Raises:
    InputError: the samples are not [T] or not finite, or the file cannot be written.
  """
  waveform = np.asarray(waveform)
  if waveform.ndim != 1 or not np.isfinite(waveform).all():
    raise InputError(f'{path} is to hold samples of shape {waveform.shape}, which must be one row of finite numbers: write one '
                     'waveform, and look where a number was lost.')
  buffer = io.BytesIO()
  with wave.open(buffer, 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes(to_int16(waveform).astype('<i2').tobytes())
  files.write_bytes(path, buffer.getvalue())
