"""Rows as a table that people read."""
from typing import Any, Mapping, Sequence


def _cell(row: Mapping[str, Any] | None) -> str:
  if row is None:
    return ''
  if row['value'] is None:
    return 'not finite'
  text = f'{row["value"]:.3g}'
  return text if row['low'] is None else f'{text} [{row["low"]:.3g}, {row["high"]:.3g}]'


def pivot(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> list[list[str]]:
  """A header and a line per (metric, reference), with a column per arm and the floor where there is one."""
  found = {(r['metric'], r['reference'], r['arm']): r for r in rows}
  kinds = list(dict.fromkeys((r['metric'], r['reference']) for r in rows))
  lines = [['metric', 'against', *arms, 'floor']]
  for metric, reference in kinds:
    here = [found.get((metric, reference, arm)) for arm in arms]
    floors = [r['floor'] for r in here if r is not None and r['floor'] is not None]
    lines.append([metric, reference or '', *map(_cell, here), f'{floors[0]:.3g}' if floors else ''])
  return lines


def plain(lines: Sequence[Sequence[str]]) -> str:
  """Aligned columns for a terminal."""
  widths = [max(map(len, column)) for column in zip(*lines)]
  return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
  """A Markdown table."""
  head, *body = ['| ' + ' | '.join(line) + ' |' for line in lines]
  return '\n'.join([head, '|' + ' --- |' * len(lines[0]), *body])
