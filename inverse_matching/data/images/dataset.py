"""Image data sets: the handwritten digits, those of launch.prepare_data, and a Source of any integer images."""
from typing import NamedTuple

import numpy as np

from inverse_matching import random
from inverse_matching.data.images import dequantise
from inverse_matching.data.images import tfds as tfds_images
from inverse_matching.data.source import Source, Space, num_held_out, shuffled, split_off, stack
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.types import Batch

JUDGED = 2000  # pairs of those held out, at most, that a held-out loss is over


class Split(NamedTuple):
  """Images of one part of a data set."""
  pixels: np.ndarray  # [N, H, W, C] integers in 0..levels - 1
  labels: np.ndarray | None = None  # [N] integers; None: there are none


class Images(NamedTuple):
  """A data set of images."""
  train: Split
  held_out: Split
  levels: int
  validation: Split | None = None


def space(*, event_shape: tuple[int, int, int], levels: int, logit_lambda: float | None, epoch_size: int,
          end_noise: str | None = None) -> Space:
  """Returns the space of integer images, dequantised anew whenever they are seen.

  Args:
    event_shape: (H, W, C).
    levels: number of grey levels.
    logit_lambda: of the logit, see dequantise.dequantise_logit; None is the space of pixel + u.
    epoch_size: training images.
    end_noise: of the first and the last grey level in the logit, see dequantise.dequantise_logit.

  Raises:
    InputError: end_noise without the logit.
  """
  if logit_lambda is None and end_noise is not None:
    raise InputError(f'config.data.end_noise is {end_noise}, which is noise in the logit, and config.data.logit_lambda is '
                     'None: set both, or neither.')
  codec = (dequantise.dequantise_uniform(levels) if logit_lambda is None else
           dequantise.dequantise_logit(levels, logit_lambda, end_noise))

  def prepare(seed):

    def prepare_pixels(raw):
      keys = random.keys_at(seed, raw['position'])
      return Batch(x=codec.to_x(raw['pixels'], keys), key=keys)

    return prepare_pixels

  def of_pairs(stored):
    count = num_held_out(stored)
    return stored[count:], stack(stored[:min(count, JUDGED)])

  facts = {'kind': 'images', 'event_shape': list(event_shape), 'levels': levels, 'logit_lambda': logit_lambda,
           'epoch_size': epoch_size, **({} if end_noise is None else {'end_noise': end_noise})}
  return Space(facts, tuple(event_shape), codec, prepare, of_pairs, epoch_size, levels=levels)


def source(images: Images, *, name: str, levels: int | None = None, logit_lambda: float | None = None,
           end_noise: str | None = None, num_validation: int | None = None, shuffle_seed: int | None = 0) -> Source:
  """Returns the Source of images.

  Args:
    images: the data.
    name: of the data set, for messages.
    levels: the number of grey levels that the config states; None is that of the data.
    logit_lambda: see `space`; also for end_noise.
    end_noise: of the end levels.
    num_validation: how many training images, the last ones, are set apart for validation; None is none.
    shuffle_seed: of a random order of each part, so that its first images and its last ones are not of some classes alone; None
      is for images in such an order.

  Raises:
    InputError: the pixels are no integers [N, H, W, C] of these levels, `levels` is not that of the data, no image would be
      left to train on, or all labels are the same.
  """
  for split in (images.train, images.held_out):
    pixels = split.pixels
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0, 0)
    if not np.issubdtype(pixels.dtype, np.integer) or pixels.ndim != 4 or low < 0 or high >= images.levels:
      raise InputError(f'The pixels of {name} are {pixels.dtype} {list(pixels.shape)} from {low} to {high}: images are '
                       f'integers [N, H, W, C] from 0 to {images.levels - 1}.')
  if levels not in (None, images.levels):
    raise InputError(f'config.data.levels is {levels}, but {name} has {images.levels} grey levels: set it to {images.levels}.')
  if images.train.labels is not None and len(np.unique(images.train.labels)) < 2:
    raise InputError(f'The labels of {name} are all the same: leave them out (the metrics then use features that need none), '
                     'or give some of two classes.')
  count = split_off(num_validation, len(images.train.pixels), 'num_validation', 'images')
  part = lambda split, chosen: Split(*(None if array is None else array[chosen] for array in split))
  train, held_out = (part(split, shuffled(len(split.pixels), shuffle_seed)) for split in (images.train, images.held_out))
  images = images._replace(train=part(train, slice(count)), held_out=held_out)
  if num_validation is not None:
    images = images._replace(validation=part(train, slice(count, None)))
  examples = lambda split: {'pixels': split.pixels}
  return Source(space(event_shape=images.train.pixels.shape[1:], levels=images.levels, logit_lambda=logit_lambda,
                      end_noise=end_noise, epoch_size=count),
                examples(images.train), examples(images.validation or images.held_out), examples(images.held_out), images)


def digits(*, levels: int | None = None, logit_lambda: float | None = None, end_noise: str | None = None,
           held_out: float = 0.1, split_seed: int = 0, num_validation: int | None = None) -> Source:
  """Returns the handwritten digits of scikit-learn: 1,797 real 8x8 images with 17 grey levels (UCI optdigits, test part).

  Args:
    levels: see `source`; also for the next two and the last.
    logit_lambda: of the logit.
    end_noise: of the end levels.
    held_out: share of the images that is kept out of training.
    split_seed: of the permutation that chooses them.
    num_validation: images set apart for validation.
  """
  from sklearn.datasets import load_digits  # slow to import, and only this data set needs it
  if not 0 < held_out < 1:
    raise InputError(f'config.data.held_out must be a share between 0 and 1, got {held_out}.')
  check_at_least(0, split_seed=split_seed)
  bunch = load_digits()
  pixels = bunch.images.astype(np.uint8)[..., None]
  order = np.random.default_rng(split_seed).permutation(len(pixels))
  count = round(held_out * len(pixels))
  splits = [Split(pixels[index], bunch.target[index].astype(np.int32)) for index in (order[count:], order[:count])]
  return source(Images(*splits, levels=17), name='digits', levels=levels, logit_lambda=logit_lambda,
                end_noise=end_noise, num_validation=num_validation, shuffle_seed=None)


def prepared(name: str, *, levels: int | None = None, logit_lambda: float | None = None, end_noise: str | None = None,
             data_dir: str | None = None, num_train: int | None = None, num_held_out: int | None = None,
             num_validation: int | None = None, split_seed: int = 0) -> Source:
  """Returns a data set that launch.prepare_data wrote; its test split is held out.

  Args:
    name: a name in tfds_images.SETS.
    levels: see `source`; also for logit_lambda, end_noise and num_validation.
    logit_lambda: of the logit.
    end_noise: of the end levels.
    data_dir: see tfds_images.read; also for the next two and the last.
    num_train: how many training images.
    num_held_out: how many test images.
    num_validation: images set apart for validation.
    split_seed: of the order of the images.
  """
  splits = tfds_images.read(name, data_dir=data_dir, num_train=num_train, num_held_out=num_held_out, split_seed=split_seed)
  return source(Images(*(Split(*arrays) for arrays in splits), levels=256), name=name, levels=levels,
                logit_lambda=logit_lambda, end_noise=end_noise, num_validation=num_validation, shuffle_seed=None)
