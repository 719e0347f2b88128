"""Batches by step: the data position is the step, so a run resumes with no iterator state."""
from typing import Any, Mapping

import grain
import numpy as np


class Stream:
  """An endless shuffled stream of batches; `stream[step]` is a pure function of step.

  Epochs are permutations by grain, each with its own order; a batch may span two of them.

  Args:
    examples: arrays in memory, name -> [N, ...], or single examples by index, such as data.pairs.dataset.
    batch_size: examples in a batch.
    seed: of the order.
    epoch_size: examples that count as an epoch; None is all of them. Objectives that train on stores of different sizes then
      make the same number of updates in an epoch.
  """

  def __init__(self, examples: Mapping[str, np.ndarray] | grain.MapDataset, batch_size: int, seed: int,
               epoch_size: int | None = None):
    if not isinstance(examples, grain.MapDataset):
      arrays = dict(examples)
      size = len(next(iter(arrays.values())))
      examples = grain.MapDataset.range(size).map(lambda i: {name: array[i] for name, array in arrays.items()})
    self.size = len(examples)
    self.batch_size = batch_size
    self.steps_per_epoch = -(-(epoch_size or self.size) // batch_size)  # rounded up
    self._batches = examples.seed(seed).shuffle().repeat(None).batch(batch_size)

  def __getitem__(self, step: int) -> dict[str, Any]:
    """Arrays [batch_size, ...] and 'position' [batch_size] uint32, the place of each example in the stream."""
    positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
    return {**self._batches[step], 'position': positions.astype(np.uint32)}
