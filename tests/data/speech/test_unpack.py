"""Archives of recordings: every kind is read; what is damaged, very large or hostile is refused, and leaves nothing behind."""
import bz2
import contextlib
import gzip
import io
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from recorded import contents, pack, write_wavs

from inverse_matching.data.speech import recordings, unpack
from inverse_matching.data.speech.corpora import CORPORA
from inverse_matching.errors import InputError

soundfile = pytest.importorskip('soundfile')
pytest.importorskip('pyworld')


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
