"""What every figure is made with: the call of launch.reproduce, the rows and files that it leaves, and its stages."""
import json
import pathlib
import re
import time
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from absl import logging
from matplotlib import pyplot as plt
import numpy as np
import tqdm

from inverse_matching.evaluation import statistics, tables
from inverse_matching.experiments import scales
from inverse_matching.runtime import files

SEED = re.compile(r',? ?((training )?seed|teacher) \d+')  # in the name of a stage
AT_ONCE = 10.0  # seconds of a stage that tells nothing of the others: its work was there already, or is none


class Rows(list[dict[str, Any]]):
  """The rows of a JSON of numbers. A row may lack a field that others have, or hold None there."""

  def where(self, **fields: Any) -> 'Rows':
    """The rows whose fields have these values."""
    return Rows(row for row in self if all(row.get(name) == value for name, value in fields.items()))

  def having(self, column: str) -> 'Rows':
    """The rows that have a value in a column."""
    return Rows(row for row in self if row.get(column) is not None)

  def of_first_training(self) -> 'Rows':
    """Those of the first training seed of each arm, where an arm was trained with several."""
    first: dict[str, Any] = {}
    for row in self:
      first.setdefault(row['arm'], row.get('train_seed'))
    return Rows(row for row in self if row.get('train_seed') == first[row['arm']])

  def over_training(self) -> 'Rows':
    """A row for each number that several training seeds have: its mean with a t interval over them, and num_train_seeds.

    Both are taken on the scale of the metric, see scales, where that has all values.
    """
    rows = Rows()
    for group in self.having('train_seed').groups('arm', 'metric', 'reference', 'seed').values():
      values = [row['value'] for row in group]
      if len(values) > 1 and None not in values:
        scale = scales.of(group[0]['metric'])
        scale = scales.IDENTITY if scale is scales.LOG and min(values) <= 0 else scale
        value, low, high = map(scale.inverse, statistics.over_seeds(scale.forward(values)))
        kept = {name: group[0][name] for name in ('arm', 'metric', 'reference', 'floor', 'n', 'seed')}
        rows.append({**kept, 'value': value, 'low': low, 'high': high, 'num_train_seeds': len(values)})
    return rows

  def groups(self, *columns: str) -> dict[tuple, 'Rows']:
    """The rows by their values in these columns (a list as a tuple), in the order in which those come first."""
    groups: dict[tuple, Rows] = {}
    for row in self:
      key = tuple(tuple(row[column]) if isinstance(row[column], list) else row[column] for column in columns)
      groups.setdefault(key, Rows()).append(row)
    return groups

  def distinct(self, column: str) -> list[Any]:
    """Every value of a column once, in the order in which they come first."""
    return list(dict.fromkeys(row[column] for row in self if column in row))

  def values(self, column: str) -> np.ndarray:
    """The numbers of a column, in float64, of the rows that have one: [N]."""
    return np.array([row[column] for row in self.having(column)], np.float64)

  def median(self, column: str) -> float:
    """The median of a column."""
    return float(np.median(self.values(column)))

  def middle(self, column: str) -> dict[str, Any]:
    """The row that has the median of a column, of an even number of rows the lower one."""
    return sorted(self, key=lambda row: row[column])[(len(self) - 1) // 2]

  def lines(self, columns: Sequence[str]) -> list[list[str]]:
    """A header and a line for each row, as cells."""
    return [list(columns), *([_cell(row[column]) for column in columns] for row in self)]

  def table(self, columns: Sequence[str]) -> str:
    """`lines` as text."""
    return tables.plain(self.lines(columns))

  def median_table(self, by: Sequence[str], columns: Sequence[str]) -> str:
    """A line for each group of rows with equal `by`: the medians of the columns, with the quartiles in brackets."""
    lines = [[*by, 'seeds', *columns]]
    for key, group in self.groups(*by).items():
      lines.append([*map(_cell, key), str(len(group)), *(_median_cell(group.values(column)) for column in columns)])
    return tables.plain(lines)


def _cell(value: Any) -> str:
  if isinstance(value, list):  # a shape
    return 'x'.join(map(str, value))
  return f'{value:.3g}' if isinstance(value, (float, np.floating)) else str(value)


def _median_cell(values: np.ndarray) -> str:
  if not len(values):
    return ''
  low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
  return f'{middle:.3g}' if len(values) == 1 else f'{middle:.3g} [{low:.3g}, {high:.3g}]'


class Experiment(NamedTuple):
  """A call of launch.reproduce."""
  config: Mapping[str, Any]
  path: pathlib.Path  # the workdir, in which the teacher, the pairs and each student get a folder
  command: str  # the command line, which every JSON holds
  devices: int | None = None  # the number of local devices; None: the largest number that divides the batch

  def write(self, name: str, settings: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], *,
            summary: Sequence[Mapping[str, Any]] = ()) -> Rows:
    """Writes NAME.json and returns its rows as the file holds them; the file has the summary too, if there is one."""
    file, more = self.path / f'{name}.json', {'summary': summary} if summary else {}
    files.write_json(file, {'command': self.command, 'settings': settings, 'rows': rows, **more})
    return Rows(files.read_json(file)['rows'])

  def cached(self, name: str, settings: Mapping[str, Any], function: Callable[[], Iterable[Mapping[str, Any]]]) -> Rows:
    """Returns the rows of NAME.json if it was made with the same settings; else calls the function for them and writes it."""
    file = self.path / f'{name}.json'
    if file.exists():
      document = files.read_json(file)
      if document['settings'] == json.loads(json.dumps(settings)):  # JSON has lists for tuples
        return Rows(document['rows'])
    return self.write(name, settings, function())


