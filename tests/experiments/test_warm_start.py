"""An objective from random and from good weights."""
import json

from commands import launched
from PIL import Image
import pytest

from inverse_matching.experiments import warm_start
from inverse_matching.experiments.experiment import Rows


def test_the_best_rate_has_the_lowest_objective_at_the_end(tmp_path):
  """Not the lowest on the way, and not a rate that is only tried longest."""
  curves = {0.1: [5.0, 1.0, 9.0], 0.01: [5.0, 4.0, 3.0], 0.001: [5.0, 4.9, 4.8]}

  def train(case, rate, updates, folder):
    assert (case.arm, case.start, updates) == ('flow/reverse_kl', 'good', 300)
    workdir = tmp_path / folder
    workdir.mkdir(parents=True)
    lines = [{'step': 100 * (i + 1), 'held_out_loss': value} for i, value in enumerate(curves[rate])]
    lines.insert(1, {'step': 150, 'loss': 0.0, 'epoch': 1.5})
    (workdir / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return workdir

  assert warm_start._best_rate(train, 'flow/reverse_kl', 'good', {'rates': tuple(curves), 'num_tuning': 300}) == 0.01


@pytest.mark.slow
def test_a_run_from_both_starts(tmp_path):
  """Before the first update the good start is the good student; every start has its curve, its numbers and its images."""
  launched('reproduce', '--figure=warm_start', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  document = json.loads((tmp_path / 'warm_start.json').read_text())
  rows = Rows(document['rows'])
  for start in ('random', 'good'):
    of = rows.where(arm='flow/reverse_kl', start=start, train_seed=0)
    assert of.where(metric='objective').distinct('updates') == [100]
    assert of.where(metric='reverse_kl').distinct('updates') == of.where(metric='coverage').distinct('updates') == [0, 100]
  good = json.loads((tmp_path / 'students' / 'flow' / 'oracle_prediction' / 'seed0' / 'evaluation.json').read_text())['rows']
  same = [row for row in good if (row['metric'], row['reference']) == ('reverse_kl', 'teacher')]
  assert rows.where(start='good', updates=0, metric='reverse_kl')[0]['value'] == same[0]['value']
  assert rows.where(start='random', updates=0, metric='reverse_kl')[0]['value'] != same[0]['value']
  assert Image.open(tmp_path / 'warm_start_reverse_kl.png').width > 300
