"""Students of every objective under every objective."""
import json
import types

from commands import launched
import numpy as np
import pytest
import scipy.stats

from configs import digits
from inverse_matching import runs
from inverse_matching.evaluation import statistics
from inverse_matching.experiments import crossed
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.training.loop import NotFinite

METRICS = {'flow/reverse_kl': 'reverse_kl', 'flow/oracle_prediction': 'oracle_l2'}


def rows_of(kl_of_own, kl_of_oracle):
  return Rows({'arm': arm, 'metric': 'reverse_kl', 'reference': 'teacher', 'value': value, 'train_seed': seed, 'updates': 780}
              for arm, values in (('flow/reverse_kl', kl_of_own), ('flow/oracle_prediction', kl_of_oracle))
              for seed, value in enumerate(values))


@pytest.mark.parametrize('own,other,lower', [
    ([11.0, 11.2, 11.1], [8.8, 8.9, 8.7], 'other'), ([5.6, 5.5, 5.7], [6.6, 6.7, 6.8], 'own'),
    ([11.0, 11.2, 11.1], [8.8, 12.0, 8.7], None), ([11.0, 11.2], [8.8, 8.9], None),
    ([11.0] * 3, [11.1, 11.2, 15.0], None),  # all agree, and the interval holds 0
    ([11.0] * 6, [9.0] * 5 + [11.001], None)])  # the interval excludes 0, and one disagrees
def test_an_objective_prefers(own, other, lower):
  """Where it is lower over three seeds that agree, by an interval without 0; of two nothing is said."""
  found, = crossed.preferences(rows_of(own, other))
  assert (found['objective'], found['at'], found['lower']) == ('reverse_kl', 'flow/oracle_prediction', lower)
  assert found['difference'] == pytest.approx(sum(other) / len(other) - sum(own) / len(own))


def test_those_who_go_on_are_compared_with_where_the_others_ended():
  """Over the seeds that both have."""
  early = rows_of([11.0, 11.2, 11.1], [8.8, 8.9, 8.7])
  late = Rows({**row, 'value': row['value'] - 4, 'updates': 3000} for row in early.where(arm='flow/reverse_kl'))
  first, second = crossed.preferences(Rows([*early, *late]))
  assert (first['updates'], first['lower']) == (780, 'other')
  assert (second['updates'], second['at'], second['lower']) == (3000, 'flow/oracle_prediction', 'own')
  assert second['difference'] == pytest.approx(8.8 - 7.1)


def test_x_reconstruction_is_compared_on_training_images_too():
  """Where it may be the other way round than on held-out ones."""
  values = {'train': ([0.1, 0.11, 0.1], [0.3, 0.31, 0.3]), 'held_out': ([0.9, 0.91, 0.9], [0.5, 0.51, 0.5])}
  rows = Rows({'arm': arm, 'metric': 'x_reconstruction_l2', 'reference': reference, 'value': value, 'train_seed': seed,
               'updates': 780} for reference, of in values.items()
              for arm, of_arm in zip(('flow/x_reconstruction', 'flow/oracle_prediction'), of)
              for seed, value in enumerate(of_arm))
  assert {row['reference']: row['lower'] for row in crossed.preferences(rows)} == {'train': 'own', 'held_out': 'other'}


def test_distances_are_compared_as_ratios():
  """A collapsed student, at which an objective is larger by a wide factor that differs between seeds, does not hide that."""
  values = {'flow/oracle_prediction': [1.0, 1.1, 0.9], 'flow/reverse_kl': [4.0, 40.0, 9.0]}
  rows = Rows({'arm': arm, 'metric': 'oracle_l2', 'reference': 'teacher', 'value': value, 'train_seed': seed, 'updates': 780}
              for arm, of in values.items() for seed, value in enumerate(of))
  found, = crossed.preferences(rows)
  ratios = np.divide(values['flow/reverse_kl'], values['flow/oracle_prediction'])
  low, high = scipy.stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
  assert (found['scale'], found['num_train_seeds']) == ('ratio', 3)
  np.testing.assert_allclose([found['difference'], found['low'], found['high']],
                             [scipy.stats.gmean(ratios), np.exp(low), np.exp(high)])


