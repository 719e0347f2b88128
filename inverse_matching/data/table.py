"""Tables: rows of numbers, standardised by the training part."""
from typing import NamedTuple, Sequence

import numpy as np

from inverse_matching.data.source import Source, Space, num_held_out, prepare_arrays, shuffled, split_off, stack
from inverse_matching.errors import InputError


class Standardise(NamedTuple):
  """The map between rows in their own units and the teacher's space: x = (row - mean) / std."""
  mean: np.ndarray  # [D] float64
  std: np.ndarray  # [D] float64

  def to_x(self, rows: np.ndarray) -> np.ndarray:
    """x [N, D] float32 of rows [N, D]."""
    return ((rows - self.mean) / self.std).astype(np.float32)

  def to_data(self, x: np.ndarray) -> np.ndarray:
    """Rows [N, D] float64 of x [N, D]."""
    return np.asarray(x, np.float64) * self.std + self.mean

  def log_likelihood(self, log_prob: np.ndarray) -> np.ndarray:
    """log p(row) [N] in nats, in the units of the rows, of log p(x) [N]."""
    return np.asarray(log_prob, np.float64) - np.sum(np.log(self.std))


class Table(NamedTuple):
  """A table in the teacher's space."""
  train: np.ndarray  # [N, D] float32
  held_out: np.ndarray  # [M, D] float32
  validation: np.ndarray | None = None


def space(*, mean: Sequence[float], std: Sequence[float], epoch_size: int) -> Space:
  """Returns the space of standardised rows.

  Args:
    mean, std: [D], of the training part.
    epoch_size: training rows.
  """

  def of_pairs(stored):
    count = num_held_out(stored)
    return stored[count:], stack(stored[:count])

  facts = {'kind': 'table', 'mean': list(map(float, mean)), 'std': list(map(float, std)), 'epoch_size': epoch_size}
  codec = Standardise(np.asarray(mean, np.float64), np.asarray(std, np.float64))
  return Space(facts, (len(facts['mean']),), codec, prepare_arrays, of_pairs, epoch_size)


def source(train: np.ndarray, held_out: np.ndarray, *, num_validation: int | None = None,
           shuffle_seed: int | None = 0) -> Source:
  """Returns the Source of a table.

  Args:
    train, held_out: rows [N, D] and [M, D] of finite floats.
    num_validation: how many training rows, the last ones, are set apart for validation; None is none.
    shuffle_seed: of a random order of each part; None is for rows in such an order.

  Raises:
    InputError: a column that is constant in the training part, or no row would be left to train on.
  """
  count = split_off(num_validation, len(train), 'num_validation', 'rows')
  train, held_out = (rows[shuffled(len(rows), shuffle_seed)] for rows in (train, held_out))
  train, validation = np.asarray(train[:count], np.float64), train[count:]
  mean, std = train.mean(0), train.std(0)
  constant = np.flatnonzero(train.min(0) == train.max(0))
  if len(constant):
    raise InputError(f'{_columns(constant)} of the table {"is" if len(constant) == 1 else "are"} constant in the training '
                     'part, and a density of a constant is infinite: leave such columns out.')
  made = space(mean=mean, std=std, epoch_size=count)
  table = Table(*(made.codec.to_x(rows) for rows in (train, held_out)), made.codec.to_x(validation) if num_validation else None)
  examples = lambda rows: {'x': rows}
  judged = table.held_out if table.validation is None else table.validation
  return Source(made, examples(table.train), examples(judged), examples(table.held_out), table)


def _columns(index: np.ndarray) -> str:
  named = ', '.join(map(str, index[:10])) + (', ...' if len(index) > 10 else '')
  return f'Column {named}' if len(index) == 1 else f'Columns {named}'
