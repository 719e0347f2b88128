"""Whether networks are converged."""
import json
import math

from commands import launched
import pytest

from inverse_matching.experiments import convergence
from inverse_matching.training.loop import NotFinite


def write(folder, losses):
  folder.mkdir()
  (folder / 'metrics.jsonl').write_text('\n'.join(json.dumps({'step': step, 'held_out_loss': loss}) for step, loss in losses))


@pytest.mark.parametrize('before,after,gain,state', [
    (100.0, 99.5, 0.005, 'converged'), (-100.0, -103.0, 0.03, 'gains'), (2.0, 2.2, -0.1, 'converged'),
    (4.90, 5.0, -0.0204, 'past its minimum'), (-90.0, -90.1, 0.00111, 'past its minimum')])
def test_the_gain_is_a_share_of_the_loss(tmp_path, before, after, gain, state):
  """From the last value to the last, whatever their sign; who gets worse at the higher rate is converged, unless its loss was
  lower before."""
  lowest = {4.90: 4.78, -90.0: -100.0}.get(before, before + 1)
  write(tmp_path / 'a', [(10, lowest), (20, before)])
  write(tmp_path / 'b', [(5, 1000.0), (9, after)])
  row = convergence._row('arm', tmp_path / 'a', tmp_path / 'b', lambda: None)
  assert row['gain'] == pytest.approx(gain, rel=1e-2) and row['state'] == state and row['updates'] == 9
  assert row['minimum'] == min(lowest, before)


def test_who_diverges_is_a_row(tmp_path):
  """With what it had reached when the loss was no number any more, or nothing."""
  write(tmp_path / 'a', [(20, 2.0)])
  write(tmp_path / 'b', [])

  def train_on():
    raise NotFinite(tmp_path, 3, math.nan, 1.0)

  row = convergence._row('arm', tmp_path / 'a', tmp_path / 'b', train_on)
  assert (row['state'], row['gain'], row['after'], row['updates']) == ('diverged', None, None, None)


@pytest.mark.slow
def test_a_teacher_and_a_student_train_on(tmp_path):
  launched('reproduce', '--figure=convergence', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  rows = json.loads((tmp_path / 'convergence.json').read_text())['rows']
  assert [row['arm'] for row in rows] == ['teacher', 'flow/oracle_prediction']
  assert all(row['updates'] == 26 and row['gain'] == (row['before'] - row['after']) / abs(row['before']) for row in rows)
  assert rows[1]['state'] == 'gains'  # after two epochs
  settings = json.loads((tmp_path / 'convergence' / 'teacher' / 'config.json').read_text())['optimizer']
  assert settings['schedule'] == 'cosine' and settings['decay_rate'] == 1.0 and settings['warmup_epochs'] is None


@pytest.mark.slow
def test_an_exported_teacher_has_no_losses_to_compare_with(tmp_path):
  """Its students have."""
  launched('train_teacher', '--config=configs/digits.py:smoke', f'--workdir={tmp_path / "run"}')
  launched('export', f'--workdir={tmp_path / "run"}', f'--output={tmp_path / "study" / "teacher"}', '--note=tiny')
  launched('reproduce', '--figure=convergence', '--config=configs/digits.py:smoke', f'--workdir={tmp_path / "study"}')
  assert [row['arm'] for row in json.loads((tmp_path / 'study' / 'convergence.json').read_text())['rows']] == [
      'flow/oracle_prediction']
