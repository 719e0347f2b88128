"""The phase of the voice: that of sines whose phase is known."""
import numpy as np
import pytest

from inverse_matching.data.speech import phase

RATE, HOP, FRAMES = 8000, 40, 60
TIMES = np.arange(HOP * FRAMES) / RATE
ENDS = np.arange(FRAMES + 1) * HOP / RATE
INSIDE = slice(8, -8)  # frames whose window lies within the waveform


def apart(a, b):
  """Angles between angles."""
  return np.abs(np.angle(np.exp(1j * (a - b))))


@pytest.mark.parametrize('f0', [90.0, 173.0, 260.0])
def test_a_sine(f0):
  """Its phase at the ends of frames, within 0.01, also beside other harmonics and noise."""
  rng = np.random.default_rng(0)
  clean = np.cos(2 * np.pi * f0 * TIMES + 0.7)
  other = 2 * np.cos(4 * np.pi * f0 * TIMES) + 0.1 * rng.standard_normal(len(TIMES))
  for waveform, error in ((clean, 0.01), (clean + other, 0.1)):
    got = phase.fundamental_phase(waveform, np.full(FRAMES, f0), HOP, RATE)
    assert got.shape == (FRAMES + 1,)
    assert apart(got, 2 * np.pi * f0 * ENDS + 0.7)[INSIDE].max() < error


def test_a_glide():
  """From 100 to 160 Hz, within 0.1."""
  f0 = 100 + 200 * ENDS
  waveform = np.cos(2 * np.pi * (100 * TIMES + 100 * TIMES**2))
  got = phase.fundamental_phase(waveform, f0[:-1], HOP, RATE)
  assert apart(got, 2 * np.pi * (100 * ENDS + 100 * ENDS**2))[INSIDE].max() < 0.1


def test_features():
  """Points on circles, at both ends of a frame, 0 where there is no voice; what ends one frame begins the next."""
  waveform = np.cos(2 * np.pi * 120 * TIMES)
  voiced = np.arange(FRAMES) % 10 < 6
  got = phase.features(waveform, np.full(FRAMES, 120.0), voiced, HOP, RATE)
  assert got.shape == (FRAMES, phase.SIZE) and got.dtype == np.float32
  np.testing.assert_array_equal(got[~voiced], 0)
  circles = (got[:, :4] + 1j * got[:, 4:]).reshape(FRAMES, 2, 2)  # harmonics, ends
  np.testing.assert_allclose(np.abs(circles[voiced]), 1, rtol=1e-5)
  both = voiced[:-1] & voiced[1:]
  np.testing.assert_array_equal(circles[:-1, :, 1][both], circles[1:, :, 0][both])
  np.testing.assert_allclose(circles[voiced][:, 1], circles[voiced][:, 0]**2, atol=1e-5)
