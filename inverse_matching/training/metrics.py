"""What a run leaves for people: metrics.jsonl, the same for TensorBoard, and image grids."""
import contextlib
import json
import math
import os
import pathlib
from typing import Mapping

import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import files, processes
from inverse_matching.training.tensorboard import Board

# Fields of metrics.jsonl that equal runs do not share.
MEASURED = ('examples_per_second', 'data_wait_share', 'wall_time', 'peak_host_bytes', 'peak_device_bytes')


def held_out_losses(workdir: str | os.PathLike) -> dict[int, float]:
  """Updates -> held-out loss, of the metrics.jsonl of a run; infinite where it was not finite, which JSON has as null."""
  rows = [json.loads(line) for line in (pathlib.Path(workdir) / 'metrics.jsonl').read_text().splitlines()]
  found = {row['step']: row['held_out_loss'] for row in rows if 'held_out_loss' in row}
  return {step: math.inf if loss is None else loss for step, loss in found.items()}


def examples_per_second(workdir: str | os.PathLike) -> float:
  """The median over a run, of its metrics.jsonl."""
  rows = [json.loads(line) for line in (pathlib.Path(workdir) / 'metrics.jsonl').read_text().splitlines()]
  return float(np.median([row['examples_per_second'] for row in rows if row.get('examples_per_second') is not None]))


class MetricsWriter:
  """Appends one JSON object a line to `metrics.jsonl`; on resume, lines past the resumed step are dropped."""

  def __init__(self, workdir: str | os.PathLike, resume_step: int):
    self._path = pathlib.Path(workdir) / 'metrics.jsonl'
    kept = []
    if self._path.exists():
      for line in self._path.read_text().splitlines():
        try:
          if json.loads(line)['step'] <= resume_step:
            kept.append(line)
        except (ValueError, KeyError, TypeError):
          continue  # the line that was being written when the run was killed
    files.write_bytes(self._path, ''.join(line + '\n' for line in kept).encode())
    self._file = open(self._path if processes.is_first() else os.devnull, 'a', buffering=1)
    self._board = Board(pathlib.Path(workdir) / 'tensorboard')

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Writes scalars of one step; those that are not finite become null.

    Raises:
      InputError: they cannot be written.
    """
    row = {name: value if np.isfinite(value) else None for name, value in values.items()}
    try:
      self._file.write(json.dumps({'step': step, **row}) + '\n')
      self._board.scalars(step, values)
    except OSError as error:
      raise InputError(f'Cannot write to {self._path} or what lies beside it ({error.strerror}): free space and run the same '
                       'command again to go on.') from error

  def close(self) -> None:
    """Closes the files."""
    for file in (self._file, self._board):
      with contextlib.suppress(OSError):  # of what `write` has told already
        file.close()


