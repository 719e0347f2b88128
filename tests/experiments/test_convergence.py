"""Whether networks are converged."""
import json

from commands import launched
import pytest

from inverse_matching.experiments import convergence


def write(folder, losses):
  folder.mkdir()
  (folder / 'metrics.jsonl').write_text('\n'.join(json.dumps({'step': step, 'held_out_loss': loss}) for step, loss in losses))


@pytest.mark.parametrize('before,after,gain,is_converged', [(100.0, 99.5, 0.005, True), (-100.0, -103.0, 0.03, False),
                                                            (2.0, 2.2, -0.1, True)])
def test_the_gain_is_a_share_of_the_loss(tmp_path, before, after, gain, is_converged):
  """From the last value to the last, whatever their sign; who gets worse at the higher rate is converged."""
  write(tmp_path / 'a', [(10, 7.0), (20, before)])
  write(tmp_path / 'b', [(5, 1000.0), (9, after)])
  row = convergence._row('arm', tmp_path / 'a', tmp_path / 'b')
  assert row['gain'] == pytest.approx(gain) and row['is_converged'] == is_converged and row['updates'] == 9


@pytest.mark.slow
def test_a_teacher_and_a_student_train_on(tmp_path):
  launched('reproduce', '--figure=convergence', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  rows = json.loads((tmp_path / 'convergence.json').read_text())['rows']
  assert [row['arm'] for row in rows] == ['teacher', 'flow/oracle_prediction']
  assert all(row['updates'] == 26 and row['gain'] == (row['before'] - row['after']) / abs(row['before']) for row in rows)
  assert not rows[1]['is_converged']  # after two epochs
