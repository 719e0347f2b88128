"""The contract of data: a Space is what a model must know of its data; a Source has the examples too."""
from typing import Any, Callable, Mapping, NamedTuple

import grain
import numpy as np

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.types import Batch

Examples = Mapping[str, np.ndarray] | grain.MapDataset  # name -> [N, ...], or examples by index


class Space(NamedTuple):
  """What a model must know of its data: with it alone it is built, samples, is solved and scores.

  Attributes:
    facts: JSON values from which catalogue.space makes it again; None if that cannot be: the data are then needed.
    event_shape: of one example; an open time axis is None.
    codec: maps between what people look at or listen to and the teacher's space, in the form of its kind of data.
    prepare: seed -> (raw batch of examples with 'position' [B] -> Batch); what it returns runs on the devices.
    of_pairs: a store of pairs by index -> (examples to train on, held-out examples in memory).
    epoch_size: examples that count as an epoch, for every objective.
    levels: of integer data, else None.
    model_settings: what factories of models get beside the event shape.
    check_settings: of teachers.check.
  """
  facts: Mapping[str, Any] | None
  event_shape: tuple[int | None, ...]
  codec: Any
  prepare: Callable[[int], Callable[[Mapping[str, Any]], Batch]]
  of_pairs: Callable[[grain.MapDataset], tuple[Examples, Examples]]
  epoch_size: int
  levels: int | None = None
  model_settings: Mapping[str, Any] = {}
  check_settings: Mapping[str, Any] = {}


class Source(NamedTuple):
  """A data set: its space, its examples in three parts, and the data themselves for what looks at them as such.

  Attributes:
    space: see Space.
    train: examples to train on.
    validation: examples in memory for what is looked at during training; the held-out ones where none are set apart.
    held_out: examples in memory for the end.
    data: Images, Speech, or whatever the kind of data has.
  """
  space: Space
  train: Examples
  validation: Examples
  held_out: Examples
  data: Any


def prepare_arrays(seed: int) -> Callable[[Mapping[str, Any]], Batch]:
  """Makes Space.prepare of examples that are in the teacher's space already."""

  def prepare(raw):
    keys = random.keys_at(seed, raw['position'])
    return Batch(x=raw['x'], z=raw.get('z'), cond=raw.get('cond'), mask=raw.get('mask'), key=keys)

  return prepare


def stack(examples: grain.MapDataset) -> dict[str, Any]:
  """Returns all examples as arrays [N, ...]."""
  return examples.batch(len(examples))[0]


def size(examples: Examples) -> int:
  """Returns the number of examples."""
  return len(examples) if isinstance(examples, grain.MapDataset) else len(next(iter(examples.values())))


def take(examples: Examples, index: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the examples of an index [n] as arrays [n, ...]."""
  if isinstance(examples, grain.MapDataset):
    chosen = [examples[int(i)] for i in index]
    return {name: np.stack([each[name] for each in chosen]) for name in chosen[0]}
  return {name: array[index] for name, array in examples.items()}


def num_held_out(stored: grain.MapDataset) -> int:
  """Returns how many pairs of a store are held out: one in sixteen, and one at least."""
  if len(stored) < 2:
    raise InputError('There is one pair, and it is held out: make more with launch.make_pairs --num.')
  return max(1, len(stored) // 16)


def shuffled(total: int, seed: int | None) -> np.ndarray | slice:
  """Returns the index [total] of a random order of examples, or of all as they are where the seed is None."""
  return slice(None) if seed is None else np.random.default_rng(seed).permutation(total)


def split_off(count: int | None, total: int, field: str, what: str) -> int:
  """Returns how many of `total` training examples stay for training when `count` are set apart for validation, or None.

  Raises:
    InputError: none would stay, or the count is below 1.
  """
  if count is not None and not 1 <= count < total:
    raise InputError(f'config.data.{field} is {count}, but there are {total} training {what}: give 1 to {total - 1}, or None '
                     'for no validation part.')
  return total - (count or 0)


