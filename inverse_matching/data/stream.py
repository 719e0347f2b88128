"""Batches by step: the data position is the step, so a run resumes with no iterator state."""
from typing import Mapping

import grain
import numpy as np


class Stream:
  """An endless shuffled stream of batches over arrays in memory; `stream[step]` is a pure function of step.

  Epochs are permutations by grain, each with its own order; a batch may span two of them.

  Args:
    arrays: name -> [N, ...].
    batch_size: examples in a batch.
    seed: of the order.
    epoch_size: examples that count as an epoch; None is all of them. Objectives that train on stores of different sizes then
      make the same number of updates in an epoch.
  """

  def __init__(self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int, epoch_size: int | None = None):
    self._arrays = dict(arrays)
    self.size = len(next(iter(self._arrays.values())))
    self.batch_size = batch_size
    self.steps_per_epoch = -(-(epoch_size or self.size) // batch_size)  # rounded up
    self._order = grain.MapDataset.range(self.size).seed(seed).shuffle().repeat(None)

  def __getitem__(self, step: int) -> dict[str, np.ndarray]:
    """Arrays [batch_size, ...] and 'position' [batch_size] uint32, the place of each example in the stream."""
    positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
    index = np.array([self._order[int(i)] for i in positions])
    return {**{name: array[index] for name, array in self._arrays.items()}, 'position': positions.astype(np.uint32)}
