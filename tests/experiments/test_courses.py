"""Training at a constant rate for a number of updates."""
import json
import math

import pytest
import small_run

from inverse_matching.errors import InputError
from inverse_matching.experiments import courses
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.training import checkpoint, loop
from inverse_matching.training.metrics import held_out_losses


def test_the_best_rate_has_the_lowest_loss_at_the_end(tmp_path):
  """Not the lowest on the way, nor the last that was finite; where none is finite, that is said."""
  curves = {0.1: [5.0, 1.0, 9.0], 0.01: [5.0, 4.0, 3.0], 0.001: [5.0, 4.9, 4.8], 1.0: [0.5, None, None], 10.0: None}

  def trained(rate):
    if curves[rate] is None:
      raise loop.NotFinite(tmp_path, 3, math.nan, 1.0)
    workdir = tmp_path / str(rate)
    workdir.mkdir(exist_ok=True)
    lines = [{'step': 100 * (i + 1), 'held_out_loss': value} for i, value in enumerate(curves[rate])]
    lines.insert(1, {'step': 150, 'loss': 0.0, 'epoch': 1.5})
    (workdir / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return workdir

  assert courses.best_rate(curves, trained) == 0.01
  with pytest.raises(InputError, match='With none of the rates 1, 10 the loss is finite at the end'):
    courses.best_rate([1.0, 10.0], trained)


@pytest.mark.slow
def test_so_many_updates_at_one_rate(tmp_path):
  """Whatever the size of the data: checkpoints and held-out losses at the same places, and a rate that does not decay."""
  config = {**small_run.CONFIG, 'optimizer': dict(small_run.CONFIG['optimizer'], decay_rate=0.5)}
  workdir = courses.train(Experiment(config, tmp_path, '', 1), config, tmp_path / 'a', small_run.RUN, rate=0.002, updates=15,
                          every=5)
  assert checkpoint.steps(workdir) == [5, 10, 15] and list(held_out_losses(workdir)) == [5, 10, 15]
  with pytest.raises(InputError, match='train.epoch_updates is 5 there and 4 now'):  # as many epochs, of fewer updates
    courses.train(Experiment(config, tmp_path, '', 1), config, tmp_path / 'a', small_run.RUN, rate=0.002, updates=12, every=4)
  optimizer = json.loads((workdir / 'config.json').read_text())['optimizer']
  assert (optimizer['learning_rate'], optimizer['decay_rate'], optimizer['schedule']) == (0.002, 1.0, None)
