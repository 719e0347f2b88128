"""The files of an experiment: NAME.json, the table, and its seconds in timing.json."""
import pathlib
import time
from typing import Any, Iterable, Mapping, Sequence

from absl import logging
import numpy as np

from inverse_matching.evaluation import tables
from inverse_matching.runtime import files


class Report:
  """Where an experiment writes. Made when it starts: its seconds count from then.

  Attributes:
    path: the working directory.
    name: of the experiment, as in NAME.json.
  """

  def __init__(self, name: str, workdir: str, command: str):
    self.path, self.name = pathlib.Path(workdir), name
    self._command, self._start = command, time.monotonic()
    logging.info('%s', name)

  def picture(self, suffix: str = '') -> pathlib.Path:
    """Path of the PNG, or of a further one."""
    return self.path / f'{self.name}{suffix}.png'

  def write(self, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes NAME.json and adds the seconds to timing.json."""
    files.write_json(self.path / f'{self.name}.json', {'command': self._command, 'settings': settings, 'rows': rows})
    timing = self.path / 'timing.json'
    held = files.read_json(timing) if timing.exists() else {}
    files.write_json(timing, held | {self.name: round(time.monotonic() - self._start, 1)})


def number(value: Any) -> str:
  """A number, or anything else, as a cell."""
  return f'{value:.3g}' if isinstance(value, (float, np.floating)) else str(value)


def median_table(rows: Iterable[Mapping[str, Any]], by: Sequence[str], columns: Sequence[str]) -> str:
  """A line per group of rows with equal `by`: the medians of the columns, with the quartiles in brackets."""
  groups: dict[tuple, list[Mapping[str, Any]]] = {}
  for row in rows:
    groups.setdefault(tuple(row[name] for name in by), []).append(row)

  def cell(group, name):
    values = [row[name] for row in group if row[name] is not None]
    if not values:
      return ''
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return number(middle) if len(values) == 1 else f'{number(middle)} [{number(low)}, {number(high)}]'

  lines = [[*by, 'seeds', *columns]]
  lines += [[*map(number, key), str(len(group)), *(cell(group, name) for name in columns)] for key, group in groups.items()]
  return tables.plain(lines)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """A line per row."""
  return tables.plain([list(columns), *([number(row[name]) for name in columns] for row in rows)])
