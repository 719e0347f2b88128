"""Speech from archives and folders: prepared once without TensorFlow, whole or not at all."""
import json
import re
import subprocess
import sys

from commands import ROOT, launched, refused, user_environment
import numpy as np
import pytest
from recorded import contents, pack, write_wavs

from inverse_matching.data.speech import audio, recordings, world
from inverse_matching.data.speech.corpora import CORPORA
from inverse_matching.errors import InputError

soundfile = pytest.importorskip('soundfile')
pytest.importorskip('pyworld')
TRAIN = 'speech-train.array_record-00000-of-00001'


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
  """archives/spoken_digit/digits.tar.gz: 4 digits x 2 speakers x 5."""
  path = tmp_path_factory.mktemp('speech')
  write_wavs(path / 'wavs', [f'{digit}_{who}_{i}' for digit in range(4) for who in ('jackson', 'theo') for i in range(5)])
  (path / 'wavs' / 'README.md').write_text('Digits.')
  (path / 'wavs' / '._0_jackson_0.wav').write_text('of another file system')
  pack(path / 'wavs', path / 'archives' / 'spoken_digit' / 'digits.tar.gz')
  recordings.prepare('spoken_digit', path / 'data', path / 'archives', held_out=0.2)
  return path


def test_prepared_recordings(digits):
  """Each recording of the speaker once, with its samples and features; one of each digit is held out."""
  prepared = recordings.read('spoken_digit', digits / 'data')
  assert len(prepared.train) == 16 and [record['name'][0] for record in prepared.held_out] == ['0', '1', '2', '3']
  everything = [*prepared.train, *prepared.held_out]
  assert sorted(r['name'] for r in everything) == sorted(f'{digit}_jackson_{i}' for digit in range(4) for i in range(5))
  for record in everything[::5]:
    waveform = audio.read(digits / 'wavs' / f'{record["name"]}.wav').waveform
    np.testing.assert_array_equal(record['features'], world.analyse(waveform, 8000, 24))
    np.testing.assert_array_equal(audio.from_int16(record['samples']), waveform[:40 * len(record['features'])])
  frames = np.concatenate([record['features'] for record in prepared.train])
  np.testing.assert_allclose(prepared.settings['mean'], frames.mean(0, np.float64), atol=1e-5)
  np.testing.assert_allclose(prepared.settings['std'], frames.std(0, np.float64), atol=1e-4)
  assert prepared.settings['speaker'] == 'jackson' and prepared.settings['source'] == 'digits.tar.gz'
  assert re.fullmatch('[0-9a-f]{64}', prepared.settings['sha256'])


def test_all_speakers(digits, tmp_path):
  """Held-out recordings are spread over speakers too; a name that nobody has is refused."""
  recordings.prepare('spoken_digit', tmp_path, digits / 'archives', held_out=0.2, speaker='all')
  prepared = recordings.read('spoken_digit', tmp_path)
  assert len(prepared.train) == 32
  assert sorted(record['name'][:-2] for record in prepared.held_out) == sorted(
      f'{digit}_{who}' for digit in range(4) for who in ('jackson', 'theo'))
  with pytest.raises(InputError, match="No recording is by 'teo' .did you mean 'theo'.*: --speaker may be jackson, theo, all"):
    recordings.prepare('spoken_digit', tmp_path / 'new', digits / 'archives', speaker='teo')


def test_the_split_is_that_of_its_seed():
  """The same seed, the same; another, another; shares of few recordings leave some on either side."""
  names = [f'{digit}_jackson_{i}' for digit in range(10) for i in range(50)]
  chosen = recordings._kept_out('spoken_digit', names, 0.1, 0)
  assert len(chosen) == 50 and {sum(name.startswith(str(d)) for name in chosen) for d in range(10)} == {5}
  assert chosen == recordings._kept_out('spoken_digit', names, 0.1, 0) != recordings._kept_out('spoken_digit', names, 0.1, 1)
  for share, count in ((0.01, 1), (0.5, 2), (0.99, 2)):
    assert len(recordings._kept_out('recordings', ['a', 'b', 'c'], share, 0)) == count


