"""Image data sets as integer arrays in memory."""
import functools
import inspect
from typing import Callable, NamedTuple

import numpy as np

from inverse_matching import registry
from inverse_matching.data import tfds_images
from inverse_matching.errors import InputError


class Split(NamedTuple):
  """Images of one split."""
  pixels: np.ndarray  # [N, H, W, C] integers in 0..levels - 1
  labels: np.ndarray  # [N] integers


class Images(NamedTuple):
  """A data set of images."""
  train: Split
  held_out: Split
  levels: int

  @property
  def event_shape(self) -> tuple[int, int, int]:
    """(H, W, C) of one image."""
    return self.train.pixels.shape[1:]


def digits(*, held_out: float = 0.1, split_seed: int = 0) -> Images:
  """The handwritten digits that scikit-learn ships: 1,797 real 8x8 images with 17 grey levels (UCI optdigits, test part).

  Args:
    held_out: share of the images that is kept out of training.
    split_seed: of the permutation that chooses them.
  """
  from sklearn.datasets import load_digits  # slow to import, and only this data set needs it
  if not 0 < held_out < 1:
    raise InputError(f'config.data.held_out must be a share between 0 and 1, got {held_out}.')
  bunch = load_digits()
  pixels = bunch.images.astype(np.uint8)[..., None]
  order = np.random.default_rng(split_seed).permutation(len(pixels))
  count = round(held_out * len(pixels))
  splits = [Split(pixels[index], bunch.target[index].astype(np.int32)) for index in (order[count:], order[:count])]
  return Images(*splits, levels=17)


def prepared(name: str, *, data_dir: str | None = None, num_train: int | None = None, num_held_out: int | None = None,
             split_seed: int = 0) -> Images:
  """A data set that launch.prepare_data wrote; its test split is held out. See tfds_images.read for the arguments."""
  splits = tfds_images.read(name, data_dir=data_dir, num_train=num_train, num_held_out=num_held_out, split_seed=split_seed)
  return Images(*(Split(*arrays) for arrays in splits), levels=256)


DATASETS: dict[str, Callable[..., Images]] = {
    'digits': digits, **{name: functools.partial(prepared, name) for name in tfds_images.SIZES}}


def load(name: str, *, levels: int, **settings) -> Images:
  """The data set of that name.

  Args:
    name: a name in DATASETS.
    levels: the number of grey levels that the config states.
    **settings: of that data set.

  Raises:
    InputError: unknown name, a setting that is not one of its own, or `levels` is not that of the data.
  """
  factory = registry.find('data set', DATASETS, name)
  signature = inspect.signature(factory)
  try:
    signature.bind(**settings)
  except TypeError as error:
    raise InputError(f'config.data does not fit {name!r}: {error}; its own fields are '
                     f'{", ".join(signature.parameters)}.') from error
  images = factory(**settings)
  if images.levels != levels:
    raise InputError(f'config.data.levels is {levels}, but {name} has {images.levels} grey levels: set it to {images.levels}.')
  return images
