"""The stages of an experiment: each named as it starts, timed, and not done twice."""
import pathlib
import time
from typing import Any, Callable, Mapping

from absl import logging

from inverse_matching.runtime import files


class Stages:
  """Names each stage as it starts, and keeps its seconds in timing.json; there, 'now' is the one that is being done."""

  def __init__(self, path: pathlib.Path, total: int):
    self._path, self._total, self._count = path, total, 0
    self._held = {'stages': {}, **(files.read_json(path) if path.exists() else {})}

  def run(self, name: str, function, *args, **kwargs):
    """Calls the function. A stage that was done before keeps the seconds it took then."""
    self._count += 1
    logging.info('[%d/%d] %s', self._count, self._total, name)
    self.write(now={'stage': name, 'number': self._count, 'of': self._total, 'since': time.time()})
    start = time.monotonic()
    result = function(*args, **kwargs)
    # A stage may be met again when it is done (no work) or half done (a part of it).
    seconds = self._held['stages']
    seconds[name] = max(seconds.get(name, 0.0), time.monotonic() - start)
    self._held.pop('now', None)
    self.write()
    return result

  def write(self, **rows) -> None:
    """Adds rows and writes timing.json."""
    self._held |= rows
    files.write_json(self._path, self._held)


def cached(path: pathlib.Path, command: str, settings: Mapping[str, Any],
           function: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
  """Rows of a JSON made with the same settings, or computed now and written."""
  if path.exists():
    held = files.read_json(path)
    if held['settings'] == settings:
      return held['rows']
  rows = function()
  files.write_json(path, {'command': command, 'settings': settings, 'rows': rows})
  return files.read_json(path)['rows']
