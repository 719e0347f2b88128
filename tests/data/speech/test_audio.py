"""Recordings as files: what is read is what was recorded, and what cannot be read is told in one sentence."""
import sys
import tracemalloc
import wave

import numpy as np
import pytest

from inverse_matching.data.speech import audio
from inverse_matching.errors import InputError

soundfile = pytest.importorskip('soundfile')


def tone(frequency, rate, seconds=0.2):
  return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def test_round_trip(tmp_path):
  """Half a step of 16 bits, and none for what was of 16 bits; silence and clipping are kept, what is past full scale is cut."""
  rng = np.random.default_rng(0)
  waveforms = {'noise': rng.uniform(-1, 0.9999, 1000), 'silence': np.zeros(100), 'clipped': np.sign(rng.normal(size=100))}
  for name, waveform in waveforms.items():
    audio.write(tmp_path / f'{name}.wav', waveform, 8000)
    recording = audio.read(tmp_path / f'{name}.wav')
    assert recording.rate == recording.file_rate == 8000 and recording.num_channels == 1
    assert recording.waveform.dtype == np.float32
    np.testing.assert_allclose(recording.waveform, waveform, atol=1 / 32768 if name == 'clipped' else 0.5001 / 32768)
    audio.write(tmp_path / 'again.wav', recording.waveform, 8000)
    np.testing.assert_array_equal(audio.read(tmp_path / 'again.wav').waveform, recording.waveform)
  audio.write(tmp_path / 'loud.wav', np.array([3.0, -3.0]), 8000)
  np.testing.assert_array_equal(audio.read(tmp_path / 'loud.wav').waveform, np.float32([32767 / 32768, -1]))
  samples = rng.integers(-32768, 32768, 100).astype(np.int16)
  np.testing.assert_array_equal(audio.to_int16(audio.from_int16(samples)), samples)


def test_written_files_need_no_package(tmp_path, monkeypatch):
  """The standard library reads and writes them."""
  monkeypatch.setitem(sys.modules, 'soundfile', None)
  audio.write(tmp_path / 'a.wav', tone(440, 16000), 16000)
  with wave.open(str(tmp_path / 'a.wav')) as file:
    assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (16000, 1, 2, 3200)
  with pytest.raises(InputError, match=r"needs soundfile.* pip install 'inverse_matching\[speech\]'"):
    audio.read(tmp_path / 'a.wav')


@pytest.mark.parametrize('suffix', audio.SUFFIXES)
def test_channels_are_averaged(tmp_path, suffix, caplog):
  """Of wav and of flac."""
  samples = np.random.default_rng(0).integers(-9999, 9999, (500, 2)).astype(np.int16)
  soundfile.write(tmp_path / f'a{suffix}', samples, 16000)
  recording = audio.read(tmp_path / f'a{suffix}')
  np.testing.assert_allclose(recording.waveform, samples.mean(1) / 32768, atol=1e-7)
  assert recording.num_channels == 2


def test_a_small_file_that_holds_very_much(tmp_path, monkeypatch):
  """Told before it is unpacked: a flac file of silence has a thousandth of what it becomes."""
  soundfile.write(tmp_path / 'a.flac', np.zeros((2**19, 8), np.int16), 8000)
  assert (tmp_path / 'a.flac').stat().st_size < 2**14
  assert len(audio.read(tmp_path / 'a.flac').waveform) == 2**19
  monkeypatch.setattr(audio, 'MOST_SAMPLES', 2**22 - 1)
  with pytest.raises(InputError, match='a.flac has 4194304 samples, and a recording may have 4194303 .*: cut it into shorter'):
    tracemalloc.start()
    try:
      audio.read(tmp_path / 'a.flac')
    finally:
      peak = tracemalloc.get_traced_memory()[1]
      tracemalloc.stop()
  assert peak < 2**20


@pytest.mark.parametrize('rate', [8000, 16000, 22050, 44100])
def test_another_rate(tmp_path, rate):
  """A tone stays the tone, 1e-3 away from the ends; what the new rate cannot hold is taken out."""
  soundfile.write(tmp_path / 'a.wav', tone(1000, rate), rate, subtype='FLOAT')
  recording = audio.read(tmp_path / 'a.wav', 16000)
  assert recording.rate == 16000 and recording.file_rate == rate and recording.waveform.dtype == np.float32
  assert abs(len(recording.waveform) - 3200) <= 1
  np.testing.assert_allclose(recording.waveform[200:3000], tone(1000, 16000)[200:3000], atol=1e-3)
  if rate > 20000:
    high = audio.resample(tone(10000, rate), rate, 16000)
    assert np.abs(high[200:3000]).max() < 0.01


def write_float(path, samples):
  soundfile.write(path, np.asarray(samples), 8000, subtype='FLOAT')


@pytest.mark.parametrize('make,words', [
    (lambda path: None, 'cannot be read .No such file'),
    (lambda path: path.mkdir(), 'cannot be read .Is a directory'),
    (lambda path: path.write_bytes(b''), 'is not a recording'),
    (lambda path: path.write_bytes(bytes(range(256)) * 9), 'is not a recording'),
    (lambda path: path.write_text('version https://git-lfs.github.com/spec/v1\n'), 'is not a recording'),
    (lambda path: write_float(path, []), 'holds no samples'),
    (lambda path: write_float(path, [0.1, np.nan]), 'samples that are NaN or infinite'),
    (lambda path: write_float(path, [0.1, -np.inf]), 'samples that are NaN or infinite'),
    (lambda path: write_float(path, [0.1, 32000]), 'samples up to 32000, and full scale is 1'),
], ids=['missing', 'folder', 'empty', 'garbage', 'pointer', 'no_samples', 'nan', 'infinite', 'integers_as_floats'])
def test_what_is_no_recording_is_refused(tmp_path, make, words):
  """One sentence, which names the file."""
  make(tmp_path / 'a.wav')
  with pytest.raises(InputError, match=f'^{tmp_path}/a.wav .*{words}') as error:
    audio.read(tmp_path / 'a.wav', 16000)
  assert '\n' not in str(error.value)


def test_only_waveforms_are_written(tmp_path):
  """No numbers that are not finite, no batch; nothing is left behind."""
  for waveform in (np.array([0.0, np.nan]), np.zeros((2, 5))):
    with pytest.raises(InputError, match='one row of finite numbers'):
      audio.write(tmp_path / 'a.wav', waveform, 8000)
  assert not list(tmp_path.iterdir())
