"""Speech from archives and folders: prepared once without TensorFlow, whole or not at all."""
import bz2
import contextlib
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

from commands import ROOT, launched, refused, user_environment
import numpy as np
import pytest

from inverse_matching.data.speech import audio, recordings, unpack, world
from inverse_matching.data.speech import synthetic as synthetic_speech
from inverse_matching.data.speech.corpora import CORPORA
from inverse_matching.errors import InputError

soundfile = pytest.importorskip('soundfile')
pytest.importorskip('pyworld')
TRAIN = 'speech-train.array_record-00000-of-00001'


def write_wavs(folder, names, rate=8000, seed=0):
  """A syllable in each."""
  rng = np.random.default_rng(seed)
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    audio.write(folder / f'{name}.wav', synthetic_speech.utterance(rng, rate, 1), rate)


def pack(folder, archive, mode='w:gz'):
  archive.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(archive, mode) as packed:
    packed.add(folder, arcname='data-1.0')


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


@pytest.fixture
def few(tmp_path):
  """A folder of one's own with three recordings."""
  write_wavs(tmp_path / 'mine', ['a', 'b', 'c'])
  return tmp_path


def contents(prepared):
  return {record['name']: (record['samples'].tobytes(), record['features'].tobytes())
          for record in (*prepared.train, *prepared.held_out)}


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


def test_every_kind_of_archive(few):
  """The same data of a folder, of each archive of it, and of flac files; folders in it are part of the names."""
  write_wavs(few / 'mine', ['deep/a', '.hidden/d'])
  pack(few / 'mine', few / 'a.tar.gz')
  pack(few / 'mine', few / 'a.tar.bz2', 'w:bz2')
  with zipfile.ZipFile(few / 'a.zip', 'w') as packed:
    for file in sorted((few / 'mine').rglob('*.wav')):
      packed.write(file, f'/x/{file.relative_to(few / "mine")}')
  (few / 'flac' / 'deep').mkdir(parents=True)
  for name in ('a', 'b', 'c', 'deep/a'):
    soundfile.write(few / 'flac' / f'{name}.flac', *soundfile.read(few / 'mine' / f'{name}.wav', dtype='int16'))
  found = []
  for i, source in enumerate(('mine', 'a.tar.gz', 'a.tar.bz2', 'a.zip', 'flac')):
    recordings.prepare('recordings', few / str(i), few / source, rate=8000)
    found.append(contents(recordings.read('recordings', few / str(i))))
  assert sorted(found[0]) == ['a', 'b', 'c', 'deep/a'] and all(other == found[0] for other in found)


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


def cut_tar(path):
  pack(path / 'mine', path / 'in.tar.gz')
  (path / 'in.tar.gz').write_bytes((path / 'in.tar.gz').read_bytes()[:4000])
  return path / 'in.tar.gz'


def cut_plain_tar(path):
  pack(path / 'mine', path / 'in.tar', 'w')
  (path / 'in.tar').write_bytes((path / 'in.tar').read_bytes()[:4000])
  return path / 'in.tar'


def cut_bz2(path):
  pack(path / 'mine', path / 'in.tar', 'w')
  (path / 'in.tar.bz2').write_bytes(bz2.compress((path / 'in.tar').read_bytes())[:-50])
  return path / 'in.tar.bz2'


def flipped_zip(path):
  with zipfile.ZipFile(path / 'in.zip', 'w') as packed:
    packed.write(path / 'mine' / 'a.wav', 'a.wav')
  data = bytearray((path / 'in.zip').read_bytes())
  data[1000] ^= 1
  (path / 'in.zip').write_bytes(data)
  return path / 'in.zip'


def text_as_zip(path):
  (path / 'in.zip').write_text('<html>Not found</html>')
  return path / 'in.zip'


@pytest.mark.parametrize('make', [cut_tar, cut_plain_tar, cut_bz2, flipped_zip, text_as_zip])
def test_damaged_archives_are_refused(few, make):
  """One sentence; nothing is left behind."""
  archive = make(few)
  with pytest.raises(InputError, match=f'{archive} is damaged or not an archive .*: fetch it again') as error:
    recordings.prepare('recordings', few / 'data', archive)
  assert '\n' not in str(error.value)
  assert not [path for path in (few / 'data').rglob('*') if path.is_file()]


