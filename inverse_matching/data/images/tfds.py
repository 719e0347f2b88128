"""Image data sets that launch.prepare_data wrote with TFDS, decoded into memory; TensorFlow is not needed to read."""
import contextlib
import io
import os
import pathlib
import shlex

from absl import logging
import numpy as np

from inverse_matching.data.directory import directory
from inverse_matching.errors import InputError
from inverse_matching.runtime.progress import Progress

# Images of the whole set: a folder may hold a part of it.
SIZES = {
    'mnist': {'train': 60000, 'test': 10000},
    'fashion_mnist': {'train': 60000, 'test': 10000},
    'cifar10': {'train': 50000, 'test': 10000},
}
CHUNK = 1000  # images read at once, three times faster than one by one


def folder(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
  """Returns where the files of a data set are, or will be."""
  import tensorflow_datasets as tfds  # slow to import, and the digits do not need it
  return directory(data_dir) / name / str(tfds.builder_cls(name).VERSION)


def check_format(name: str, data_dir: str | os.PathLike | None) -> None:
  """Raises InputError if the files are those that TFDS writes by default, which others may use: they are to be left alone."""
  path = folder(name, data_dir)
  if any(path.glob('*.tfrecord*')) and not any(path.glob('*.array_record*')):
    raise InputError(f'{path} holds {name} as tfrecord files, which cannot be read without TensorFlow: prepare it in another '
                     f'folder with {_command(name, "OTHER")} and set config.data.data_dir or TFDS_DATA_DIR to that.')


def read(name: str, *, data_dir: str | os.PathLike | None = None, num_train: int | None = None,
         num_held_out: int | None = None, split_seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns pixels [N, H, W, C] uint8 and labels [N] int32 of the training and of the test split.

  Every record is checked against the hash that is stored with it.

  Args:
    name: a name in SIZES.
    data_dir: folder of prepared data sets; None is the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
    num_train: how many training images, the first of a random order, so that fewer are a part of more; None is all.
    num_held_out: the same of the test images.
    split_seed: of that order.

  Raises:
    InputError: the data are missing, incomplete or damaged, or have fewer images than asked for.
  """
  import tensorflow_datasets as tfds
  path = folder(name, data_dir)
  if not path.is_dir():
    raise InputError(f'{name} is not in {directory(data_dir)}: prepare it with {_command(name, directory(data_dir))}.')
  check_format(name, data_dir)
  with _damage_told(name, data_dir):
    if not (path / 'dataset_info.json').exists():
      raise FileNotFoundError('dataset_info.json is missing')
    # TFDS would decode too, but warns that it prefers OpenCV to Pillow.
    sources = tfds.data_source(name, split=['train', 'test'], data_dir=directory(data_dir), download=False,
                               decoders={'image': tfds.decode.SkipDecoding()})
  sizes = dict(zip(('train', 'test'), map(len, sources)))
  if sizes != SIZES[name]:
    logging.warning('%s in %s is a part of the set: %d of %d training and %d of %d test images.', name, directory(data_dir),
                    sizes['train'], SIZES[name]['train'], sizes['test'], SIZES[name]['test'])
  indices = []
  for field, num, size in (('num_train', num_train, sizes['train']), ('num_held_out', num_held_out, sizes['test'])):
    if num is not None and not 1 <= num <= size:
      raise InputError(f'config.data.{field} is {num}, but {name} in {directory(data_dir)} has {size} such images: give 1 to '
                       f'{size}, or None for all.')
    indices.append(np.random.default_rng(split_seed).permutation(size)[:num].tolist())
  with Progress(f'reading {name}', sum(map(len, indices)), unit='image') as progress, _damage_told(name, data_dir):
    return [_decode(source, index, progress) for source, index in zip(sources, indices)]


def _decode(source, index: list[int], progress: Progress) -> tuple[np.ndarray, np.ndarray]:
  from PIL import Image
  pixels, labels = [], []
  for start in range(0, len(index), CHUNK):
    records = source.__getitems__(index[start:start + CHUNK])
    pixels += [np.asarray(Image.open(io.BytesIO(record['image']))) for record in records]
    labels += [record['label'] for record in records]
    progress.update(len(records))
  pixels = np.stack(pixels)
  return pixels.reshape(*pixels.shape[:3], -1), np.array(labels, np.int32)


def _command(name: str, data_dir: str | os.PathLike) -> str:
  return shlex.join(['python', '-m', 'launch.prepare_data', f'--dataset={name}', f'--data_dir={data_dir}'])


@contextlib.contextmanager
def _damage_told(name: str, data_dir: str | os.PathLike | None):
  try:
    yield
  except Exception as error:  # TFDS, array_record, protobuf and Pillow each raise their own
    reason = str(error).partition('\n')[0].rstrip('.')
    raise InputError(f'{folder(name, data_dir)} is incomplete or damaged ({reason}): make it anew with '
                     f'{_command(name, directory(data_dir))}.') from error