def test_another_rate(few):
  """Recordings are brought to it, and the frames are of it; the rate of a source is its own."""
  write_wavs(few / 'archives' / 'ljspeech', ['LJ001-0001', 'LJ001-0002'], rate=22050)
  recordings.prepare('ljspeech', few, few / 'archives')
  prepared = recordings.read('ljspeech', few)
  assert prepared.settings['rate'] == 16000 and prepared.settings['num_cepstra'] == 60
  record, = prepared.held_out
  assert record['features'].shape == (70, 63) and len(record['samples']) == 70 * 80
  with pytest.raises(InputError, match='The rate is 22050 Hz'):
    recordings.prepare('recordings', few, few / 'mine', rate=22050)


def test_no_tensorflow(few):
  """Preparing and reading do not import it, and reading does without what preparing needs."""
  subprocess.run([sys.executable, '-c', f"""
import sys
from inverse_matching.data.speech import dataset as speech
from inverse_matching.data.speech import recordings
assert 'tensorflow_datasets' not in sys.modules and 'pyworld' not in sys.modules and 'soundfile' not in sys.modules
recordings.prepare('recordings', {str(few)!r}, {str(few / 'mine')!r})
assert 'tensorflow' not in sys.modules
"""], cwd=ROOT, env=user_environment(), check=True)
  subprocess.run([sys.executable, '-c', f"""
import sys
for name in ('importlib_resources', 'pyworld', 'soundfile'):
  sys.modules[name] = None  # importing it would fail
from inverse_matching.data.speech import dataset as speech
found = speech.prepared('recordings', data_dir={str(few)!r}, crop_frames=10, burn_in_frames=2)
assert len(found.data.train) == 2
assert 'tensorflow' not in sys.modules
"""], cwd=ROOT, env=user_environment(), check=True)


def test_prepared_data_are_left_as_they_are(few):
  """The same again, or nothing said, changes nothing; other recordings or another rate are refused, and nothing is lost."""
  recordings.prepare('recordings', few, few / 'mine')
  folder = recordings.folder('recordings', few)
  before = {path: path.stat().st_mtime_ns for path in few.rglob('*')}
  for archives, settings in ((few / 'mine', {}), (None, {}), (few / 'mine', {'rate': 16000})):
    recordings.prepare('recordings', few, archives, **settings)
  with pytest.raises(InputError, match=f'{folder} was made with rate=16000, not 8000: remove it, or name another --data_dir'):
    recordings.prepare('recordings', few, few / 'mine', rate=8000)
  assert {path: path.stat().st_mtime_ns for path in few.rglob('*')} == before
  write_wavs(few / 'mine', ['d'])
  with pytest.raises(InputError, match='was made with other recordings than are in'):
    recordings.prepare('recordings', few, few / 'mine')