def test_a_student_that_diverges_is_a_row_of_the_study(tmp_path, monkeypatch):
  """The table and the picture are made of the others, and its seed is left out of the comparison."""
  config = digits.get_config('smoke').to_dict()
  arms = config['crossed']['arms'] = ('flow/reverse_kl', 'flow/oracle_prediction')
  config['crossed'] |= {'num_seeds': 4, 'updates': (10,), 'further': (), 'further_updates': ()}

  def follow(experiment, part, arm, rate, updates):
    if (arm, part.seed) == (arms[0], 1):
      raise NotFinite(tmp_path, 3, np.nan, 1.0)
    return [{**statistics.row(arm, metric, reference, 1.0 + 0.1 * part.seed, n=1, seed=100), 'updates': 10}
            for metric, reference in crossed.SHOWN]

  part = lambda experiment, seed: crossed.Part(seed, None, None, tmp_path)
  for name, function in (('_follow', follow), ('_part', part)):
    monkeypatch.setattr(crossed, name, function)
  monkeypatch.setattr(crossed.courses, 'best_rate', lambda rates, trained: 1e-3)
  monkeypatch.setattr(crossed.distillation, 'settings', lambda config, run: {})
  text = crossed.run(Experiment(config, tmp_path, 'command', 1))
  document = json.loads((tmp_path / 'crossed.json').read_text())
  assert [(row['arm'], row['train_seed']) for row in document['rows'] if row['metric'] == 'diverged'] == [(arms[0], 1)]
  assert {row['num_train_seeds'] for row in document['summary']} == {3} and 'flow/reverse_kl' in text
  assert (tmp_path / 'crossed.png').exists()


def write_metrics(workdir, losses):
  """metrics.jsonl of a training, {updates: held-out loss}."""
  workdir.mkdir(parents=True)
  (workdir / 'metrics.jsonl').write_text('\n'.join(
      json.dumps({'step': step, 'held_out_loss': loss}) for step, loss in losses.items()))


def test_a_teacher_stops_where_its_held_out_loss_is_lowest(tmp_path, record):
  """Among the checkpoints that there are; its pairs are its own."""

  def train(call):
    write_metrics(call.workdir, {10: 4.0, 20: 2.0, 30: 3.0, 40: 1.0, 50: 5.0})
    (call.workdir / 'checkpoints').mkdir()
    for step in (10, 20, 30, 50):
      (call.workdir / 'checkpoints' / f'{step:08d}.json').touch()

  trained, loaded = record(runs, 'train_teacher', train), record(runs, 'load_teacher', lambda call: 'the teacher')
  pairs = record(runs, 'make_pairs', lambda call: call.workdir)
  part = crossed._part(Experiment(digits.get_config('smoke').to_dict(), tmp_path, 'command', 1), 3)
  assert [(call.workdir, call.step) for call in loaded] == [(trained[0].workdir, 20)]
  assert trained[0].config['train']['seed'] == part.seed == 3
  assert part.teacher_run == pairs[0].run == 'the teacher' and part.pairs == pairs[0].workdir