class Result(NamedTuple):
  """The numbers of an experiment, its pictures and its table, of which the caller makes NAME.json and NAME.png."""
  rows: Rows
  pictures: Mapping[str, plt.Figure]  # what follows NAME in the name of the file -> picture
  table: str


class Stages:
  """Names each stage as it starts, with the time left for all, and keeps its seconds in timing.json.

  There, 'now' is the one that is being done, and 'parts' has the seconds of those that were stopped.

  Args:
    path: of timing.json.
    names: of the stages, in order.
    cost: of a stage, in any unit. A stage that was done with another seed takes as long again; others the time of those before,
      in proportion.
  """

  def __init__(self, path: pathlib.Path, names: Sequence[str], cost: Callable[[str], float] = lambda name: 1.0):
    self._path, self._names, self._cost, self._count = path, list(names), cost, 0
    self._timing = {'stages': {}, **(files.read_json(path) if path.exists() else {})}

  def _left(self) -> float | None:
    """Seconds from the present stage to the end, or None before there is one to judge by."""
    done, left = self._names[:self._count - 1], self._names[self._count - 1:]
    took = {name: self._timing['stages'].get(name, 0.0) for name in done}
    if not sum(took.values()):
      return None
    judged = [name for name in done if took[name] > AT_ONCE] or done
    a_unit = sum(took[name] for name in judged) / sum(map(self._cost, judged))
    of_kind: dict[str, list[float]] = {}
    for name in done:
      of_kind.setdefault(SEED.sub('', name), []).append(took[name])
    return sum(float(np.mean(of_kind.get(SEED.sub('', name), a_unit * self._cost(name)))) for name in left)

  def run(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function and returns what it returns. A stage that was done before keeps the seconds it took then; one that was
    stopped on its way has the seconds of all its parts.

    Stages keep their order; those that are left out, as the evaluation of what diverged, are passed over.
    """
    self._count = self._names.index(name, self._count) + 1
    left = self._left()
    logging.info('[%d/%d] %s%s', self._count, len(self._names), name,
                 '' if left is None else f'; about {tqdm.tqdm.format_interval(left)} left for all')
    self.write(now={'stage': name, 'number': self._count, 'of': len(self._names), 'since': time.time(), 'seconds_left': left})
    start = time.monotonic()
    seconds, parts = self._timing['stages'], self._timing.setdefault('parts', {})
    try:
      result = function(*args, **kwargs)
    except BaseException:
      parts[name] = parts.get(name, 0.0) + time.monotonic() - start
      self.write()
      raise
    # A stage that was done may be met again: there is no work then.
    seconds[name] = max(seconds.get(name, 0.0), parts.pop(name, 0.0) + time.monotonic() - start)
    self._timing.pop('now', None)
    if not parts:
      del self._timing['parts']
    self.write()
    return result

  def write(self, **entries: Any) -> None:
    """Adds entries and writes timing.json."""
    self._timing |= entries
    files.write_json(self._path, self._timing)
