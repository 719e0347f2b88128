"""The one file of a prepared data set: it has the bits of the records, and is used with those records alone."""
import json
import os
import shutil

import numpy as np
from prepared import image, write_prepared
import pytest

from inverse_matching.data.images import mapped
from inverse_matching.data.images import tfds as tfds_images
from inverse_matching.errors import InputError
from inverse_matching.runtime import processes

SIZES, SHAPE = {'train': 30, 'test': 12}, (28, 28, 1)
SHARD = 'mnist-train.array_record-00000-of-00001'
SUBSETS = [{}, {'num_train': 7, 'num_held_out': 3}, {'split_seed': 1}]


@pytest.fixture
def data_dir(tmp_path):
  """30 + 12 images in the place of MNIST."""
  write_prepared(tmp_path / 'data', 'mnist', SIZES, SHAPE)
  return tmp_path / 'data'


def read(data_dir, **settings):
  """As bytes, with shapes and dtypes."""
  arrays = [array for part in tfds_images.read('mnist', data_dir=data_dir, **settings) for array in part]
  assert all(type(array) is np.ndarray and array.flags.c_contiguous and array.flags.writeable for array in arrays)
  return [(array.shape, array.dtype.str, array.tobytes()) for array in arrays]


@pytest.fixture
def from_records(data_dir, monkeypatch):
  """What is read without the file."""
  with monkeypatch.context() as patched:
    patched.setattr(mapped, 'can_keep', lambda folder: False)
    found = [read(data_dir, **settings) for settings in SUBSETS]
  assert not list(data_dir.rglob('images.*'))
  return found


@pytest.fixture
def no_tfds(monkeypatch):
  """A function after which the records are not read any more."""

  def refuse(*unused):
    raise AssertionError('the records are read')

  return lambda: monkeypatch.setattr(tfds_images, '_sources', refuse)


@pytest.mark.parametrize('first', range(len(SUBSETS)))
def test_the_same_bits(data_dir, from_records, no_tfds, first):
  """As from the records, in the call that makes the file, of all images or of a part, and in those after it."""
  assert read(data_dir, **SUBSETS[first]) == from_records[first]
  assert sorted(path.name for path in data_dir.rglob('images*')) == ['images.json', 'images.npy']
  no_tfds()
  assert [read(data_dir, **settings) for settings in SUBSETS] == from_records
  shutil.copytree(data_dir, data_dir.with_name('copy'), copy_function=shutil.copyfile)  # with other times
  assert read(data_dir.with_name('copy')) == from_records[0]


def altered(folder):
  data = bytearray((folder / 'images.npy').read_bytes())
  data[-3] ^= 1
  (folder / 'images.npy').write_bytes(data)


def rewrite(folder, records):
  """As somebody does who knows the format, with all hashes right."""
  np.save(folder / 'images.npy', records)
  manifest = json.loads((folder / 'images.json').read_text())
  (folder / 'images.json').write_text(json.dumps({**manifest, 'sha256': mapped._hashes(folder)}))


class Trap:
  """What runs when it is unpickled."""

  def __reduce__(self):
    return os.mkdir, ('/nonexistent/trap',)


@pytest.mark.parametrize('damage', [
    altered,
    lambda folder: os.truncate(folder / 'images.npy', 10000),
    lambda folder: (folder / 'images.npy').unlink(),
    lambda folder: (folder / 'images.json').unlink(),
    lambda folder: (folder / 'images.json').write_text('{"sizes": [30'),
    lambda folder: (folder / 'images.json').write_text('[]'),
    lambda folder: rewrite(folder, np.load(folder / 'images.npy')[:-1]),
    lambda folder: rewrite(folder, np.zeros(42, mapped.record((28, 28, 3)))),
    lambda folder: rewrite(folder, np.zeros(42, [('pixels', np.uint16, SHAPE), ('label', '<i4')])),
    lambda folder: rewrite(folder, np.array([Trap()] * 42)),
], ids=['altered', 'cut', 'no_array', 'no_manifest', 'cut_manifest', 'no_dict', 'fewer', 'shape', 'dtype', 'pickle'])
def test_a_damaged_file_is_made_anew(data_dir, from_records, no_tfds, damage):
  """Whatever is wrong with it, the images are those of the records, and the file is whole afterwards."""
  read(data_dir)
  damage(data_dir / 'mnist' / '3.0.1')
  assert mapped.load(data_dir / 'mnist' / '3.0.1', SHAPE) is None
  assert read(data_dir) == from_records[0]
  no_tfds()
  assert read(data_dir) == from_records[0]


def test_it_is_not_used_with_other_records(data_dir, tmp_path):
  """Another data set in the same place has its own images; a shard that is damaged is refused as without the file."""
  read(data_dir)
  folder = data_dir / 'mnist' / '3.0.1'
  write_prepared(tmp_path / 'other', 'mnist', {'train': 12, 'test': 30}, SHAPE)
  other = tmp_path / 'other' / 'mnist' / '3.0.1'
  for name in ('images.npy', 'images.json'):
    shutil.copy2(folder / name, other)
  (pixels, labels), _ = tfds_images.read('mnist', data_dir=tmp_path / 'other')
  order = np.random.default_rng(0).permutation(12)
  np.testing.assert_array_equal(pixels, [image(i) for i in order])
  np.testing.assert_array_equal(labels, order % 10)
  data = bytearray((folder / SHARD).read_bytes())
  data[data.index(b'IDAT') + 9] ^= 1
  (folder / SHARD).write_bytes(data)
  with pytest.raises(InputError, match='is incomplete or damaged .*hash mismatch'):
    read(data_dir)


def test_where_it_cannot_be_written(data_dir, from_records, monkeypatch, caplog):
  """A folder that is read-only, or fails in the middle, and processes that are not the first: they read all the same, and leave
  nothing behind."""
  folder = data_dir / 'mnist' / '3.0.1'
  before = sorted(folder.iterdir())
  for module, name, value in ((os, 'access', lambda path, mode: False), (processes, 'is_first', lambda: False)):
    with monkeypatch.context() as patched:
      patched.setattr(module, name, value)
      assert [read(data_dir, **settings) for settings in SUBSETS] == from_records
  assert sorted(folder.iterdir()) == before and 'decoded anew' not in caplog.text

  def full(*unused):
    raise OSError(28, 'No space left on device')

  with caplog.at_level('INFO'), monkeypatch.context() as patched:
    patched.setattr(os, 'fsync', full)
    assert [read(data_dir, **settings) for settings in SUBSETS] == from_records
  assert sorted(folder.iterdir()) == before
  assert f'decoded anew by every command, which takes seconds: Cannot write {folder}/images.npy (No space' in caplog.text
