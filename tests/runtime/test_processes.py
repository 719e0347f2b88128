"""What several processes do, one after the other in this one; test_distributed.py has real ones."""
import json

import jax
import numpy as np
import pytest

from inverse_matching.data.stream import Stream
from inverse_matching.errors import InputError
from inverse_matching.runtime import files, processes


def test_alone():
  """One process is the first, waits for nobody, and hears its own words."""
  assert processes.is_first() and not processes.is_multiprocess()
  processes.barrier('here')
  assert processes.first(lambda: [1, None]) == [1, None]
  assert processes.any_process(True) is True and processes.any_process(False) is False
  with pytest.raises(InputError, match='no'):
    processes.first(refuse)


def refuse():
  raise InputError('no')


@pytest.fixture
def three(monkeypatch):
  """Calls become(i) to be the i-th of three processes, which hear what the first one said."""
  said = []

  def broadcast(value):
    if jax.process_index() == 0:
      said.append(value)
      return value
    return said.pop(0)

  monkeypatch.setattr(processes, 'is_multiprocess', lambda: True)
  monkeypatch.setattr(jax, 'process_count', lambda: 3)
  monkeypatch.setattr(processes.multihost_utils, 'broadcast_one_to_all', broadcast)

  def become(index):
    monkeypatch.setattr(jax, 'process_index', lambda: index)
    monkeypatch.setattr(processes, 'is_first', lambda: index == 0)

  return become


@pytest.mark.parametrize('value', [None, 7, {'a': [1.5, 'b']}])
def test_all_hear_the_first(three, value):
  """Any value that JSON has; the others are not asked."""
  three(0)
  assert processes.first(lambda: value) == value
  three(1)
  assert processes.first(lambda: pytest.fail('asked')) == value


def test_all_hear_a_refusal(three):
  """The same sentence everywhere."""
  for index in (0, 1):
    three(index)
    with pytest.raises(InputError, match='^no$'):
      processes.first(refuse)


@pytest.mark.parametrize('count', [1, 2, 3, 10])
def test_examples_are_split(three, monkeypatch, count):
  """Each process works on a third, rounded up; together they have every example in its place."""
  x, parts, sizes = np.arange(count * 2.0).reshape(count, 2), [], []

  def run(params, x, progress=None):
    sizes.append(len(x))
    return {'y': params * x, 'first': x[:, 0]}

  gather = lambda part, tiled: parts.append(part) or part
  monkeypatch.setattr(processes.multihost_utils, 'process_allgather', gather)
  for index in range(3):
    three(index)
    processes.split(run)(10.0, x)
  whole = jax.tree.map(lambda *values: np.concatenate(values)[:count], *parts)
  np.testing.assert_array_equal(whole['y'], 10 * x)
  np.testing.assert_array_equal(whole['first'], x[:, 0])
  assert sizes == [-(-count // 3)] * 3


def test_the_first_writes(three, tmp_path):
  """Whole files by the first process alone."""
  for index in (2, 0, 1):
    three(index)
    files.write_json(tmp_path / 'a.json', {'by': index})
  assert json.loads((tmp_path / 'a.json').read_text()) == {'by': 0}


@pytest.mark.parametrize('num_parts', [2, 3, 6])
def test_parts_of_a_batch(num_parts):
  """Joined they are the batch, over several epochs."""
  examples = {'x': np.arange(20)}
  whole = Stream(examples, 6, 0)
  parts = [Stream(examples, 6, 0, part=(i, num_parts)) for i in range(num_parts)]
  assert all(part.steps_per_epoch == whole.steps_per_epoch for part in parts)
  for step in range(9):
    for name in ('x', 'position'):
      np.testing.assert_array_equal(np.concatenate([part[step][name] for part in parts]), whole[step][name])
