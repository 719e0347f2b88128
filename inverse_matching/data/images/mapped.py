"""A prepared data set of images as one file that is mapped into memory: the pixels as they come out of the files of TFDS.

`images.npy` lies beside those files, and `images.json`, written last, has the sha256 of them all. So it is used only as it was
written, and only with the files that it was made from.
"""
import os
import pathlib

from absl import logging
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import files, processes

ARRAY, MANIFEST = 'images.npy', 'images.json'


def record(shape: tuple[int, int, int]) -> np.dtype:
  """Returns what is kept of an image of shape (H, W, C)."""
  return np.dtype([('pixels', np.uint8, shape), ('label', '<i4')])


def load(folder: pathlib.Path, shape: tuple[int, int, int]) -> list[np.ndarray] | None:
  """Returns the records [N] of the training and of the test split; None if the file is missing or not as it should be.

  Args:
    folder: of the files of TFDS.
    shape: of an image.
  """
  try:
    manifest = files.read_json(folder / MANIFEST)
    if manifest['sha256'] != _hashes(folder):
      return None
    train, test = manifest['sizes']
    records = np.asarray(np.load(folder / ARRAY, mmap_mode='r', allow_pickle=False))
    if records.dtype != record(shape) or records.shape != (train + test,) or min(train, test) < 0:
      return None
    return [records[:train], records[train:]]
  except Exception:  # JSON and numpy each raise their own of what was altered, and the file is made anew
    return None


def can_keep(folder: pathlib.Path) -> bool:
  """Returns whether `keep` may write there; of several processes the first alone."""
  return processes.is_first() and os.access(folder, os.W_OK)


def keep(folder: pathlib.Path, splits: list[np.ndarray]) -> None:
  """Writes the records [N] of the training and of the test split, whole or not at all; says so if that cannot be."""
  try:
    with files.whole(folder / ARRAY) as temporary, open(temporary, 'wb') as file:
      np.save(file, np.concatenate(splits), allow_pickle=False)
    files.write_json(folder / MANIFEST, {'sizes': [len(split) for split in splits], 'sha256': _hashes(folder)})
  except (InputError, OSError) as error:
    logging.info('The images are decoded anew by every command, which takes seconds: %s', error)


def _hashes(folder: pathlib.Path) -> dict[str, str]:
  """Returns the sha256 by name of the file and of all that it is made from."""
  paths = [folder / ARRAY, folder / 'dataset_info.json', *sorted(folder.glob('*.array_record*'))]
  return {path.name: files.sha256(path) for path in paths}
