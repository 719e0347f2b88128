"""An objective from random and from good weights."""
import json

from commands import launched
from PIL import Image
import pytest

from inverse_matching.experiments import warm_start
from inverse_matching.experiments.experiment import Experiment, Rows


@pytest.mark.slow
def test_a_run_from_both_starts(tmp_path):
  """Before the first update the good start is the good student; every start has its curve, its numbers and its images."""
  launched('reproduce', '--figure=warm_start', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  document = json.loads((tmp_path / 'warm_start.json').read_text())
  rows = Rows(document['rows'])
  for start in ('random', 'good'):
    of = rows.where(arm='flow/reverse_kl', start=start, train_seed=0).having('updates')  # others lie on a line between weights
    assert of.where(metric='objective').distinct('updates') == [100]
    assert of.where(metric='reverse_kl').distinct('updates') == of.where(metric='coverage').distinct('updates') == [0, 100]
  good = json.loads((tmp_path / 'students' / 'flow' / 'oracle_prediction' / 'seed0' / 'evaluation.json').read_text())['rows']
  same = [row for row in good if (row['metric'], row['reference']) == ('reverse_kl', 'teacher')]
  assert rows.where(start='good', updates=0, metric='reverse_kl')[0]['value'] == same[0]['value']
  assert rows.where(start='random', updates=0, metric='reverse_kl')[0]['value'] != same[0]['value']
  line = rows.where(start='good', metric='reverse_kl').having('line')
  assert line.distinct('line') == [i / 10 for i in range(11)] and line[0]['value'] == pytest.approx(same[0]['value'], rel=1e-5)
  assert line[-1]['value'] == pytest.approx(rows.where(start='good', updates=100, metric='reverse_kl')[0]['value'], rel=1e-5)
  assert Image.open(tmp_path / 'warm_start_reverse_kl.png').width > 300


def test_each_seed_begins_with_a_good_student_of_its_own(tmp_path):
  """As far as the arm has as many; then again with the first."""
  config = {'train': {'seed': 5}, 'evaluation': {'num_train_seeds': 2}, 'arms': {'flow/a': {}},
            'warm_start': {'good': 'flow/a'}}
  good = lambda seed: warm_start._good(Experiment(config, tmp_path, 'command'), seed).relative_to(tmp_path).as_posix()
  assert [good(seed) for seed in range(3)] == [f'students/flow/a/seed{seed}' for seed in (5, 6, 5)]