@contextlib.contextmanager
def memory(most):
  """Fails if more than that many bytes were taken at any time."""
  tracemalloc.start()
  try:
    yield
    assert tracemalloc.get_traced_memory()[1] < most
  finally:
    tracemalloc.stop()


ZEROS = 2**25  # bytes, which pack to a thousandth


def zipped(path, method=zipfile.ZIP_DEFLATED):
  with zipfile.ZipFile(path / 'bomb.zip', 'w', method) as packed:
    packed.writestr('a.wav', bytes(ZEROS))
  return path / 'bomb.zip'


def tarred(path, name, mode='w:gz', **fields):
  with tarfile.open(path / 'bomb.tar', mode) as packed:
    info = tarfile.TarInfo(name)
    info.size = 0 if fields else ZEROS
    for field, value in fields.items():
      setattr(info, field, value)
    packed.addfile(info, io.BytesIO(bytes(info.size)))
  return path / 'bomb.tar'


def of_flac(path):
  soundfile.write(path / 'a.flac', np.zeros(2**21, np.int16), 8000)
  with zipfile.ZipFile(path / 'bomb.zip', 'w') as packed:
    for i in range(3):
      packed.write(path / 'a.flac', f'{i}.flac')
  return path / 'bomb.zip'


@pytest.mark.parametrize('make', [
    zipped,
    lambda path: tarred(path, 'a.wav'),
    lambda path: tarred(path, 'a.wav', 'w:bz2'),
    lambda path: tarred(path, 'README'),  # which is not kept, and yet has to be gone through
    lambda path: tarred(path, 'a.wav', pax_headers={'comment': 'x' * ZEROS}),  # which tarfile takes into memory
], ids=['zip', 'tar.gz', 'tar.bz2', 'no recording', 'header'])
def test_archives_that_unpack_to_very_much_are_refused(few, make, monkeypatch):
  """When as much as is allowed has come out of them, and no more of it is in memory or on the disk at once."""
  monkeypatch.setattr(unpack, 'SPARE', 3_000_000)
  archive = make(few)
  most = 20 * archive.stat().st_size + unpack.SPARE
  assert most < ZEROS / 4
  (few / 'scratch').mkdir()
  with memory(most + 4 * unpack.BLOCK), pytest.raises(
      InputError, match=f'^{archive} has [0-9.]+k?B and unpacks to more than [0-9.]+MB, 20 times its size and 3.00MB: if you '
      'know what is in it, unpack it and give the folder.$'):
    recordings._found('recordings', archive, few / 'scratch')
  assert sum(file.stat().st_size for file in (few / 'scratch').rglob('*') if file.is_file()) <= most
  with pytest.raises(InputError, match='unpacks to more than'):
    recordings.prepare('recordings', few / 'data', archive)
  assert not [path for path in (few / 'data').rglob('*') if path.is_file()]


def test_memory_does_not_grow_with_what_is_unpacked(few):
  """Where it is allowed, a block at a time goes to the disk."""
  (few / 'scratch').mkdir()
  archive = zipped(few)
  with memory(4 * unpack.BLOCK):
    found = recordings._found('recordings', archive, few / 'scratch')
  assert found['a'].stat().st_size == ZEROS
  (few / 'bomb.tar').write_bytes(gzip.compress(tarfile.TarInfo('README').tobuf() * 20_000))  # empty files
  with memory(4 * unpack.BLOCK), pytest.raises(InputError, match='bomb.tar has no .wav or .flac files'):
    recordings._found('recordings', few / 'bomb.tar', few)


