"""The files of an experiment: NAME.json, the table, and its seconds in timing.json."""
import pathlib
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import numpy as np

from inverse_matching.evaluation import tables
from inverse_matching.runtime import files


class Report(NamedTuple):
  """Where an experiment writes."""
  name: str  # of the experiment, as in NAME.json
  workdir: str
  command: str  # that was called, for the record

  def picture(self, suffix: str = '') -> pathlib.Path:
    """Path of the PNG, or of a further one."""
    return pathlib.Path(self.workdir) / f'{self.name}{suffix}.png'

  def write(self, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes NAME.json."""
    files.write_json(pathlib.Path(self.workdir) / f'{self.name}.json',
                     {'command': self.command, 'settings': settings, 'rows': rows})


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
