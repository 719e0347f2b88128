"""What the survival tests count, as a table of the results."""
import json
import pathlib

COMMAND = 'make test-survival SURVIVAL="--kills={kills} --reliability=results/reliability"'
ABOUT = """# What runs survive

    {command}

wrote this table and `survival.json`. Real commands with tiny models were killed, told to stop, starved or given damaged files,
and then called again. Survived means: the right sentence, and at the end the bits of a run that nothing happened to; on other
numbers of devices and processes, the same numbers up to rounding.

| what happened | to | times | survived |
| --- | --- | --- | --- |
{rows}
"""


class Tally:
  """Counts what happened, and what of it was survived."""

  def __init__(self):
    self._rows: dict[tuple[str, str], list[int]] = {}

  def happened(self, event: str, to: str, times: int = 1) -> None:
    """Before the outcome is known."""
    self._rows.setdefault((event, to), [0, 0])[0] += times

  def survived(self, event: str, to: str, times: int = 1) -> None:
    """Once the outcome was found right."""
    self._rows[event, to][1] += times

  def write(self, folder: str, kills: int) -> None:
    """survival.json and README.md."""
    path, command = pathlib.Path(folder), COMMAND.format(kills=kills)
    path.mkdir(parents=True, exist_ok=True)
    rows = [{'event': event, 'to': to, 'times': times, 'survived': survived}
            for (event, to), (times, survived) in self._rows.items()]
    held = {'command': command, 'settings': {'kills': kills}, 'rows': rows}
    (path / 'survival.json').write_text(json.dumps(held, indent=1) + '\n')
    table = '\n'.join(f'| {row["event"]} | {row["to"]} | {row["times"]} | {row["survived"]} |' for row in rows)
    (path / 'README.md').write_text(ABOUT.format(command=command, rows=table))
