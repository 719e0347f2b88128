"""What distillation buys."""
import json

from commands import launched
from PIL import Image
import pytest

from inverse_matching.experiments.experiment import Rows


@pytest.mark.slow
def test_budget(tmp_path):
  """Every arm in every size and number of steps, for the same passes; nothing is done twice."""
  arms = ('resnet/oracle_prediction_l2', 'few_step/flow_matching', 'flow/reverse_kl')
  command = ('reproduce', '--figure=budget', '--config=configs/digits.py:smoke', f'--config.budget.arms={arms}',
             '--config.budget.num_seeds=1', f'--workdir={tmp_path}')
  launched(*command)
  document = json.loads((tmp_path / 'budget.json').read_text())
  rows = Rows(document['rows'])
  labels = [arm for arm in rows.where(metric='kernel_distance', reference='data').distinct('arm') if ' at 1/4' in arm]
  assert labels == [f'{arm} at 1/4' for arm in (
      'resnet/oracle_prediction_l2', 'few_step/flow_matching, 1 step', 'few_step/flow_matching, 2 steps', 'flow/reverse_kl')]
  for label in labels:
    assert rows.where(arm=label, metric='calls of S').values('value').tolist() == pytest.approx([12 * 64], rel=0.5)
    assert len(rows.where(arm=label, metric='seconds_per_sample')) == 2
  one, two = (rows.where(arm=f'few_step/flow_matching, {steps} at 1/4', metric='multiply_adds')[0]['value']
              for steps in ('1 step', '2 steps'))
  assert two == pytest.approx(2 * one, rel=0.01)
  assert rows.where(arm='teacher, cached', metric='seconds_per_sample')
  assert {row['baseline'] for row in document['summary']} <= {f'resnet/oracle_prediction_l2 at {size}' for size in ('1/4', '1')}
  config = json.loads((tmp_path / 'budget/flow/reverse_kl/1_4/seed0/config.json').read_text())
  assert config['init_hash']
  for name in ('budget', 'budget_pareto', 'budget_samples'):
    assert Image.open(tmp_path / f'{name}.png').width > 300
  before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('evaluation*.json')}
  launched(*command)
  assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('evaluation*.json')}
