"""Rows of numbers as a table on the screen and as a JSON."""
from typing import Any, Mapping, Sequence

from inverse_matching.evaluation import tables
from inverse_matching.runtime import files
from launch import wording


def tell(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], output: str | None) -> None:
  """Prints rows of the same fields, and writes them with the command and its settings, if there is an `output`."""
  cell = lambda value: '' if value is None else f'{value:.3g}' if isinstance(value, float) else str(value)
  print(tables.plain([list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]))
  if output:
    files.write_json(output, {'command': wording.command(), 'settings': settings, 'rows': rows})
