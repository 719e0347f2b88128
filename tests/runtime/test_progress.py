"""What a long run tells of itself."""
from absl import logging

from inverse_matching.runtime import progress


def test_the_time_left_is_without_compilation(monkeypatch, caplog):
  """The first update, which holds it, does not count: 100 s for the first of 21, then 1 s each, leaves 18 s after three."""
  clock = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
  monkeypatch.setattr(logging, 'get_verbosity', lambda: logging.INFO)
  caplog.set_level('INFO')
  with progress.Progress('work', 21, every=1.5) as shown:
    for seconds in (100, 1, 1):
      clock[0] += seconds
      shown.update(1, loss=0.5)
    assert 'work: 3 of 21 it, 1 it/s, 00:18 left, loss 0.5' in caplog.text


def test_what_is_done_at_once_is_told(monkeypatch, caplog):
  """With its own rate."""
  clock = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
  monkeypatch.setattr(logging, 'get_verbosity', lambda: logging.INFO)
  caplog.set_level('INFO')
  with progress.Progress('work', 8) as shown:
    clock[0] += 4
    shown.update(8)
  assert 'work: 8 of 8 it, 2 it/s, 00:00 left' in caplog.text
