"""Data sets as models train on them: examples by index, and how a batch of them becomes a Batch. Images, and speech."""
import functools
from typing import Any, Callable, Mapping, NamedTuple

import grain
import jax
import numpy as np

from inverse_matching import random, transforms
from inverse_matching.data import crops, images, speech
from inverse_matching.errors import InputError
from inverse_matching.types import Batch

Examples = Mapping[str, np.ndarray] | grain.MapDataset  # name -> [N, ...], or examples by index


def prepare_arrays(raw: Mapping[str, Any], *, seed: int) -> Batch:
  """Examples that are in the teacher's space already, with their position in the stream of that seed."""
  keys = random.keys_at(seed, raw['position'])
  return Batch(x=raw['x'], z=raw.get('z'), cond=raw.get('cond'), mask=raw.get('mask'), key=keys)


class ImageData(NamedTuple):
  """Images, dequantised anew whenever they are seen."""
  images: images.Images
  preprocess: transforms.Preprocess

  @property
  def event_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    return self.images.event_shape

  @property
  def model_settings(self) -> dict[str, Any]:
    """What models take from the data beside the event shape."""
    return {}

  @property
  def check_settings(self) -> dict[str, Any]:
    """Of teachers.check."""
    return {}

  @property
  def epoch_size(self) -> int:
    """Examples that count as an epoch for every objective."""
    return len(self.images.train.pixels)

  def examples(self) -> tuple[Examples, Mapping[str, np.ndarray]]:
    """(training examples, held-out examples in memory)."""
    return {'pixels': self.images.train.pixels}, {'pixels': self.images.held_out.pixels}

  def prepare(self, seed: int) -> Callable[[Mapping[str, Any]], Batch]:
    """Makes a Batch of a batch of examples; runs on the devices."""

    def prepare(raw):
      keys = random.keys_at(seed, raw['position'])
      return Batch(x=self.preprocess.to_x(raw['pixels'], keys), key=keys)

    return prepare

  def pairs(self, stored: grain.MapDataset) -> tuple[Examples, Mapping[str, np.ndarray]]:
    """(pairs to train on, held-out ones in memory) of a store; the pairs stay on disk."""
    count = _num_held_out(stored)
    return stored[count:], crops.stack(stored[:count])


class SpeechData(NamedTuple):
  """Utterances with their features, seen as crops."""
  speech: speech.Speech
  crop_frames: int
  burn_in_frames: int

  @property
  def event_shape(self) -> tuple[None]:
    """(T,), open."""
    return (None,)

  @property
  def model_settings(self) -> dict[str, Any]:
    """What models take from the data beside the event shape."""
    return {'num_features': self.speech.train[0].features.shape[1]}

  @property
  def check_settings(self) -> dict[str, Any]:
    """Of teachers.check: two frames."""
    return {'length': 2 * self.speech.hop,
            'cond': jax.ShapeDtypeStruct((2, self.speech.train[0].features.shape[1]), np.float32)}

  @property
  def epoch_size(self) -> int:
    """Crops that hold as many frames as the utterances do."""
    return max(1, sum(len(u.features) for u in self.speech.train) // (self.crop_frames - self.burn_in_frames))

  def _crops(self, utterances) -> grain.MapDataset:
    return crops.crops(utterances, num_frames=self.crop_frames, burn_in=self.burn_in_frames)

  def examples(self) -> tuple[Examples, Mapping[str, np.ndarray]]:
    """(training examples, held-out examples in memory)."""
    of = lambda split: self._crops([{'x': u.waveform, 'cond': u.features} for u in split])
    return of(self.speech.train), crops.stack(of(self.speech.held_out))

  def prepare(self, seed: int) -> Callable[[Mapping[str, Any]], Batch]:
    """Makes a Batch of a batch of examples; runs on the devices."""
    return functools.partial(prepare_arrays, seed=seed)

  def pairs(self, stored: grain.MapDataset) -> tuple[Examples, Mapping[str, np.ndarray]]:
    """(crops to train on, held-out ones in memory) of a store of utterances, which is read as a whole."""
    count, utterances = _num_held_out(stored), list(stored)
    return self._crops(utterances[count:]), crops.stack(self._crops(utterances[:count]))


def _num_held_out(stored: grain.MapDataset) -> int:
  """A sixteenth."""
  if len(stored) < 2:
    raise InputError('There is one pair, and it is held out: make more with launch.make_pairs --num.')
  return max(1, len(stored) // 16)


def load(settings: Mapping[str, Any]) -> ImageData | SpeechData:
  """The data of config.data.

  Raises:
    InputError: see images.load and speech.load.
  """
  settings = dict(settings)
  if settings['name'] in speech.SOURCES:
    framing = {name: settings.pop(name) for name in ('crop_frames', 'burn_in_frames')}
    return SpeechData(speech.load(**settings), **framing)
  logit_lambda = settings.pop('logit_lambda', None)
  loaded = images.load(**settings)
  preprocess = (transforms.dequantise_uniform(loaded.levels) if logit_lambda is None else
                transforms.dequantise_logit(loaded.levels, logit_lambda))
  return ImageData(loaded, preprocess)
