"""Rows as a table that people read."""
from typing import Any, Mapping, Sequence


def _cell(row: Mapping[str, Any] | None, intervals: bool) -> str:
  if row is None:
    return ''
  if row['value'] is None:
    return 'not finite'
  text = f'{row["value"]:.3g}'
  return text if row['low'] is None or not intervals else f'{text} [{row["low"]:.3g}, {row["high"]:.3g}]'


def by_arm(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str | None]] | None = None, *,
           intervals: bool = True) -> list[list[str]]:
  """A header, a line per arm, and a last line with the floors.

  Args:
    rows: of evaluation.statistics.row.
    columns: (metric, reference) of each column; None is all that occur. Arms with none of them are left out.
    intervals: whether to show them.
  """
  found = {(r['arm'], r['metric'], r['reference']): r for r in rows}
  columns = columns or list(dict.fromkeys((r['metric'], r['reference']) for r in rows))
  arms = [arm for arm in dict.fromkeys(r['arm'] for r in rows) if any((arm, *column) in found for column in columns)]
  lines = [['arm', *(metric if reference is None else f'{metric} ({reference})' for metric, reference in columns)]]
  lines += [[arm, *(_cell(found.get((arm, *column)), intervals) for column in columns)] for arm in arms]
  floors = []
  for column in columns:
    known = [found[arm, *column]['floor'] for arm in arms if (arm, *column) in found]
    known = [floor for floor in known if floor is not None]
    floors.append(f'{known[0]:.3g}' if known else '')
  return [*lines, ['floor', *floors]]


def by_metric(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
  """`by_arm` on its side: a line per metric, for few arms."""
  return [list(line) for line in zip(*by_arm(rows))]


def plain(lines: Sequence[Sequence[str]], width: int = 100) -> str:
  """Aligned columns for a terminal of that width: where they do not fit, further tables below with the same first column."""
  columns = list(zip(*lines))
  first, *others = [max(map(len, column)) for column in columns]
  blocks, left = [], 0
  for i, wide in enumerate(others, 1):
    if not blocks or wide + 2 > left:
      blocks, left = [*blocks, [0]], width - first
    blocks[-1].append(i)
    left -= wide + 2
  return '\n\n'.join(_aligned([columns[i] for i in block]) for block in blocks or [[0]])


def _aligned(columns: Sequence[Sequence[str]]) -> str:
  widths = [max(map(len, column)) for column in columns]
  return '\n'.join('  '.join(cell.ljust(wide) for cell, wide in zip(line, widths)).rstrip() for line in zip(*columns))


def markdown(lines: Sequence[Sequence[str]]) -> str:
  """A Markdown table."""
  head, *body = ['| ' + ' | '.join(line) + ' |' for line in lines]
  return '\n'.join([head, '|' + ' --- |' * len(lines[0]), *body])
