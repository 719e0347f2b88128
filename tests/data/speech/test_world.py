"""WORLD features: known sounds have the known numbers, and no sound ends the process."""
import sys

import numpy as np
import pytest

from inverse_matching.data.speech import synthetic as synthetic_speech
from inverse_matching.data.speech import world
from inverse_matching.errors import InputError

pyworld = pytest.importorskip('pyworld')
RATES = [8000, 16000]


@pytest.fixture(scope='module', params=RATES)
def speech(request):
  """(rate, waveform [T], features [F, D])."""
  waveform = synthetic_speech.utterance(np.random.default_rng(0), request.param)
  return request.param, waveform, world.analyse(waveform, request.param, world.default_num_cepstra(request.param))


def pulses(f0, rate, seconds=0.5):
  """A pulse train through a low-pass."""
  phase = np.arange(int(seconds * rate)) * f0 / rate
  return np.convolve(np.diff(np.floor(phase), prepend=0), 0.8**np.arange(40))[:len(phase)] * 0.3


@pytest.mark.parametrize('rate,num_cepstra,width', [(8000, 24, 26), (16000, 60, 63), (24000, 40, 45)])
def test_layout(rate, num_cepstra, width):
  """The names say what each column is; frames of 5 ms, and what is left of the samples does not matter."""
  names = world.names(rate, num_cepstra)
  assert len(names) == len(set(names)) == width and names[:2] == ('cepstrum_0', 'cepstrum_1')
  assert names[num_cepstra:num_cepstra + 2] == ('log_f0', 'voiced')
  assert world.num_bands(rate) == pyworld.get_num_aperiodicities(rate) == width - num_cepstra - 2
  hop = world.hop(rate)
  assert hop == rate / 200
  waveform = np.concatenate([pulses(120, rate), np.ones(hop - 1)])
  features = world.analyse(waveform, rate, num_cepstra)
  assert features.shape == (len(waveform) // hop, width) and features.dtype == np.float32
  np.testing.assert_array_equal(features, world.analyse(waveform[:len(features) * hop], rate, num_cepstra))


@pytest.mark.parametrize('rate', RATES)
@pytest.mark.parametrize('f0', [90, 150, 310])
def test_pitch(rate, f0):
  """That of a pulse train away from its ends, 1% in the mean and 5% in a frame; none in noise and in silence."""
  found = world.fundamental(pulses(f0, rate), rate)[20:-20]
  assert np.mean(found > 0) > 0.95
  np.testing.assert_allclose(found[found > 0], f0, rtol=0.05)
  np.testing.assert_allclose(np.mean(found[found > 0]), f0, rtol=0.01)
  assert np.mean(world.fundamental(0.1 * np.random.default_rng(0).normal(size=rate), rate) > 0) < 0.1
  assert not world.fundamental(np.zeros(rate), rate).any()


def test_level(speech):
  """Ten times the amplitude is ln 100 in the first cepstrum, 1e-3, and nothing elsewhere but 0.2 dB of the aperiodicity, whose
  native code adds noise; the envelope of white noise is its variance, a factor of 2."""
  rate, waveform, features = speech
  louder = world.analyse(10 * waveform, rate, world.default_num_cepstra(rate))
  expected = np.zeros(features.shape)
  expected[:, 0] = np.log(100)
  num_cepstra = world.default_num_cepstra(rate)
  np.testing.assert_allclose((louder - features)[:, :num_cepstra + 2], expected[:, :num_cepstra + 2], atol=1e-3)
  np.testing.assert_allclose((louder - features)[:, num_cepstra + 2:], 0, atol=0.2)
  noise = 0.1 * np.random.default_rng(0).normal(size=2 * rate)
  power = world.envelope(noise, np.zeros(400), rate)
  power = power[5:-5].mean(0)
  assert 0.005 < power.min() and power.max() < 0.02 and abs(power.mean() / 0.01 - 1) < 0.1


def test_cepstra_are_orthonormal():
  """A wave along the mel axis is one number, 1 / sqrt(2) of its height in the log power; a constant is its own."""
  rate, mel = 16000, lambda frequency: 1127.01048 * np.log1p(frequency / 700)
  position = np.clip((mel(np.linspace(0, rate / 2, 513)) - mel(40)) / (mel(rate / 2) - mel(40)), 0, 1)
  for k in (0, 1, 4):
    cepstrum = world.to_cepstrum(np.exp(np.cos(np.pi * k * position))[None], rate, 12)[0]
    np.testing.assert_allclose(cepstrum, np.eye(12)[k] * (np.sqrt(0.5) if k else 1), atol=0.02)


def test_pitch_is_interpolated():
  """Linear in the logarithm between voiced frames, constant outside; a whole recording without a voice has one pitch."""
  f0 = np.array([0, 100, 0, 0, 0, 200, 0, 0])
  expected = np.log(100) + np.log(2) * np.array([0, 0, 0.25, 0.5, 0.75, 1, 1, 1])
  np.testing.assert_allclose(world._log_f0(f0), expected)
  features = world.analyse(np.zeros(1000), 8000, 24)
  np.testing.assert_allclose(features[:, 24], np.log(world.NO_F0), rtol=1e-6)
  assert not features[:, 25].any()


@pytest.mark.parametrize('rate', RATES)
def test_any_recording_has_finite_features(rate):
  """Silence, clipping, one frame, the wrong layout in memory, numbers at the ends of what there is: nothing crashes."""
  rng, hop = np.random.default_rng(0), world.hop(rate)
  sound = pulses(120, rate)
  odd = {
      'silence': np.zeros(hop * 30), 'one frame': sound[:hop], 'almost two': rng.normal(size=2 * hop - 1),
      'silence, then sound': np.concatenate([np.zeros(rate // 2), sound, np.zeros(rate // 2)]), 'constant': np.ones(rate // 4),
      'clipped': np.clip(50 * sound, -1, 1), 'one click': np.eye(1, rate // 4, 700)[0], 'tiny': 1e-30 * sound,
      'huge': 1e9 * sound, 'backwards': sound[::-1], 'every second': sound[::2], 'a column': np.stack([sound, sound], 1)[:, 0],
      'half precision': sound.astype(np.float16), 'big endian': sound.astype('>f4'),
  }
  for name, waveform in odd.items():
    features = world.analyse(waveform, rate, 24)
    assert np.isfinite(features).all() and len(features) == len(waveform) // hop, name
    assert np.isin(features[:, 25], (0, 1)).all()
  np.testing.assert_array_equal(world.analyse(odd['every second'], rate, 24), world.analyse(sound[::2].copy(), rate, 24))


@pytest.mark.parametrize('waveform,rate,num_cepstra,words', [
    (np.zeros(39), 8000, 24, 'has 39 samples at 8000 Hz, less than one frame of 40'),
    (np.zeros(0), 8000, 24, 'has 0 samples'),
    (np.array([np.nan] * 400), 8000, 24, 'NaN or infinite'),
    (np.array([np.inf] * 400), 8000, 24, 'NaN or infinite'),
    (np.zeros((400, 2)), 8000, 24, r'one row of floating-point samples, got shape \(400, 2\)'),
    (np.zeros(400, np.int16), 8000, 24, 'int16: .* divide integers by their full scale'),
    (np.zeros(4000), 22050, 24, 'The rate is 22050 Hz, but .* multiple of 200 from 8000 to 48000: use'),
    (np.zeros(4000), 4000, 24, 'The rate is 4000 Hz'),
    (np.zeros(4000), 8000, 1, 'num_cepstra is 1: choose 2 to 120'),
    (np.zeros(4000), 8000, 257, 'num_cepstra is 257'),
])
def test_bad_input(waveform, rate, num_cepstra, words):
  """One sentence, before the native code sees it."""
  with pytest.raises(InputError, match=words) as error:
    world.analyse(waveform, rate, num_cepstra)
  assert '\n' not in str(error.value)


def test_resynthesis(speech):
  """As long as the frames; the same features give the same samples; the voice is where it was, or nowhere in a whisper."""
  rate, waveform, features = speech
  world_speech, whisper = (world.resynthesise(features, rate, whisper=whisper) for whisper in (False, True))
  for made in (world_speech, whisper):
    assert made.shape == (len(features) * world.hop(rate),) and made.dtype == np.float32
    assert 0.5 < np.std(made) / np.std(waveform) < 2
  np.testing.assert_array_equal(world_speech, world.resynthesise(features, rate))
  voiced = features[:, world.default_num_cepstra(rate) + 1] > 0
  assert np.mean(voiced) > 0.3
  assert np.mean((world.fundamental(world_speech, rate) > 0) == voiced) > 0.9
  assert np.mean(world.fundamental(whisper, rate)[voiced] > 0) < 0.1


def test_resynthesis_of_no_features(speech):
  """Features of another rate, none, or lost numbers."""
  rate, _, features = speech
  for wrong in (features[:, :3], features[0], features[:0], np.full_like(features, np.nan)):
    with pytest.raises(InputError, match='not those of WORLD'):
      world.resynthesise(wrong, rate)


def test_without_pyworld(monkeypatch):
  """The sentence says what to install; the layout needs none."""
  monkeypatch.setitem(sys.modules, 'pyworld', None)
  assert len(world.names(16000, 60)) == 63
  with pytest.raises(InputError, match=r"need pyworld.* pip install 'inverse_matching\[speech\]'"):
    world.analyse(np.zeros(4000), 8000, 24)