def test_students_of_every_teacher_are_measured_at_every_number_of_updates(tmp_path, record):
  """At the rate that is best with a teacher of its own seed, from weights that are not those of the teacher's seed."""
  arms, rates = ('flow/z_reconstruction', 'flow/oracle_prediction'), (1e-3, 3e-3)
  best = dict(zip(arms, rates))  # of the teacher that rates are tuned on; of all others the worst
  config = digits.get_config('smoke').to_dict()
  config['crossed'] |= {'arms': arms, 'num_seeds': 2, 'rates': rates, 'num_tuning': 10, 'updates': (10, 20), 'every': 10,
                        'further': arms[:1], 'further_updates': (30,), 'further_seeds': 1}
  record(crossed, '_part', lambda call: crossed.Part(call.seed, types.SimpleNamespace(hash=f'teacher {call.seed}'),
                                                     f'pairs {call.seed}', tmp_path / f'teacher{call.seed}'))

  def train(call):
    name = call.config['loss']['name']
    is_best = call.config['optimizer']['learning_rate'] == best[f'flow/{name}']
    is_tuned = call.teacher_run.hash == f'teacher {crossed.courses.TUNING_SEED}'
    write_metrics(call.workdir, {5: 0.0 if is_best != is_tuned else 9.0, 10: 1.0 if is_best == is_tuned else 2.0})

  trained, stored = record(runs, 'distill', train), record(runs, 'make_pairs', lambda call: call.workdir)
  loaded = record(runs, 'load_student', lambda call: runs.StudentRun(
      next(each.config for each in trained if each.workdir == call.workdir), None,
      {'of': np.array([call.step or 30, int(call.teacher_run.hash.split()[1])])}))
  record(crossed.pair_data, 'load', lambda call: {'z': None, 'x': None})
  record(crossed, 'teacher_samples', lambda call: call.run.hash)
  record(crossed, 'make_context', lambda call: (call.run.hash, call.samples))

  def evaluate(call):
    step, seed = map(int, call.student_run.params['of'])
    assert call.context == (f'teacher {seed}',) * 2 and call.arm == f'flow/{call.student_run.config["loss"]["name"]}'
    return [statistics.row(call.arm, metric, reference, seed + step / 100, n=1, seed=100)
            for metric, reference in crossed.SHOWN]

  record(crossed.evaluate, 'evaluate_student', evaluate)
  for module, name in ((crossed.distillation, 'settings'), (crossed, '_draw')):
    record(module, name, lambda call: {})
  crossed.run(Experiment(config, tmp_path, 'command', 1))
  rows = Rows(json.loads((tmp_path / 'crossed.json').read_text())['rows'])
  assert {(row['arm'], row['train_seed'], row['updates']) for row in rows} == {
      (arm, seed, updates) for arm in arms for seed in (0, 1) for updates in (10, 20)} | {(arms[0], 0, 30)}
  for row in rows:
    assert row['value'] == row['train_seed'] + row['updates'] / 100 and row['learning_rate'] == best[row['arm']]
  for call in trained:
    seed = int(call.teacher_run.hash.split()[1])
    assert call.config['train']['seed'] == 1000 + seed
    assert call.pairs == (f'pairs {seed}' if call.config['loss']['name'] == 'oracle_prediction' else None)
  of_students = [call for call in trained if call.workdir in {each.workdir for each in loaded}]
  assert len(of_students) == 4 and {call.run.hash for call in stored} == {'teacher 0', 'teacher 1'}
  for call in of_students:
    assert call.config['optimizer']['learning_rate'] == best[f'flow/{call.config["loss"]["name"]}']


@pytest.mark.slow
def test_crossed(tmp_path):
  """Every arm of every teacher at every number of updates; the further ones go on; again, nothing is done twice."""
  command = ('reproduce', '--figure=crossed', '--config=configs/digits.py:smoke',
             "--config.crossed.arms=('flow/z_reconstruction','flow/oracle_prediction')",
             "--config.crossed.further=('flow/z_reconstruction',)", f'--workdir={tmp_path}')
  launched(*command)
  document = json.loads((tmp_path / 'crossed.json').read_text())
  rows = Rows(document['rows'])
  for arm in ('flow/z_reconstruction', 'flow/oracle_prediction'):
    for seed in (0, 1):
      assert set(rows.where(arm=arm, train_seed=seed).distinct('updates')) >= {10, 20}
  assert set(rows.where(arm='flow/z_reconstruction', train_seed=0).distinct('updates')) == {10, 20, 30}
  assert {(row['objective'], row['at']) for row in document['summary']} == {
      ('z_reconstruction', 'flow/oracle_prediction'), ('oracle_prediction', 'flow/z_reconstruction')}
  before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('evaluation_*.json')}
  launched(*command)
  assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('evaluation_*.json')}
