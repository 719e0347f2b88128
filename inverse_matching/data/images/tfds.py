"""Image data sets that launch.prepare_data wrote with TFDS; TensorFlow is not needed to read them, nor TFDS after the first
time."""
import contextlib
import io
import os
import pathlib
import shlex
from typing import NamedTuple, Sequence

from absl import logging
import numpy as np

from inverse_matching.data.directory import directory
from inverse_matching.data.images import mapped
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.runtime.progress import Progress


class DataSet(NamedTuple):
  """What is known of a data set without reading it."""
  version: str  # of TFDS, which names a folder; asking TFDS would take half a second
  shape: tuple[int, int, int]  # of an image
  train: int  # images of the whole set: a folder may hold a part of it
  test: int


SETS = {
    'mnist': DataSet('3.0.1', (28, 28, 1), 60000, 10000),
    'fashion_mnist': DataSet('3.0.1', (28, 28, 1), 60000, 10000),
    'cifar10': DataSet('3.0.2', (32, 32, 3), 50000, 10000),
}
CHUNK = 1000  # images read at once, three times faster than one by one


def folder(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
  """Returns where the files of a data set are, or will be."""
  return directory(data_dir) / name / SETS[name].version


def check_format(name: str, data_dir: str | os.PathLike | None) -> None:
  """Raises InputError if the files are those that TFDS writes by default, which others may use: they are to be left alone."""
  path = folder(name, data_dir)
  if any(path.glob('*.tfrecord*')) and not any(path.glob('*.array_record*')):
    raise InputError(f'{path} holds {name} as tfrecord files, which cannot be read without TensorFlow: prepare it in another '
                     f'folder with {_command(name, "OTHER")} and set config.data.data_dir or TFDS_DATA_DIR to that.')


def read(name: str, *, data_dir: str | os.PathLike | None = None, num_train: int | None = None,
         num_held_out: int | None = None, split_seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns pixels [N, H, W, C] uint8 and labels [N] int32 of the training and of the test split.

  The first call decodes every record, checked against the hash that is stored with it, and keeps them for the others; see
  `mapped`. Where that cannot be written, each call decodes what it returns.

  Args:
    name: a name in SETS.
    data_dir: folder of prepared data sets; None is the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
    num_train: how many training images, the first of a random order, so that fewer are a part of more; None is all.
    num_held_out: the same of the test images.
    split_seed: of that order.

  Raises:
    InputError: the data are missing, incomplete or damaged, or have fewer images than asked for.
  """
  path, known = folder(name, data_dir), SETS[name]
  if not path.is_dir():
    raise InputError(f'{name} is not in {directory(data_dir)}: prepare it with {_command(name, directory(data_dir))}.')
  check_at_least(0, split_seed=split_seed)
  check_format(name, data_dir)
  records = mapped.load(path, known.shape)
  sources = _sources(name, data_dir) if records is None else records
  train, test = map(len, sources)
  if (train, test) != (known.train, known.test):
    logging.warning('%s in %s is a part of the set: %d of %d training and %d of %d test images.', name, directory(data_dir),
                    train, known.train, test, known.test)
  indices = []
  for field, num, size in (('num_train', num_train, train), ('num_held_out', num_held_out, test)):
    if num is not None and not 1 <= num <= size:
      raise InputError(f'config.data.{field} is {num}, but {name} in {directory(data_dir)} has {size} such images: give 1 to '
                       f'{size}, or None for all.')
    indices.append(np.random.default_rng(split_seed).permutation(size)[:num])
  if records is None:
    keeps = mapped.can_keep(path)
    wanted = [np.arange(len(source)) for source in sources] if keeps else indices
    with Progress(f'reading {name}', sum(map(len, wanted)), unit='image') as progress, _damage_told(name, data_dir):
      records = [_decode(source, index, known.shape, progress) for source, index in zip(sources, wanted)]
    if keeps:
      mapped.keep(path, records)
    else:
      indices = [np.arange(len(index)) for index in indices]
  return [(split['pixels'][index], split['label'][index]) for split, index in zip(records, indices)]


def _sources(name: str, data_dir: str | os.PathLike | None) -> Sequence:
  """Returns the training and the test split as TFDS reads them."""
  import tensorflow_datasets as tfds  # slow to import
  with _damage_told(name, data_dir):
    if not (folder(name, data_dir) / 'dataset_info.json').exists():
      raise FileNotFoundError('dataset_info.json is missing')
    # TFDS would decode too, but warns that it prefers OpenCV to Pillow. Told a version, it would follow features.json.
    return tfds.data_source(name, split=['train', 'test'], data_dir=directory(data_dir), download=False,
                            decoders={'image': tfds.decode.SkipDecoding()})


def _decode(source: Sequence, index: np.ndarray, shape: tuple[int, int, int], progress: Progress) -> np.ndarray:
  """Returns the images at index [N] as mapped.record [N]."""
  from PIL import Image
  records = np.empty(len(index), mapped.record(shape))
  for start in range(0, len(index), CHUNK):
    examples = source.__getitems__(index[start:start + CHUNK].tolist())
    for record, example in zip(records[start:], examples):
      pixels = np.asarray(Image.open(io.BytesIO(example['image'])))
      np.copyto(record['pixels'], pixels.reshape(shape), casting='no')  # raises if the pixels are no bytes
      record['label'] = example['label']
    progress.update(len(examples))
  return records


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
