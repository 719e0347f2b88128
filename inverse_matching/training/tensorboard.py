"""Events for TensorBoard, where tensorboardX is installed (the extra [tensorboard])."""
import contextlib
import os
import pathlib
import time
from typing import Mapping

import numpy as np

from inverse_matching.runtime import processes


class Board:
  """Writes an event file in a folder; does nothing without tensorboardX, and on all processes but the first.

  Events are written at once: tensorboardX.SummaryWriter has a thread for it, which on a full disk leaves the program waiting.
  """

  def __init__(self, folder: str | os.PathLike):
    self._events = None
    try:
      from tensorboardX import event_file_writer, summary
      from tensorboardX.proto import event_pb2
    except ImportError:
      return
    if processes.is_first():
      pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
      self._summary, self._event = summary, event_pb2.Event
      self._events = event_file_writer.EventsWriter(str(pathlib.Path(folder) / 'events'))

  def _write(self, step: int, *summaries) -> None:
    for value in summaries:
      self._events.write_event(self._event(wall_time=time.time(), step=step, summary=value))
    self._events.flush()

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes numbers by name; those that are not finite are left out."""
    if self._events is not None:
      self._write(step, *(self._summary.scalar(name, value) for name, value in values.items() if np.isfinite(value)))

  def image(self, step: int, name: str, picture: np.ndarray) -> None:
    """Writes a uint8 picture [H, W, C]."""
    if self._events is not None:
      self._write(step, self._summary.image(name, picture, dataformats='HWC'))

  def audio(self, step: int, name: str, waveform: np.ndarray, rate: int) -> None:
    """Writes a waveform [T] in (-1, 1); needs soundfile."""
    if self._events is not None:
      with contextlib.suppress(ImportError):
        self._write(step, self._summary.audio(name, waveform, rate))

  def close(self) -> None:
    """Closes the file."""
    if self._events is not None:
      self._events.close()
