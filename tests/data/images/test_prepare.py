"""Image data sets of TFDS: reading what was prepared, without TensorFlow, and preparing it from the original files."""
import gzip
import hashlib
import importlib.util
import struct
import subprocess
import sys

from commands import ROOT, launch, refused, user_environment
import numpy as np
from prepared import image, png, write_prepared
import pytest
import tensorflow_datasets as tfds

from inverse_matching.data import catalogue
from inverse_matching.data.images import dataset as images
from inverse_matching.data.images import prepare as prepare_images
from inverse_matching.data.images import tfds as tfds_images
from inverse_matching.errors import InputError

SIZES = {'train': 30, 'test': 12}
TRAIN = 'mnist-train.array_record-00000-of-00001'


@pytest.fixture
def data_dir(tmp_path):
  """30 + 12 images in the place of MNIST."""
  write_prepared(tmp_path / 'data', 'mnist', SIZES, (28, 28, 1))
  return tmp_path / 'data'


def load(data_dir, **settings):
  return images.prepared('mnist', **{'levels': 256, **settings}, data_dir=data_dir).data


def test_read(data_dir, caplog):
  """Every image once, with its label; the test split is held out; that it is a part of MNIST is said."""
  data = load(data_dir)
  assert data.levels == 256 and data.train.pixels.shape[1:] == (28, 28, 1)
  for split, size, first in ((data.train, 30, 0), (data.held_out, 12, 100)):
    assert split.pixels.dtype == np.uint8 and split.labels.dtype == np.int32
    expected = [(image(i + first).tobytes(), i % 10) for i in range(size)]
    assert sorted(zip(map(bytes, split.pixels), split.labels.tolist())) == sorted(expected)
  assert '30 of 60000 training and 12 of 10000 test images' in caplog.text


def test_features_json_is_not_followed(data_dir, tmp_path, monkeypatch):
  """A folder of data may name a module there, which is not imported."""
  (tmp_path / 'strange_features.py').write_text('')
  monkeypatch.syspath_prepend(tmp_path)
  for folder in {path.parent for path in data_dir.rglob('dataset_info.json')}:
    (folder / 'features.json').write_text('{"pythonClassName": "strange_features.Text", "featuresDict": {"features": {}}}')
  assert len(load(data_dir).train.pixels) == 30 and 'strange_features' not in sys.modules


def test_fewer_images_are_the_first_of_a_seeded_order(data_dir):
  """Fewer are a part of more, and another seed has others."""
  data, less = load(data_dir), load(data_dir, num_train=7, num_held_out=3)
  np.testing.assert_array_equal(less.train.pixels, data.train.pixels[:7])
  np.testing.assert_array_equal(less.held_out.labels, data.held_out.labels[:3])
  assert less.train.labels.tolist() != list(range(7)), 'the order is that of the files'
  assert np.any(load(data_dir, num_train=7, split_seed=1).train.pixels != less.train.pixels)


def test_data_dir_is_that_of_tfds_by_default(data_dir, monkeypatch):
  """The environment variable TFDS_DATA_DIR."""
  monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
  assert len(load(None).train.pixels) == 30


@pytest.mark.parametrize('name,shape', [('mnist', (28, 28, 1)), ('fashion_mnist', (28, 28, 1)), ('cifar10', (32, 32, 3))])
def test_every_data_set(tmp_path, name, shape):
  """The three names are in the table, with the version of TFDS and the shape of their images. The files are mocked; chunks keep
  their order."""

  class Source:
    def __len__(self):
      return 1200

    def __getitems__(self, keys):
      return [{'image': png(image(key, shape)), 'label': key % 10} for key in keys]

  folder = tfds_images.folder(name, tmp_path)
  assert folder == tmp_path / name / str(tfds.builder_cls(name).VERSION)
  folder.mkdir(parents=True)
  (folder / 'dataset_info.json').touch()
  with tfds.testing.mock_data(as_data_source_fn=lambda self, split, **unused: [Source() for _ in split]):
    data = images.prepared(name, levels=256, data_dir=tmp_path, num_held_out=2).data
  assert data.train.pixels.shape[1:] == shape and data.train.pixels.shape == (1200, *shape) and len(data.held_out.pixels) == 2
  order = np.random.default_rng(0).permutation(1200)
  np.testing.assert_array_equal(data.train.labels, order % 10)
  np.testing.assert_array_equal(data.train.pixels[1100], image(order[1100], shape))


