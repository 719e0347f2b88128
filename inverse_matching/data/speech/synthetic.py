"""Speech-like sound with no recordings: pulse trains through formants, fricatives and pauses. For tests and small trials."""
from typing import Sequence

import numpy as np

# Formants of five vowels in Hz, and their bandwidths.
VOWELS = np.array([[730, 1090, 2440, 3400], [270, 2290, 3010, 3500], [300, 870, 2240, 3300], [530, 1840, 2480, 3500],
                   [570, 840, 2410, 3300]])
BANDWIDTHS = np.array([80, 100, 140, 200])
F0 = (90.0, 200.0)  # Hz
LEVEL = 0.1  # root mean square of a vowel at its loudest
PAUSE = 1e-4  # of the noise in a pause
SYLLABLE = 0.35  # seconds: a fricative, a vowel, a pause


def utterance(rng: np.random.Generator, rate: int, num_syllables: int = 2) -> np.ndarray:
  """A waveform [T] float32 of so many syllables, each SYLLABLE seconds long.

  The pitch falls by a quarter to a half in a vowel, from a value in F0; the vowels follow each other at random.
  """
  return np.concatenate([_syllable(rng, rate) for _ in range(num_syllables)]).astype(np.float32)


def _filter(b: Sequence[float], a: Sequence[float], x: np.ndarray) -> np.ndarray:
  from scipy import signal  # slow to import
  return signal.lfilter(b, a, x)


def _syllable(rng: np.random.Generator, rate: int) -> np.ndarray:
  fricative = _filter([1, -0.95], [1], rng.normal(size=int(0.08 * rate))) * LEVEL / 8
  vowel = _vowel(rng, rate, int(0.2 * rate))
  pause = np.zeros(int(SYLLABLE * rate) - len(fricative) - len(vowel))
  sound = np.concatenate([fricative * np.hanning(len(fricative)), vowel, pause])
  return sound + PAUSE * rng.normal(size=len(sound))


def _vowel(rng: np.random.Generator, rate: int, length: int) -> np.ndarray:
  f0 = np.geomspace(1, rng.uniform(0.5, 0.75), length) * rng.uniform(*F0)
  phase = np.cumsum(f0 / rate) + rng.uniform()
  pulses = np.diff(np.floor(phase), prepend=np.floor(phase[0]))
  breath = 0.01 * rng.normal(size=length)
  sound = _filter([1], np.convolve([1, -0.95], [1, -0.8]), pulses + breath)  # falls with frequency, as the voice
  for formant, bandwidth in zip(VOWELS[rng.integers(len(VOWELS))], BANDWIDTHS):
    radius = np.exp(-np.pi * bandwidth / rate)
    denominator = [1, -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2]
    sound = _filter([sum(denominator)], denominator, sound)
  sound *= np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.03 * rate))
  return sound * LEVEL / np.sqrt(np.mean(sound**2))
