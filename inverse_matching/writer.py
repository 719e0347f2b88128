"""What a run leaves for people: metrics.jsonl, the same for TensorBoard, and image grids."""
import contextlib
import io
import json
import os
import pathlib
from typing import Mapping

import numpy as np
from PIL import Image

from inverse_matching import files, processes
from inverse_matching.board import Board
from inverse_matching.errors import InputError

# Fields of metrics.jsonl that equal runs do not share.
MEASURED = ('examples_per_second', 'data_wait_share', 'wall_time', 'peak_host_bytes', 'peak_device_bytes')


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


def image_grid(images: np.ndarray, columns: int, levels: int, pad: int = 1) -> np.ndarray:
  """Integer images [N, H, W, C] of values 0..levels - 1 as one uint8 picture [H', W', C], row by row, white between."""
  n, height, width, channels = images.shape
  rows = -(-n // columns)
  grid = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 255, np.uint8)
  scaled = np.round(images.astype(np.float64) * (255 / (levels - 1))).astype(np.uint8)
  for i, image in enumerate(scaled):
    top, left = pad + (i // columns) * (height + pad), pad + (i % columns) * (width + pad)
    grid[top:top + height, left:left + width] = image
  return grid


def write_png(path: str | os.PathLike, picture: np.ndarray, zoom: int = 4) -> None:
  """Writes a uint8 picture [H, W, C], each pixel a square of `zoom`."""
  picture = np.repeat(np.repeat(picture, zoom, 0), zoom, 1)
  buffer = io.BytesIO()
  Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, format='PNG')
  files.write_bytes(path, buffer.getvalue())
