"""What all figures are made with."""
import logging

import pytest

from inverse_matching.experiments import experiment as experiments
from inverse_matching.runtime import files


@pytest.fixture
def clock(monkeypatch):
  """Seconds that pass when a test says so."""
  now = [1000.0]
  monkeypatch.setattr(experiments.time, 'monotonic', lambda: now[0])

  def wait(seconds):
    now[0] += seconds

  return wait


def test_time_left_is_that_of_the_stages_before_in_proportion(tmp_path, clock, caplog):
  """Nothing to judge by at first; then by cost; and by what timing.json has of stages that were done in an earlier call."""
  caplog.set_level(logging.INFO)
  cost = {'a': 1.0, 'b': 3.0, 'c': 2.0}
  stages = experiments.Stages(tmp_path / 'timing.json', list(cost), cost.get)
  for name in ('a', 'b'):
    stages.run(name, clock, 60 * cost[name])
  assert [record.getMessage() for record in caplog.records] == ['[1/3] a', '[2/3] b; about 05:00 left for all']
  caplog.clear()
  stages = experiments.Stages(tmp_path / 'timing.json', list(cost), cost.get)
  for name in cost:
    stages.run(name, clock, 1)  # a and b are found done
  assert [record.getMessage() for record in caplog.records] == [
      '[1/3] a', '[2/3] b; about 05:00 left for all', '[3/3] c; about 02:00 left for all']
  assert files.read_json(tmp_path / 'timing.json') == {'stages': {'a': 60, 'b': 180, 'c': 1}}


def test_time_left_is_that_of_the_same_stages_with_another_seed(tmp_path, clock, caplog):
  """Whatever they were said to cost; and what was there already does not make others look short."""
  caplog.set_level(logging.INFO)
  took = {'a model that is there': 1, 'fit, rate 0.1, seed 0': 600, 'look at teacher 0': 60, 'fit, rate 0.1, seed 1': 600,
          'look at teacher 1': 60, 'another': 0}
  stages = experiments.Stages(tmp_path / 'timing.json', list(took))
  for name, seconds in took.items():
    stages.run(name, clock, seconds)
  left = [record.getMessage().rpartition('about ')[2].removesuffix(' left for all') for record in caplog.records]
  assert left[2:] == [
      '40:00',  # four as long as the first, which is all that is known
      '16:30',  # 600 and 60 as with the other seed, and the mean of both
      '08:00',  # 60, and the mean of 600, 60 and 600
      '05:30']


def test_a_stage_that_was_stopped_has_the_seconds_of_its_parts(tmp_path, clock):
  """Whatever stopped it, and however often; done again it keeps them."""

  def stopped(seconds, error):
    clock(seconds)
    raise error

  stages = lambda: experiments.Stages(tmp_path / 'timing.json', ['a', 'b'])
  for seconds, error in ((100, KeyboardInterrupt()), (20, ValueError())):
    with pytest.raises(type(error)):
      stages().run('a', stopped, seconds, error)
  assert files.read_json(tmp_path / 'timing.json')['parts'] == {'a': 120}
  for seconds in (3, 1):
    stages().run('a', clock, seconds)
    assert {**files.read_json(tmp_path / 'timing.json')} == {'stages': {'a': 123}}


def test_what_is_going_on(tmp_path):
  """timing.json tells it while it goes on."""
  stages = experiments.Stages(tmp_path / 'timing.json', ['a', 'b'])
  seen = stages.run('a', lambda: files.read_json(tmp_path / 'timing.json')['now'])
  assert (seen['stage'], seen['number'], seen['of'], seen['seconds_left']) == ('a', 1, 2, None)