def test_reading_needs_no_tensorflow(data_dir):
  """It is not imported where there is one, nor what preparing needs besides; the digits do not pay for the import of TFDS."""
  subprocess.run([sys.executable, '-c', f"""
import sys
sys.modules['importlib_resources'] = None  # importing it would fail
from inverse_matching.data.images import dataset as images
assert 'tensorflow_datasets' not in sys.modules
assert len(images.prepared('mnist', data_dir={str(data_dir)!r}).data.train.pixels) == 30
assert 'tensorflow' not in sys.modules
"""], cwd=ROOT, env=user_environment(), check=True)


def flip(folder):
  data = bytearray((folder / TRAIN).read_bytes())
  data[data.index(b'IDAT') + 9] ^= 1
  (folder / TRAIN).write_bytes(data)


def cut(folder):
  (folder / TRAIN).write_bytes((folder / TRAIN).read_bytes()[:70000])


@pytest.mark.parametrize('damage,words', [
    (flip, 'hash mismatch'),
    (cut, ''),
    (lambda folder: (folder / TRAIN).unlink(), 'No such file'),
    (lambda folder: (folder / 'dataset_info.json').unlink(), 'dataset_info.json is missing'),
    (lambda folder: (folder / 'dataset_info.json').write_text('{"name'), 'JSON'),
], ids=['flip', 'cut', 'no_shard', 'no_info', 'cut_info'])
def test_damaged_data_are_refused(data_dir, damage, words):
  """One flipped bit, files that are cut or missing: the sentence has the command that mends it."""
  damage(data_dir / 'mnist' / '3.0.1')
  with pytest.raises(InputError) as error:
    load(data_dir)
  message = str(error.value)
  assert f'{data_dir}/mnist/3.0.1 is incomplete or damaged (' in message and words in message and '\n' not in message
  assert message.endswith(f': make it anew with python -m launch.prepare_data --dataset=mnist --data_dir={data_dir}.')


def test_missing_data(data_dir, monkeypatch):
  """Nothing there, or what a killed preparation leaves: the sentence has the command, with the folder that was meant."""
  with pytest.raises(InputError, match=f'mnist is not in {data_dir}/none: prepare it with '
                     f'python -m launch.prepare_data --dataset=mnist --data_dir={data_dir}/none'):
    load(data_dir / 'none')
  (data_dir / 'mnist' / '3.0.1').rename(data_dir / 'mnist' / '.prepare-x')
  monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
  with pytest.raises(InputError, match=f'mnist is not in {data_dir}: .* --data_dir={data_dir}'):
    load(None)


def test_tfrecord_files_are_left_alone(data_dir):
  """They may be somebody's: neither read nor replaced."""
  folder = data_dir / 'mnist' / '3.0.1'
  (folder / TRAIN).rename(folder / TRAIN.replace('array_record', 'tfrecord'))
  (folder / 'mnist-test.array_record-00000-of-00001').unlink()
  for function in (load, lambda path: prepare_images.prepare('mnist', path)):
    with pytest.raises(InputError, match='tfrecord files, which cannot be read without TensorFlow: prepare it in another'):
      function(data_dir)
  assert len(list(folder.iterdir())) == 2


def test_wrong_settings_get_a_sentence(data_dir):
  """Levels, numbers, and the settings of another data set."""
  with pytest.raises(InputError, match='config.data.levels is 17, but mnist has 256 grey levels'):
    load(data_dir, levels=17)
  with pytest.raises(InputError, match=f'num_train is 31, but mnist in {data_dir} has 30 such images: give 1 to 30'):
    load(data_dir, num_train=31)
  with pytest.raises(InputError, match='config.data.num_held_out is 0,'):
    load(data_dir, num_held_out=0)
  with pytest.raises(InputError, match="config.data does not fit 'mnist': .*held_out"):
    catalogue.load({'name': 'mnist', 'data_dir': data_dir, 'held_out': 0.1})


