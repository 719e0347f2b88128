"""WORLD features of speech, and speech from them (Morise, Yokomori and Ozawa, 2016), by pyworld.

A frame is 5 ms, `hop` samples; frame n is centred on sample n hop. Its features are, in this order,

- num_cepstra numbers of the spectral envelope (CheapTrick) on a mel scale,
- the logarithm of the fundamental frequency in Hz (DIO and StoneMask), interpolated where there is none,
- the voiced flag, 0 or 1,
- the aperiodicity (D4C) in dB at 3, 6, ... kHz, as many as lie 3 kHz below the Nyquist frequency: 0 at 8 kHz, 1 at 16 kHz.

This is what a vocoder is given. It says where the pitch periods repeat but not where they begin: there is no phase.
"""
import types

import numpy as np

from inverse_matching.errors import InputError

FRAMES_PER_SECOND = 200
RATES = (8000, 48000)  # Hz, the lowest and the highest
F0_RANGE = (71.0, 800.0)  # Hz, those of WORLD
QUIETEST = 1e-10  # power; 16-bit samples have noise of this power, so nothing below it comes from the recording
NO_F0 = 150.0  # Hz, in recordings without a voiced frame
SHORTEST = 0.1  # seconds; the native code is given no less
BAND = 3000  # Hz between the aperiodicities
APERIODICITY_RANGE = (-60.0, 0.0)  # dB, at zero and at the Nyquist frequency


def require_pyworld() -> types.ModuleType:
  """The module pyworld; InputError if it is not installed."""
  try:
    import pyworld
  except ImportError as error:
    raise InputError('WORLD features need pyworld, which is not installed: run '
                     "pip install 'inverse_matching[speech]'.") from error
  return pyworld


def hop(rate: int) -> int:
  """Samples in a frame of 5 ms; InputError if that is not a whole number, or the rate is one that WORLD does not serve."""
  if rate != int(rate) or rate % FRAMES_PER_SECOND or not RATES[0] <= rate <= RATES[1]:
    raise InputError(f'The rate is {rate} Hz, but WORLD frames of 5 ms need a multiple of {FRAMES_PER_SECOND} from {RATES[0]} '
                     f'to {RATES[1]}: use 8000, 16000, 22000 or 24000.')
  return int(rate) // FRAMES_PER_SECOND


