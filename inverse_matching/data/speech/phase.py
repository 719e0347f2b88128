"""Where the periods of a voice begin: the phase of its fundamental, which the features of WORLD do not have."""
import numpy as np

PERIODS = 3  # in a window
NUM_HARMONICS = 2
SIZE = 4 * NUM_HARMONICS  # of the features of a frame


def fundamental_phase(waveform: np.ndarray, f0: np.ndarray, hop: int, rate: int) -> np.ndarray:
  """Phase [F + 1] of the component of frequency f0, in radians, at the beginning of each frame and the end of the last.

  Args:
    waveform: [F hop].
    f0: [F] in Hz at the beginning of each frame, positive.
    hop: samples of a frame.
    rate: Hz.
  """
  f0 = np.append(f0, f0[-1])[:, None]
  half = int(np.ceil(PERIODS / 2 * rate / f0.min()))
  padded = np.pad(waveform.astype(np.float64), (half, half + 1))
  windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)[::hop]
  times = np.arange(-half, half + 1) / rate
  cycles = times * f0
  hann = np.where(np.abs(cycles) < PERIODS / 2, 0.5 + 0.5 * np.cos(2 * np.pi * cycles / PERIODS), 0)
  return np.angle((windows * hann * np.exp(-2j * np.pi * cycles)).sum(1))


def features(waveform: np.ndarray, f0: np.ndarray, voiced: np.ndarray, hop: int, rate: int) -> np.ndarray:
  """Cosines and sines of the phases of the first harmonics at both ends of each frame [F, SIZE] float32, 0 where unvoiced.

  Args:
    waveform: [F hop].
    f0: [F] in Hz, positive; between voiced frames any.
    voiced: [F] bool.
    hop: samples of a frame.
    rate: Hz.
  """
  phase = fundamental_phase(waveform, f0, hop, rate)
  ends = np.stack([phase[:-1], phase[1:]], axis=1)
  angles = (ends[:, None] * np.arange(1, NUM_HARMONICS + 1)[:, None]).reshape(len(ends), -1)
  return (np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * voiced[:, None]).astype(np.float32)