def flip(folder):
  data = bytearray((folder / TRAIN).read_bytes())
  data[len(data) // 2] ^= 1
  (folder / TRAIN).write_bytes(data)


@pytest.mark.parametrize('damage,words', [
    (flip, ''),
    (lambda folder: (folder / TRAIN).write_bytes((folder / TRAIN).read_bytes()[:5000]), ''),
    (lambda folder: (folder / TRAIN).unlink(), ''),
    (lambda folder: (folder / 'dataset_info.json').unlink(), 'dataset_info.json is missing'),
    (lambda folder: (folder / 'metadata.json').unlink(), 'mean'),
    (lambda folder: (folder / 'features.json').write_text('{"'), ''),
], ids=['flip', 'cut', 'no_shard', 'no_info', 'no_metadata', 'cut_features'])
def test_damaged_data_are_refused(few, damage, words):
  """The sentence has the command that mends it, and it does."""
  recordings.prepare('recordings', few, few / 'mine')
  whole = contents(recordings.read('recordings', few))
  folder = recordings.folder('recordings', few)
  damage(folder)
  with pytest.raises(InputError) as error:
    recordings.read('recordings', few)
  message = str(error.value)
  assert f'{folder} is incomplete or damaged (' in message and words in message and '\n' not in message
  assert message.endswith(f'make it anew with python -m launch.prepare_data --dataset=recordings --data_dir={few} '
                          '--archives=FOLDER.')
  recordings.prepare('recordings', few, few / 'mine')
  assert contents(recordings.read('recordings', few)) == whole


def test_features_json_is_not_followed(few, monkeypatch):
  """TFDS imports the module of each class that it finds named there: data that come from others name none but its own."""
  recordings.prepare('recordings', few, few / 'mine')
  path = recordings.folder('recordings', few) / 'features.json'
  (few / 'strange_features.py').write_text('')
  monkeypatch.syspath_prepend(few)
  path.write_text(path.read_text().replace('tensorflow_datasets.core.features.text_feature', 'strange_features'))
  with pytest.raises(InputError, match='is incomplete or damaged .features.json is not that of recordings.: make it anew'):
    recordings.read('recordings', few)
  assert 'strange_features' not in sys.modules


def test_missing_data(few, monkeypatch):
  """The sentence says where the recordings are, and the command; the environment variable of TFDS names the folder."""
  monkeypatch.setenv('TFDS_DATA_DIR', str(few))
  url = re.escape(CORPORA['ljspeech'].url)
  command = f'python -m launch.prepare_data --dataset=ljspeech --data_dir={few} --archives=A'
  with pytest.raises(InputError, match=f'ljspeech is not in {few}: fetch {url} into A/ljspeech, and prepare it with {command}'):
    recordings.read('ljspeech')
  with pytest.raises(InputError, match=f'fetch {url} into A/ljspeech, and run {command}'):
    recordings.prepare('ljspeech')


def test_recordings_that_cannot_be_used_are_told_together(few):
  """Before anything is analysed: how many, which, why."""
  (few / 'mine' / 'garbage.wav').write_bytes(b'x' * 99)
  soundfile.write(few / 'mine' / 'lost.wav', np.full(999, np.nan), 8000, subtype='FLOAT')
  audio.write(few / 'mine' / 'short.wav', np.zeros(39), 8000)
  audio.write(few / 'mine' / 'silence.wav', np.zeros(40), 8000)
  with pytest.raises(InputError, match='^3 of 7 recordings cannot be used .garbage: is not a recording that can be read; '
                     'lost: has samples that are NaN or infinite; short: it has 39 samples at 8000 Hz, less than a frame of '
                     '5 ms.: remove them or record them again.$'):
    recordings.prepare('recordings', few / 'data', few / 'mine')
  for name in ('garbage', 'lost', 'short'):
    (few / 'mine' / f'{name}.wav').unlink()
  recordings.prepare('recordings', few / 'data', few / 'mine')
  assert np.isfinite(recordings.read('recordings', few / 'data').settings['mean']).all()


@pytest.mark.slow
def test_command(few):
  """The flags reach prepare(), what is there is told; flags of speech are refused for images."""
  process = launched('prepare_data', '--dataset=recordings', f'--data_dir={few}', f'--archives={few}/mine', '--rate=8000')
  assert 'recordings: 2 training and 1 held-out recordings, 0.0 and 0.0 minutes at 8000 Hz, from mine' in process.stderr
  assert process.stdout == '' and 'WARNING' not in process.stderr
  info = json.loads((recordings.folder('recordings', few) / 'dataset_info.json').read_text())
  assert str(few) not in json.dumps(info), 'a path of this machine is kept'
  assert '--speaker is for speech' in refused('prepare_data', '--dataset=mnist', '--speaker=theo')