def num_bands(rate: int) -> int:
  """Numbers of aperiodicity in a frame."""
  return int(min(5 * BAND, rate / 2 - BAND) // BAND)


def default_num_cepstra(rate: int) -> int:
  """24 below 16 kHz, else 60."""
  return 24 if rate < 16000 else 60


def names(rate: int, num_cepstra: int) -> tuple[str, ...]:
  """What each of the D features is: 'cepstrum_0', ..., 'log_f0', 'voiced', 'aperiodicity_3000', ..."""
  hop(rate)
  if not 2 <= num_cepstra <= 120:
    raise InputError(f'num_cepstra is {num_cepstra}: choose 2 to 120.')
  return (*(f'cepstrum_{i}' for i in range(num_cepstra)), 'log_f0', 'voiced',
          *(f'aperiodicity_{BAND * (i + 1)}' for i in range(num_bands(rate))))


def _checked(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
  """(samples as the native code needs them, number of frames)."""
  waveform = np.asarray(waveform)
  if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
    raise InputError(f'A waveform is one row of floating-point samples, got shape {waveform.shape} of {waveform.dtype}: '
                     'take one channel, and divide integers by their full scale.')
  num_frames = len(waveform) // hop(rate)
  if not num_frames:
    raise InputError(f'The recording has {len(waveform)} samples at {rate} Hz, less than one frame of {hop(rate)}: leave it '
                     'out.')
  if not np.isfinite(waveform).all():
    raise InputError('The recording has samples that are NaN or infinite: leave it out, or look where a number was lost.')
  waveform = waveform[:num_frames * hop(rate)].astype(np.float64)
  return np.pad(waveform, (0, max(0, int(SHORTEST * rate) - len(waveform)))), num_frames


def _f0(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
  pyworld = require_pyworld()
  coarse, times = pyworld.dio(samples, rate, f0_floor=F0_RANGE[0], f0_ceil=F0_RANGE[1],
                              frame_period=1000 / FRAMES_PER_SECOND)
  return pyworld.stonemask(samples, coarse, times, rate), times


def fundamental(waveform: np.ndarray, rate: int) -> np.ndarray:
  """Fundamental frequency [F] in Hz, 0 where unvoiced, of a waveform [T]; F = T // hop. See `analyse` for what it refuses."""
  samples, num_frames = _checked(waveform, rate)
  return _f0(samples, rate)[0][:num_frames]


def envelope(waveform: np.ndarray, f0: np.ndarray, rate: int) -> np.ndarray:
  """Power of the spectral envelope [F, K] at K frequencies from 0 to rate / 2; white noise has its variance at each.

  Args:
    waveform: [T].
    f0: its `fundamental` [F].
    rate: Hz.
  """
  samples, num_frames = _checked(waveform, rate)
  times = np.arange(num_frames) / FRAMES_PER_SECOND
  return require_pyworld().cheaptrick(samples, np.ascontiguousarray(f0[:num_frames], np.float64), times, rate)


def to_cepstrum(power: np.ndarray, rate: int, num_cepstra: int) -> np.ndarray:
  """[F, num_cepstra] of the power of an envelope [F, K]: cosine transform of the log power on a mel scale."""
  power = np.ascontiguousarray(np.maximum(power, QUIETEST), np.float64)
  return require_pyworld().code_spectral_envelope(power, rate, num_cepstra)


def analyse(waveform: np.ndarray, rate: int, num_cepstra: int) -> np.ndarray:
  """Features [F, D] float32 of a waveform [T]; F = T // hop, and the rest of T is left out. Finite for any recording.

  Args:
    waveform: in [-1, 1].
    rate: Hz.
    num_cepstra: numbers of the spectral envelope in a frame.

  Raises:
    InputError: the waveform is shorter than a frame or has samples that are not finite, or the rate does not serve.
  """
  width = len(names(rate, num_cepstra))
  samples, num_frames = _checked(waveform, rate)
  pyworld = require_pyworld()
  f0, times = (values[:num_frames] for values in _f0(samples, rate))
  power = pyworld.cheaptrick(samples, f0, times, rate)
  columns = [to_cepstrum(power, rate, num_cepstra), _log_f0(f0)[:, None], f0[:, None] > 0]
  if num_bands(rate):  # pyworld fails where there are none
    columns.append(pyworld.code_aperiodicity(pyworld.d4c(samples, f0, times, rate), rate))
  features = np.concatenate(columns, 1).astype(np.float32)
  assert features.shape == (num_frames, width) and np.isfinite(features).all()
  return features


def _log_f0(f0: np.ndarray) -> np.ndarray:
  """[F], linear between voiced frames and constant before the first and after the last."""
  voiced, = np.nonzero(f0)
  if not len(voiced):
    return np.full(len(f0), np.log(NO_F0))
  return np.interp(np.arange(len(f0)), voiced, np.log(f0[voiced]))


def resynthesise(features: np.ndarray, rate: int, *, whisper: bool = False) -> np.ndarray:
  """Speech [F hop] float32 from features [F, D] by WORLD: what a vocoder is measured against.

  Args:
    features: of `analyse`, not normalised.
    rate: Hz.
    whisper: noise in the place of the voice, with the same spectral envelope.

  Raises:
    InputError: the features are not [F, D] of that rate, or not finite.
  """
  pyworld, num_samples = require_pyworld(), hop(rate) * len(features)
  num_cepstra = np.shape(features)[-1] - 2 - num_bands(rate) if np.ndim(features) == 2 else 0
  if num_cepstra < 2 or not num_samples or not np.isfinite(features).all():
    raise InputError(f'Features of shape {np.shape(features)} are not those of WORLD at {rate} Hz, finite numbers [frames, '
                     f'num_cepstra + {2 + num_bands(rate)}]: give what analyse() returned, not normalised.')
  features = np.asarray(features, np.float64)
  size = pyworld.get_cheaptrick_fft_size(rate)
  power = pyworld.decode_spectral_envelope(np.ascontiguousarray(features[:, :num_cepstra]), rate, size)
  voiced = (features[:, num_cepstra + 1] > 0.5) & (not whisper)
  f0 = np.where(voiced, np.exp(np.clip(features[:, num_cepstra], *np.log(F0_RANGE))), 0.0)
  aperiodicity = _aperiodicity(features[:, num_cepstra + 2:], rate, size // 2 + 1)
  aperiodicity[~voiced] = 1.0
  samples = pyworld.synthesize(f0, power, aperiodicity, rate, 1000 / FRAMES_PER_SECOND)
  return np.pad(samples[:num_samples], (0, max(0, num_samples - len(samples)))).astype(np.float32)


def _aperiodicity(bands: np.ndarray, rate: int, num_frequencies: int) -> np.ndarray:
  """Aperiodic share of the amplitude [F, K] from that of the bands [F, N] in dB: linear in dB, as WORLD decodes it."""
  frequencies = np.linspace(0, rate / 2, num_frequencies)
  knots = [*(BAND * i for i in range(bands.shape[1] + 1)), rate / 2]
  low, high = APERIODICITY_RANGE
  decibels = np.array([np.interp(frequencies, knots, [low, *frame, high]) for frame in bands])
  return 10**(np.minimum(decibels, high) / 20)