def test_prepared_data_are_left_as_they_are(data_dir, monkeypatch):
  """And need no TensorFlow; without it, what is missing cannot be made, and the sentence has the command."""
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'tensorflow' else find_spec(name))
  times = lambda: {path: path.stat().st_mtime_ns for path in data_dir.rglob('*.*') if path.is_file()}
  before = times()
  prepare_images.prepare('mnist', data_dir)
  assert before.items() < times().items() and len(times()) == len(before) + 2  # and the one file that is mapped
  before = times()
  prepare_images.prepare('mnist', data_dir)
  assert times() == before
  flip(data_dir / 'mnist' / '3.0.1')
  for name in ('mnist', 'cifar10'):  # damaged, missing
    with pytest.raises(InputError, match=f"Preparing {name} needs TensorFlow.* pip install 'inverse_matching.data.'"):
      prepare_images.prepare(name, data_dir)


@pytest.mark.slow
def test_command(data_dir):
  """The flags reach prepare(); wrong ones are refused in one line."""
  process = launch('prepare_data', '--dataset=mnist', f'--data_dir={data_dir}')
  assert process.returncode == 0 and f'mnist: 30 training and 12 test images in {data_dir}/mnist/3.0.1.' in process.stderr
  assert 'fashion_mnist' in refused('prepare_data', '--dataset=mnits', f'--data_dir={data_dir}')
  assert '--dataset' in refused('prepare_data')


def archives(folder, first, monkeypatch, name):
  """The original files of MNIST or Fashion-MNIST, shorter, and known to TFDS by their sha256."""
  (folder / name).mkdir(parents=True)
  cls, infos = tfds.builder_cls(name), {}
  for url, info in cls.url_infos.items():
    size = SIZES['test' if info.filename.startswith('t10k') else 'train']
    if 'images' in info.filename:
      content = struct.pack('>4i', 2051, size, 28, 28) + b''.join(image(first + i).tobytes() for i in range(size))
    else:
      content = struct.pack('>2i', 2049, size) + bytes(i % 10 for i in range(size))
    data = gzip.compress(content)
    (folder / name / info.filename).write_bytes(data)
    infos[url] = tfds.download.checksums.UrlInfo(
        size=len(data), checksum=hashlib.sha256(data).hexdigest(), filename=info.filename)
  monkeypatch.setattr(cls, 'url_infos', infos)


def test_archives_are_checked(tmp_path, monkeypatch):
  """A missing file: where to fetch it. Another content: the same, as a command."""
  with pytest.raises(InputError, match='mnist lacks t10k-images-.*ubyte.gz: .* fetch https://.*/t10k-images-.*ubyte.gz and '):
    prepare_images.check_archives('mnist', tmp_path)
  archives(tmp_path, 0, monkeypatch, 'mnist')
  prepare_images.check_archives('mnist', tmp_path)
  path = tmp_path / 'mnist' / 'train-labels-idx1-ubyte.gz'
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(InputError, match=f'{path} is not the registered file, its sha256 begins with [0-9a-f]{{12}} and not '
                     f'[0-9a-f]{{12}}: fetch it again with curl -fLo {path} https://.*/train-labels-idx1-ubyte.gz'):
    prepare_images.check_archives('mnist', tmp_path)


@pytest.mark.slow
def test_prepare_from_archives(tmp_path, monkeypatch):
  """MNIST, then Fashion-MNIST, whose files have the same names: each has its own images. A damaged folder is mended, and
  nothing else is left behind."""
  pytest.importorskip('tensorflow')
  from tensorflow_datasets.image_classification import mnist as builders
  monkeypatch.setattr(builders, '_TRAIN_EXAMPLES', SIZES['train'])
  monkeypatch.setattr(builders, '_TEST_EXAMPLES', SIZES['test'])
  out, firsts = tmp_path / 'data', {'mnist': 0, 'fashion_mnist': 1000}
  for name in ('fashion_mnist', 'mnist'):  # in this order, since the builder of the first is derived from that of the second
    archives(tmp_path / 'archives', firsts[name], monkeypatch, name)
  for name, first in firsts.items():
    prepare_images.prepare(name, out, tmp_path / 'archives')
    data = images.prepared(name, data_dir=out).data
    for split, size in ((data.train, 30), (data.held_out, 12)):
      expected = [(image(first + i).tobytes(), i % 10) for i in range(size)]
      assert sorted(zip(map(bytes, split.pixels), split.labels.tolist())) == sorted(expected)
  flip(out / 'mnist' / '3.0.1')
  prepare_images.prepare('mnist', out, tmp_path / 'archives')
  assert len(load(out).train.pixels) == 30
  assert sorted(path.name for path in out.rglob('*') if path.is_dir()) == ['3.0.1', '3.0.1', 'fashion_mnist', 'mnist']
