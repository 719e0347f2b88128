"""A user's own arrays in a file: integers are images, a matrix of floats is a table."""
import os
from typing import Any
import zipfile

import numpy as np

from inverse_matching.data import table
from inverse_matching.data.images import dataset as images
from inverse_matching.data.source import Source
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.runtime import files

NAMES = ('x', 'labels', 'held_out', 'held_out_labels')  # of the arrays in an .npz
CHANNELS = (1, 3)


def arrays(*, path: str | None = None, levels: int | None = None, logit_lambda: float | None = None,
           end_noise: str | None = None, held_out: float = 0.1, split_seed: int = 0, num_validation: int | None = None,
           sha256: str | None = None) -> Source:
  """Returns the data in an .npy or .npz file: images, if they are integers, or a table of floats.

  Args:
    path: .npy with x; or .npz with x, and if there are, labels [N], held_out and held_out_labels. A single array may have any
      name. x is integers [N, H, W] or [N, H, W, C] in 0..levels - 1, or floats [N, D].
    levels: grey levels of images; None is 256 if the largest value is from 128 to 255, and else one more than that value.
    logit_lambda: of images, see images.dataset.space; also for end_noise.
    end_noise: of their end levels.
    held_out: share of x that is kept out of training where the file has no held_out.
    split_seed: of the permutation that chooses it; of the order of both parts where the file has both.
    num_validation: how many training examples are set apart for validation; None is none.
    sha256: of the file; a run notes it, so that it does not go on with another one.

  Raises:
    InputError: there is no such file, it is another one, or what is in it cannot be trained on.
  """
  if sha256 is not None and not os.path.isfile(path):
    raise InputError(f'The data of this run were {path}, where there is no file now: put that file, or a link to it, there.')
  found = _read(path)
  if sha256 not in (None, files.sha256(path)):
    raise InputError(f'{path} is another file than the one that was trained on: put that one back, or train anew.')
  check_at_least(0, split_seed=split_seed)
  shuffle_seed = split_seed if 'held_out' in found else None
  if 'held_out' in found:
    train, rest = ({'x': found[x], 'labels': found.get(labels)} for x, labels in (NAMES[:2], NAMES[2:]))
  else:
    train, rest = _split(found['x'], found.get('labels'), held_out, split_seed)
  if np.issubdtype(found['x'].dtype, np.floating):
    if (levels, logit_lambda, end_noise) != (None, None, None):
      raise InputError(f'config.data.levels, logit_lambda and end_noise are for images, and {path} holds a table of floats: '
                       'take a config such as configs/table.py, where they are not set.')
    return table.source(train['x'], rest['x'], num_validation=num_validation, shuffle_seed=shuffle_seed)
  largest = max(int(part['x'].max()) for part in (train, rest))
  levels = levels or (256 if 127 < largest < 256 else largest + 1)
  if largest >= levels:
    raise InputError(f'{path} holds values up to {largest}, but config.data.levels is {levels}: set it to {largest + 1} or '
                     'more.')
  splits = (images.Split(part['x'], part['labels']) for part in (train, rest))
  return images.source(images.Images(*splits, levels=levels), name=str(path), logit_lambda=logit_lambda,
                       end_noise=end_noise, num_validation=num_validation, shuffle_seed=shuffle_seed)


def _read(path: str | None) -> dict[str, np.ndarray]:
  """Name, of NAMES -> array; images as [N, H, W, C]."""
  if path is None:
    raise InputError('config.data.path is not set: name an .npy or .npz file, as in --config.data.path=mine.npz.')
  if not os.path.isfile(path):
    raise InputError(f'config.data.path is {str(path)!r}, which is no file: name an .npy or .npz file.')
  try:
    loaded = np.load(path, allow_pickle=False)
    found = {'x': loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise InputError(f'{path} cannot be read as arrays ({str(error).partition(chr(10))[0]}): write it by numpy.save or '
                     'numpy.savez, without objects.') from error
  if len(found) == 1:
    found = {'x': next(iter(found.values()))}
  unknown = [name for name in found if name not in NAMES]
  if 'x' not in found or unknown:
    raise InputError(f'{path} holds {", ".join(found) or "nothing"}: name its arrays {", ".join(NAMES)}, of which x alone '
                     'must be there.')
  for name in ('x', 'held_out'):
    if name in found:
      found[name] = _examples(found[name], path, name)
  if 'held_out' in found and (found['held_out'].shape[1:] != found['x'].shape[1:]
                              or np.issubdtype(found['held_out'].dtype, np.floating)
                              != np.issubdtype(found['x'].dtype, np.floating)):
    raise InputError(f'{path} holds x {_described(found["x"])} and held_out {_described(found["held_out"])}: their examples '
                     'must have one shape and type.')
  for name, of in (('labels', 'x'), ('held_out_labels', 'held_out')):
    if name in found:
      found[name] = _labels(found[name], len(found.get(of, ())), path, name, of)
  if 'held_out' in found and ('labels' in found) != ('held_out_labels' in found):
    raise InputError(f'{path} has labels of one part alone: give labels and held_out_labels, or neither.')
  return found


def _described(array: np.ndarray) -> str:
  return f'{array.dtype} {list(array.shape)}'


def _examples(array: np.ndarray, path: Any, name: str) -> np.ndarray:
  given = f'{path} holds {_described(array)} as {name}'
  if not array.size or len(array) < (2 if name == 'x' else 1):
    raise InputError(f'{given}: give two examples or more.')
  if np.issubdtype(array.dtype, np.floating):
    if array.ndim != 2:
      raise InputError(f'{given}: images are integers 0..levels - 1 (of floats between 0 and 1 make some by '
                       'numpy.round(255 * x).astype("uint8")), and a table is [N, D].')
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
      raise InputError(f'{given}, and {len(wrong)} of its values are not finite, the first in row {wrong[0][0]}, column '
                       f'{wrong[0][1]}: fill them in, or leave those rows out.')
    return array
  if array.dtype == bool:
    array = array.astype(np.uint8)
  if not np.issubdtype(array.dtype, np.integer):
    raise InputError(f'{given}: give integers (images) or floats (a table).')
  if array.ndim not in (3, 4) or array.ndim == 4 and array.shape[-1] not in CHANNELS:
    raise InputError(f'{given}: images are [N, H, W], or [N, H, W, C] with 1 or 3 channels, which come last; a table is '
                     '[N, D] of floats, which astype(float) makes of integers.')
  if array.min() < 0:
    raise InputError(f'{given}, with values from {array.min()}: images are integers 0..levels - 1.')
  array = array if array.ndim == 4 else array[..., None]
  return array.astype(np.uint8) if array.max() < 256 else array.astype(np.int32)


def _labels(array: np.ndarray, count: int, path: Any, name: str, of: str) -> np.ndarray:
  if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
    raise InputError(f'{path} holds {_described(array)} as {name}: labels are integers from 0, one for each of the {count} '
                     f'examples of {of}.')
  return array.astype(np.int32)


def _split(x: np.ndarray, labels: np.ndarray | None, share: float, seed: int) -> list[dict[str, np.ndarray | None]]:
  """The part to train on and the one held out."""
  if not 0 < share < 1:
    raise InputError(f'config.data.held_out must be a share between 0 and 1, got {share}.')
  order, count = np.random.default_rng(seed).permutation(len(x)), round(share * len(x))
  if not 0 < count < len(x):
    raise InputError(f'config.data.held_out is {share}, which is {count} of {len(x)} examples: choose a share that leaves '
                     'some in both parts.')
  return [{'x': x[index], 'labels': None if labels is None else labels[index]} for index in (order[count:], order[:count])]
