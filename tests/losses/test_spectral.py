"""Short-time spectra against scipy, and distances between them."""
import numpy as np
import pytest
import scipy.signal

from inverse_matching.errors import InputError
from inverse_matching.losses import spectral

SETTINGS = dict(fft_size=64, window=48, hop=12)
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 3, 400)).astype(np.float32)


def stft64(x):
  """In float64."""
  frames = np.stack([x[:, s:s + 48] for s in range(0, 400 - 48 + 1, 12)], 1)
  return np.fft.rfft(frames * scipy.signal.windows.hann(48, sym=False), 64)


def test_stft_is_that_of_scipy():
  """Frames inside the signal, a periodic Hann window, zeros behind it."""
  np.testing.assert_allclose(spectral.stft(A, **SETTINGS), stft64(A), atol=1e-4)


@pytest.mark.parametrize('kind,exponent', [('magnitude', 1), ('power', 2)])
def test_a_value_by_hand(kind, exponent):
  """The mean squared difference of |STFT| or of its square, over frames and frequencies; or that of its means over time."""
  difference = np.abs(stft64(A))**exponent - np.abs(stft64(B))**exponent
  expected = {False: np.square(difference).mean((1, 2)), True: np.square(difference.mean(1)).mean(1)}
  for time_average, value in expected.items():
    np.testing.assert_allclose(spectral.distance(kind, **SETTINGS, time_average=time_average)(A, B), value, rtol=1e-4)


@pytest.mark.parametrize('kind', spectral.KINDS)
@pytest.mark.parametrize('time_average', [False, True])
def test_distance(kind, time_average):
  """Zero at equality, symmetric, positive; blind to sign always and to time when averaged over it."""
  measure = spectral.distance(kind, **SETTINGS, time_average=time_average)
  np.testing.assert_allclose(measure(A, A), 0, atol=1e-6)
  np.testing.assert_allclose(measure(A, -A), 0, atol=1e-6)
  np.testing.assert_allclose(measure(A, B), measure(B, A), rtol=1e-6)
  assert np.all(measure(A, B) > 0.01)
  late = np.zeros((1, 400), np.float32)
  late[:, 300:340] = 1
  early = np.roll(late, -240)  # by a whole number of hops
  assert (measure(late, early)[0] < 1e-3 * measure(late, 0 * late)[0]) == time_average


def test_the_power_of_a_tone():
  """A sine of amplitude a at the centre of a bin has |STFT| = a / 2 times the sum of the window there."""
  time = np.arange(400)
  tone = 0.3 * np.sin(2 * np.pi * 8 / 64 * time)[None].astype(np.float32)
  spectrum = np.abs(spectral.stft(tone, **SETTINGS))[0]
  np.testing.assert_allclose(spectrum[:, 8], 0.15 * 24, rtol=1e-3)


def test_frames_with_samples_that_do_not_count_are_left_out():
  """Only whole frames of what counts are compared."""
  mask = np.zeros((3, 400), np.float32)
  mask[:, 120:300] = 1
  changed = A.copy()
  changed[:, :120] += 3
  changed[:, 300:] -= 3
  measure = spectral.distance('magnitude', **SETTINGS)
  np.testing.assert_allclose(measure(A, changed, mask), 0, atol=1e-6)
  np.testing.assert_allclose(measure(A, B, mask), measure(A[:, 120:300], B[:, 120:300]), rtol=1e-5)


def test_refusals():
  """Unknown kinds, windows that do not fit."""
  with pytest.raises(InputError, match='Unknown spectrum .mel.'):
    spectral.distance('mel', **SETTINGS)
  with pytest.raises(InputError, match='shorter than the window'):
    spectral.stft(A[:, :20], **SETTINGS)
  with pytest.raises(InputError, match='1 <= window <= fft_size'):
    spectral.stft(A, fft_size=16, window=48, hop=12)
