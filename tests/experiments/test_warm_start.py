"""An objective from random and from good weights."""
import json
import math
import types

from commands import launched
from PIL import Image
import pytest
import scipy.stats
import small_run

from inverse_matching import runs
from inverse_matching.experiments import warm_start
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.training.loop import NotFinite


@pytest.mark.slow
def test_a_run_from_both_starts(tmp_path):
  """Before the first update the good start is the good student; every start has its curve, its numbers and its images."""
  launched('reproduce', '--figure=warm_start', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  document = json.loads((tmp_path / 'warm_start.json').read_text())
  rows = Rows(document['rows'])
  for start in ('random', 'good'):
    of = rows.where(arm='flow/reverse_kl', start=start, train_seed=0).having('updates')  # others lie on a line between weights
    assert of.where(metric='objective').distinct('updates') == [50, 100]
    choice = of.where(metric='distance_to_validation')
    assert choice.distinct('updates') == ([0, 50, 100] if start == 'good' else [50, 100])
    best = min(choice, key=lambda row: row['value'])['updates']
    for metric in ('reverse_kl', 'coverage', 'label_divergence'):
      assert of.where(metric=metric).distinct('updates') == sorted({0, 100, best})
  good = json.loads((tmp_path / 'students' / 'flow' / 'oracle_prediction' / 'seed0' / 'evaluation.json').read_text())['rows']
  same = [row for row in good if (row['metric'], row['reference']) == ('reverse_kl', 'teacher')]
  assert rows.where(start='good', updates=0, metric='reverse_kl')[0]['value'] == same[0]['value']
  assert rows.where(start='random', updates=0, metric='reverse_kl')[0]['value'] != same[0]['value']
  line = rows.where(start='good', metric='reverse_kl').having('line')
  assert line.distinct('line') == [i / 5 for i in range(6)] and line[0]['value'] == pytest.approx(same[0]['value'], rel=1e-5)
  assert line[-1]['value'] == pytest.approx(rows.where(start='good', updates=100, metric='reverse_kl')[0]['value'], rel=1e-5)
  control = rows.where(arm='flow/oracle_prediction', start='good')
  assert control.where(metric='objective').distinct('updates') == [50, 100]
  assert control.where(updates=0, metric='reverse_kl')[0]['value'] == same[0]['value']
  assert [row['value'] for row in rows.where(start='good', updates=0, metric='z_reconstruction_l2')] == [
      row['value'] for row in good if row['metric'] == 'z_reconstruction_l2'] * 2  # of the arm, and of the control
  assert Image.open(tmp_path / 'warm_start_reverse_kl.png').width > 300


def test_the_training_of_figure_4_stands_beside_them(tmp_path):
  """Its held-out losses are the objective from random weights on a schedule of its own; where it is missing, nothing."""
  config = {'train': {'seed': 0}, 'evaluation': {}, 'optimizer': {'learning_rate': 0.01}, 'arms': {'flow/reverse_kl': {}}}
  experiment = Experiment(config, tmp_path, 'command')
  assert warm_start._of_figure(experiment, 'flow/reverse_kl') == []
  folder = tmp_path / 'students' / 'flow' / 'reverse_kl' / 'seed0'
  folder.mkdir(parents=True)
  (folder / 'metrics.jsonl').write_text('{"step": 5, "held_out_loss": 3.0}\n{"step": 6, "loss": 1.0}\n'
                                        '{"step": 10, "held_out_loss": 2.0}\n')
  rows = Rows(warm_start._of_figure(experiment, 'flow/reverse_kl'))
  assert rows.distinct('start') == ['figure'] and rows.values('updates').tolist() == [5, 10]
  assert rows.values('value').tolist() == [3.0, 2.0] and rows.distinct('learning_rate') == [0.01]


def test_what_diverges_has_no_samples(tmp_path, monkeypatch):
  """And does not end the study."""

  def train(*_):
    raise NotFinite(tmp_path, 3, math.nan, 1.0)

  monkeypatch.setattr(warm_start, '_train', train)
  course = warm_start._follow(None, warm_start.Case('flow/a', 'good', 1.0, 0), (0, 100), types.SimpleNamespace(
      teacher_run=None), None)
  assert [row['metric'] for row in course.rows] == ['diverged'] and course.images == {} and course.best is None


def rows_of(values, metric='z_reconstruction_l2'):
  """(arm, start, rate, updates) -> values of the seeds, as rows."""
  return Rows({'arm': arm, 'start': start, 'learning_rate': rate, 'updates': updates, 'train_seed': seed, 'metric': metric,
               'value': value}
              for (arm, start, rate, updates), of_seeds in values.items() for seed, value in enumerate(of_seeds))


@pytest.mark.parametrize('last,verdict', [((5.0, 5.2, 5.1), 'lower'), ((5.0, 5.2, 13.0), 'not decided')])
def test_what_became_of_the_samples_is_paired_over_the_seeds(last, verdict):
  """Each with the weights that it began with; of a contrast of which one side is missing there is nothing."""
  rows = rows_of({('flow/a', 'good', 0.1, 0): (12.0, 12.3, 12.1), ('flow/a', 'good', 0.1, 100): last}, 'reverse_kl')
  found, = warm_start.effects(rows, {'arms': ('flow/a',), 'updates': (0, 100), 'control': None})
  assert (found['contrast'], found['metric'], found['verdict']) == ('end - start', 'reverse_kl', verdict)
  low, high = scipy.stats.ttest_rel(last, (12.0, 12.3, 12.1)).confidence_interval(0.95)
  assert (found['low'], found['high']) == pytest.approx((low, high)) and found['learning_rate'] == 0.1


def test_every_contrast_has_its_sign():
  """How much higher the first is than the second, z-reconstruction as a ratio. Each rate stands by itself."""
  of = {('flow/a', 'good', 0.1, 0): 2.0, ('flow/a', 'good', 0.1, 100): 4.0, ('flow/a', 'random', 0.1, 100): 8.0,
        ('flow/b', 'good', 0.1, 100): 16.0, ('flow/a', 'good', 0.2, 0): 2.0, ('flow/a', 'good', 0.2, 100): 6.0}
  rows = rows_of({key: [value * (1 + 0.01 * seed) for seed in range(3)] for key, value in of.items()})
  found = warm_start.effects(rows, {'arms': ('flow/a',), 'updates': (0, 100), 'control': 'flow/b'})
  assert {(row['learning_rate'], row['contrast']): (round(row['difference'], 6), row['scale']) for row in found} == {
      (0.1, 'end - start'): (2.0, 'ratio'), (0.1, 'random - good'): (2.0, 'ratio'), (0.1, 'end - control'): (0.25, 'ratio'),
      (0.2, 'end - start'): (3.0, 'ratio')}


def test_the_best_updates_are_those_of_each_seed():
  """Chosen by the distance to validation, and compared with the control after as many."""
  of_arm = lambda *of_updates: {('flow/a', 'good', 0.1, updates): of for updates, of in zip((0, 50, 100), of_updates)}
  values = {**of_arm((8.0, 8.0), (4.0, 1.0), (1.0, 2.0)), ('flow/b', 'good', 0.1, 50): (16.0, 0.1),
            ('flow/b', 'good', 0.1, 100): (0.1, 16.0)}
  choice = of_arm((3.0, 3.0), (1.0, 2.0), (2.0, 1.0))
  rows = Rows(rows_of(values) + rows_of(choice, 'distance_to_validation'))
  found = Rows(warm_start.effects(rows, {'arms': ('flow/a',), 'updates': (0, 100), 'control': 'flow/b'}))
  assert found.where(contrast='best - start')[0]['difference'] == pytest.approx(math.sqrt(4 / 8 * 2 / 8))
  assert found.where(contrast='best - control')[0]['difference'] == pytest.approx(math.sqrt(4 / 16 * 2 / 16))


def test_each_seed_begins_with_a_good_student_of_its_own(tmp_path):
  """As far as the arm has as many; then again with the first."""
  config = {'train': {'seed': 5}, 'evaluation': {'num_train_seeds': 2}, 'arms': {'flow/a': {}},
            'warm_start': {'good': 'flow/a'}}
  good = lambda seed: warm_start._good(Experiment(config, tmp_path, 'command'), seed).relative_to(tmp_path).as_posix()
  assert [good(seed) for seed in range(3)] == [f'students/flow/a/seed{seed}' for seed in (5, 6, 5)]


def test_a_case_is_trained_with_its_own_rate_seed_and_start(tmp_path, record):
  """From random weights it begins with no student, from good ones with that of its seed."""
  trained = record(runs, 'distill')
  config = {**small_run.CONFIG, 'train': {**small_run.CONFIG['train'], 'seed': 5}, 'evaluation': {'num_train_seeds': 2},
            'arms': {'flow/z_reconstruction': {'loss': {'name': 'z_reconstruction'}}, 'flow/b': {}}, 'warm_start': {
                'good': 'flow/b', 'updates': (0, 100), 'every': 50, 'training': {'train': {'batch_size': 64}}}}
  cases = [warm_start.Case('flow/z_reconstruction', start, rate, seed) for start in ('random', 'good') for rate in (0.1, 0.2)
           for seed in (0, 1)]
  workdirs = [warm_start._train(Experiment(config, tmp_path, 'command', 1), case, small_run.RUN) for case in cases]
  assert len(set(workdirs)) == len(cases) and workdirs == [call.workdir for call in trained]
  for case, call in zip(cases, trained):
    assert (call.config['optimizer']['learning_rate'], call.config['train']['seed']) == (case.rate, case.seed)
    assert (call.config['loss']['name'], call.config['train']['batch_size']) == ('z_reconstruction', 64)
    assert call.init_from == (tmp_path / 'students' / 'flow' / 'b' / f'seed{5 + case.seed}' if case.start == 'good' else None)