def test_other_ways_to_unpack_to_very_much_are_refused(few, monkeypatch):
  """A zip of bzip2, which zipfile unpacks whole; holes, which have no bytes in the archive; flac; more than a corpus has."""
  with pytest.raises(InputError, match='packed otherwise than by deflate'):
    recordings.prepare('recordings', few / 'data', zipped(few, zipfile.ZIP_BZIP2))
  holes = {'GNU.sparse.map': f'{ZEROS},0', 'GNU.sparse.size': str(ZEROS)}
  with pytest.raises(InputError, match='it has files with holes'):
    recordings.prepare('recordings', few / 'data', tarred(few, 'a.wav', pax_headers=holes))
  monkeypatch.setattr(unpack, 'SPARE', 9_000_000)
  with pytest.raises(InputError, match='bomb.zip has .*B and unpacks to more than 9.*MB'):
    recordings.prepare('recordings', few / 'data', of_flac(few))
  monkeypatch.setitem(CORPORA, 'ljspeech', CORPORA['ljspeech']._replace(unpacked=30_000))
  pack(few / 'mine', few / 'archives' / 'ljspeech' / 'a.tar.bz2', 'w:bz2')
  with pytest.raises(InputError, match='a.tar.bz2 has .*kB and unpacks to more than 30.0kB, and ljspeech does not: fetch it'):
    recordings.prepare('ljspeech', few / 'data', few / 'archives')


def test_archives_without_recordings(few):
  """Nothing there, nothing of the kind, more than one, another file."""
  (few / 'empty').mkdir()
  pack(few / 'empty', few / 'empty.tar.gz')
  for name in ('one.zip', 'two.zip'):
    (few / 'many').mkdir(exist_ok=True)
    (few / 'many' / name).touch()
  write_wavs(few / 'single', ['a'])
  write_wavs(few / 'twice', ['a', 'b'])
  soundfile.write(few / 'twice' / 'a.flac', np.zeros(100), 8000)
  for archives, words in (('none', 'does not exist'), ('empty', 'holds no recordings: put one archive'),
                          ('many', 'holds 2 archives, one.zip and two.zip: put one'), ('mine/a.wav', 'is not an archive'),
                          ('empty.tar.gz', 'has no .wav or .flac files'), ('single', 'has 1 recordings, too few'),
                          ('twice', 'has two recordings named a: rename one')):
    with pytest.raises(InputError, match=f'{few}/{archives} {words}'):
      recordings.prepare('recordings', few / 'data', few / archives)
  write_wavs(few / 'archives' / 'spoken_digit', ['0_jackson_0', 'hello'])
  with pytest.raises(InputError, match='hello is not a recording of spoken_digit'):
    recordings.prepare('spoken_digit', few / 'data', few / 'archives')
  with pytest.raises(InputError, match='--speaker=theo, but recordings does not say who speaks'):
    recordings.prepare('recordings', few / 'data', few / 'mine', speaker='theo')
  with pytest.raises(InputError, match='held_out must be a share between 0 and 1, got 1'):
    recordings.prepare('recordings', few / 'data', few / 'mine', held_out=1)


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


def test_nothing_escapes_from_an_archive(few):
  """Paths in it do not say where files are written."""
  with tarfile.open(few / 'evil.tar.gz', 'w:gz') as packed:
    for i in range(2):
      content = (few / 'mine' / f'{"ab"[i]}.wav').read_bytes()
      info = tarfile.TarInfo(f'../../../evil{i}.wav')
      info.size = len(content)
      packed.addfile(info, io.BytesIO(content))
  recordings.prepare('recordings', few / 'x' / 'y' / 'data', few / 'evil.tar.gz')
  assert not list(few.rglob('evil*.wav'))
  assert sorted(contents(recordings.read('recordings', few / 'x' / 'y' / 'data'))) == ['evil0', 'evil1']


@pytest.mark.slow
def test_command(few):
  """The flags reach prepare(), what is there is told; flags of speech are refused for images."""
  process = launched('prepare_data', '--dataset=recordings', f'--data_dir={few}', f'--archives={few}/mine', '--rate=8000')
  assert 'recordings: 2 training and 1 held-out recordings, 0.0 and 0.0 minutes at 8000 Hz, from mine' in process.stderr
  assert process.stdout == '' and 'WARNING' not in process.stderr
  info = json.loads((recordings.folder('recordings', few) / 'dataset_info.json').read_text())
  assert str(few) not in json.dumps(info), 'a path of this machine is kept'
  assert '--speaker is for speech' in refused('prepare_data', '--dataset=mnist', '--speaker=theo')
