"""Progress of long work: a bar on a terminal, else one line a minute on stderr; both tell the time left."""
import sys
import time

from absl import logging
import tqdm

from inverse_matching.runtime import processes


class Progress:
  """Counts towards a total. Use as a context manager; call update(n, **numbers to show)."""

  def __init__(self, name: str, total: int, initial: int = 0, unit: str = 'it', every: float = 60.0):
    self._name, self._total, self._initial, self._unit, self._every = name, total, initial, unit, every
    self._done = self._timed = initial
    self._start = self._last = time.monotonic()
    terminal, shown = sys.stderr.isatty(), processes.is_first()
    self._bar = tqdm.tqdm(total=total, initial=initial, desc=name, unit=unit, disable=not (terminal and shown),
                          dynamic_ncols=True)
    self._lines = shown and not terminal

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused) -> None:
    self._bar.close()
    if self._lines and self._done > self._initial:
      self._line({})

  def _line(self, numbers) -> None:
    elapsed = time.monotonic() - self._start
    rate = (self._done - self._timed) / max(elapsed, 1e-9)
    left = tqdm.tqdm.format_interval((self._total - self._done) / rate) if rate else '?'
    values = ''.join(f', {name} {value:.4g}' for name, value in numbers.items())
    line = f'{self._name}: {self._done} of {self._total} {self._unit}, {rate:.3g} {self._unit}/s, {left} left{values}'
    if logging.get_verbosity() >= logging.INFO:
      logging.info('%s', line)
    else:  # as in a notebook, where nobody has set what is logged
      print(line, file=sys.stderr)

  def update(self, count: int = 1, **numbers: float) -> None:
    """Adds to the count; `numbers` are shown beside it."""
    if self._done == self._initial and self._done + count < self._total:  # what came before was compilation too
      self._start, self._timed = time.monotonic(), self._done + count
    self._done += count
    self._bar.update(count)
    if numbers:
      self._bar.set_postfix({name: f'{value:.4g}' for name, value in numbers.items()}, refresh=False)
    if self._lines and time.monotonic() - self._last > self._every:
      self._last = time.monotonic()
      self._line(numbers)
