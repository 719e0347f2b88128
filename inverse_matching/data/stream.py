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
    part: (i, n) gives the i-th of n equal parts of each batch, one for each of n processes.
  """

  def __init__(self, examples: Mapping[str, np.ndarray] | grain.MapDataset, batch_size: int, seed: int,
               epoch_size: int | None = None, part: tuple[int, int] = (0, 1)):
    if not isinstance(examples, grain.MapDataset):
      arrays = dict(examples)
      size = len(next(iter(arrays.values())))
      examples = grain.MapDataset.range(size).map(lambda i: {name: array[i] for name, array in arrays.items()})
    self.size = len(examples)
    self.batch_size = batch_size
    self.steps_per_epoch = -(-(epoch_size or self.size) // batch_size)  # rounded up
    self._part, self._num_parts = part
    self._part_size = batch_size // self._num_parts
    self._parts = examples.seed(seed).shuffle().repeat(None).batch(self._part_size)

  def __getitem__(self, step: int) -> dict[str, Any]:
    """Returns arrays [B, ...] of the part and 'position' [B] uint32, the place of each example in the stream."""
    index = step * self._num_parts + self._part
    positions = np.arange(index * self._part_size, (index + 1) * self._part_size)
    return {**self._parts[index], 'position': positions.astype(np.uint32)}
