"""What distillation buys."""
import json
import types

from commands import launched
from PIL import Image
import pytest

from inverse_matching.experiments import budget, budget_costs, budget_report, budget_training
from inverse_matching.experiments.experiment import Experiment, Rows


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
  assert labels == ['resnet/oracle_prediction_l2 at 1/4', 'few_step/flow_matching at 1/4@1 step',
                    'few_step/flow_matching at 1/4@2 steps', 'flow/reverse_kl at 1/4']
  for label in labels:
    assert rows.where(arm=label, metric='calls of S').values('value').tolist() == pytest.approx([12 * 64], rel=0.5)
    assert len(rows.where(arm=label, metric='seconds_per_sample')) == 2
  one, two = (rows.where(arm=f'few_step/flow_matching at 1/4@{steps}', metric='multiply_adds')[0]['value']
              for steps in ('1 step', '2 steps'))
  assert two == pytest.approx(2 * one, rel=0.01)
  assert rows.where(arm='teacher, cached', metric='seconds_per_sample')
  course = rows.where(metric='course', arm='flow/reverse_kl at 1/4')
  assert course.values('passes').tolist() == [9, 12] and course.distinct('train_seed') == [0]
  assert rows.where(metric='course', arm='few_step/flow_matching at 1/4').values('passes').tolist() == [6, 12]
  assert rows.where(metric='tuning', arm='resnet/oracle_prediction_l2 at 1/4').distinct('learning_rate') == [1e-3]
  baselines = {row['baseline'] for row in document['summary']}
  assert {'teacher', 'resnet/oracle_prediction_l2 at 1/4', 'few_step/flow_matching at 1/4@1 step'} <= baselines
  config = json.loads((tmp_path / 'budget/flow/reverse_kl/1_4/seed0_rate_0.0001/config.json').read_text())
  assert config['init_hash']
  for name in ('budget_1_4', 'budget_1', 'budget_pareto', 'budget_samples_1_4', 'budget_samples_1'):
    assert Image.open(tmp_path / f'{name}.png').width > 300
  before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('evaluation*.json')}
  launched(*command)
  assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('evaluation*.json')}


def test_the_arms_that_are_nearest_are_trained_in_full():
  """In the last small size, to the validation part, over training seeds, in their best number of steps; who diverged last."""
  near = {'flow/a at 1/2': (0.4, 0.6), 'flow/b at 1/2': (0.1, 0.5), 'few_step/c at 1/2@1 step': (0.9, 0.9),
          'few_step/c at 1/2@2 steps': (0.2, 0.2), 'flow/base at 1/2': (0.0, 0.0), 'flow/a at 1/4': (0.0, 0.0)}
  rows = Rows({'arm': arm, 'metric': 'kernel_distance', 'reference': reference, 'value': value if is_validation else 1 - value}
              for arm, values in near.items() for value in values
              for reference, is_validation in (('validation', True), ('data', False), ('teacher', False)))
  rows += [{'arm': 'flow/d at 1/2', 'metric': 'diverged', 'reference': None, 'value': 1.0}]
  settings = {'arms': ('flow/d', 'flow/base', 'flow/a', 'few_step/c', 'flow/b'), 'baseline': {'resnet': 'flow/base'},
              'steps': (1, 2), 'then': {}, 'comparisons': (), 'matched': ()}
  best = lambda num: budget._best(rows, {**settings, 'num_best': num}, '1/2')
  assert best(2) == ['few_step/c', 'flow/b'] and best(9) == ['few_step/c', 'flow/b', 'flow/a', 'flow/d']


def test_of_arms_that_begin_with_one_student_the_nearest_is_trained_in_full():
  """Never the control, which is no other objective; the arm comes with all that it is judged beside."""
  near = {'a': 0.5, 'first': 0.4, 'kl': 0.2, 'mixture': 0.3, 'on': 0.1}
  rows = Rows({'arm': f'flow/{arm} at 1/4', 'metric': 'kernel_distance', 'reference': 'validation', 'value': value}
              for arm, value in near.items())
  settings = {'arms': [f'flow/{arm}' for arm in near], 'baseline': {'resnet': 'flow/base'}, 'num_best': 2, 'matched': (),
              'then': {f'flow/{arm}': {'first': 'flow/first'} for arm in ('kl', 'mixture', 'on')},
              'comparisons': (('flow/kl', 'flow/on'), ('flow/mixture', 'flow/on'), ('flow/on', 'flow/first'))}
  assert budget._best(rows, settings, '1/4') == ['flow/kl', 'flow/a']
  assert budget._family('flow/kl', settings) == ['flow/first', 'flow/on', 'flow/kl']
  assert budget._family('flow/a', settings) == ['flow/a']


def test_a_student_is_looked_for_once(monkeypatch):
  """Each look goes through four trainings that are done."""
  looks = []
  monkeypatch.setattr(budget_training, '_trained', lambda *of: looks.append(of) or len(looks))
  study = budget_training.Study(None, {}, None, {}, {}, None, {})
  students = [budget_training.Student('few_step/a', '1', steps) for steps in (1, None)]
  assert [budget_training.trained(study, student, seed) for seed in (0, 1) for student in students] == [1, 1, 2, 2]


SETTINGS = {'arms': ('r/base', 'r/a', 'few_step/c', 'flow/d'), 'baseline': {'r': 'r/base', 'few_step': 'r/base'},
            'comparisons': (('r/a', 'r/absent'), ('few_step/c', 'r/base')), 'small': ('1/4',), 'full': '1', 'steps': (1, 2),
            'matched': ('r/a',)}
LABELS = ('r/base at 1/4', 'r/a at 1/4', 'r/a at 1/4@matched', 'few_step/c at 1/4@1 step', 'few_step/c at 1/4@2 steps',
          'flow/d at 1/4', 'r/base at 1', 'r/a at 1')


def rows_of(labels, seeds=range(3)):
  """Kernel distances to data and teacher."""
  rows = Rows({'arm': arm, 'metric': 'kernel_distance', 'reference': reference, 'value': 0.1 * i, 'low': 0.1 * i - 0.01,
               'high': 0.1 * i + 0.01, 'floor': 0.0, 'n': 1, 'seed': 7, 'train_seed': seed} for reference in ('data', 'teacher')
              for seed in seeds for i, arm in enumerate(labels, 1))
  return Rows([*rows, *({**row, 'arm': 'teacher', 'train_seed': None} for row in rows if row['arm'] == labels[0])])


def test_what_is_compared():
  """Every student with the baseline of its size and network, the teacher, itself in the next size and sampled in the first way,
  and what is named."""
  effects = budget_report.effects(rows_of(LABELS), SETTINGS)
  assert 'teacher' not in {row['baseline'] for row in effects if row['reference'] == 'teacher'}  # it is the reference
  found = [(row['arm'], row['baseline']) for row in effects if row['reference'] == 'data']
  assert len(set(found)) == len(found) and set(found) == {
      *((arm, 'r/base at 1/4') for arm in LABELS[1:5]), ('r/a at 1', 'r/base at 1'), *((arm, 'teacher') for arm in LABELS),
      ('r/base at 1', 'r/base at 1/4'), ('r/a at 1', 'r/a at 1/4'), ('r/a at 1/4@matched', 'r/a at 1/4'),
      ('few_step/c at 1/4@2 steps', 'few_step/c at 1/4@1 step')}


def test_ways_to_sample_are_compared_alike():
  """The same of two arms that have several, or all with the only one of the other."""
  settings = {**SETTINGS, 'arms': ('few_step/a', 'few_step/b', 'r/c', 'r/a'), 'baseline': {},
              'comparisons': (('few_step/a', 'few_step/b'), ('few_step/a', 'r/c'), ('r/a', 'r/c'))}
  labels = [str(student) for arm in settings['arms'] for student in budget_training.ways(arm, '1', settings)]
  one, two = ([f'few_step/{arm} at 1@{steps}' for steps in ('1 step', '2 steps')] for arm in 'ab')
  assert budget_report._compared(labels, settings, '1') == [
      *zip(one, two), *((arm, 'r/c at 1') for arm in (*one, 'r/a at 1', 'r/a at 1@matched')), (one[1], one[0]),
      (two[1], two[0]), ('r/a at 1@matched', 'r/a at 1')]


def test_the_table_has_what_is_there_after_one_seed():
  """Beside arms that have several; what is told of the first training alone is no number of the arm."""
  rows = rows_of(LABELS[:2]) + rows_of(LABELS[2:3], seeds=[0])
  rows += [{**rows[0], 'arm': arm, 'metric': 'course', 'value': 9.0} for arm in LABELS[:3] for _ in range(3)]
  table = budget_report.main_table(Rows(rows))
  lines = {line[0]: line[1] for line in table[1:-1]}
  assert lines.keys() == {'teacher', *LABELS[:3]} and lines[LABELS[1]].startswith('0.2 [0.2, 0.2]')
  assert lines[LABELS[2]] == '0.1 [0.09, 0.11]'


def test_the_page_says_what_diverged_and_whose_rate_is_at_the_edge():
  rows = Rows([{'arm': 'a', 'metric': 'diverged'}, {'arm': 'a', 'metric': 'diverged'},
               *({'arm': arm, 'metric': 'course', 'learning_rate': rate} for arm, rate in (('b', 1e-3), ('c', 1e-2))),
               *({'arm': arm, 'metric': 'tuning', 'learning_rate': rate} for arm in 'bc' for rate in (1e-4, 1e-3, 1e-2))])
  assert budget_report._remarks(rows) == ['`a` diverged with 2 training seeds.',
                                          'At the edge of the learning rates that were tried: `c`.']


def test_an_arm_that_goes_on_may_stop_at_once(monkeypatch):
  """It takes the rate with which the first seed comes nearest, for all seeds."""
  along = {(0, 0.1): {30: 0.5, 60: 0.3}, (0, 0.2): {30: 0.2, 60: 0.9}, (1, 0.2): {30: 0.9, 60: 0.8}}
  first = budget_training.Trained('first', 1500, 1500, 0.01)
  monkeypatch.setattr(budget_training, '_go_on', lambda study, student, first, seed, rate: (seed, rate))
  monkeypatch.setattr(budget_training, 'distances_along', lambda study, workdir, num: along[workdir])
  monkeypatch.setattr(budget_training, '_distance', lambda study, student, first: 0.4)
  monkeypatch.setattr(budget_training.checkpoint, 'steps', lambda workdir: [30, 60])
  then = {'first': 'flow/a', 'passes': 300, 'every': 30, 'rates': (0.1, 0.2)}
  study = types.SimpleNamespace(settings={'then': {'flow/kl': then}, 'passes': 1500, 'choice': 5}, done={
      ('flow/a', '1', seed): first for seed in (0, 1)})
  found = [budget_training.trained(study, budget_training.Student('flow/kl', '1'), seed) for seed in (0, 1)]
  assert [(run.rate, run.step, run.made) for run in found] == [(0.2, 30, 60), (0.2, 0, 60)]
  assert found[1].first.step == found[1].first.made == 1200 and found[0].tuning == {0.1: 0.3, 0.2: 0.2}


@pytest.mark.parametrize('first,then,expected', [
    ('oracle_prediction', 'mixture', {'T': 20, 'T^-1': 30, 'store_seconds': 90}),
    ('x_reconstruction', 'x_reconstruction', {'T': 30, 'T^-1': 0, 'store_seconds': 15}),  # each T(x) is made once, and kept
    ('x_reconstruction', 'z_reconstruction', {'T': 30 + 20, 'T^-1': 0, 'store_seconds': 15})])
def test_what_two_parts_share_is_counted_once(monkeypatch, first, then, expected):
  """A student that goes on from another one saw the same pairs or encodings; it is charged for all updates, whichever
  it took."""
  monkeypatch.setattr(budget_costs, 'student_config', lambda config, student, seed: {
      'loss': {'name': student.arm.partition('/')[2]}, 'train': {'batch_size': 10}})
  monkeypatch.setattr(budget_costs, 'pairs_of', lambda study, loss: 'pairs')
  monkeypatch.setattr(budget_costs, 'manifest', lambda pairs: {'num': 30})
  monkeypatch.setattr(budget_costs, 'examples_per_second', lambda workdir: 2.0)
  monkeypatch.setattr(budget_costs.costs, 'multiply_adds', lambda *_: 1.0)
  seconds = {'teacher pass': 0.5, 'teacher, cached': 3.0, 'teacher, ancestral': 9.0}
  monkeypatch.setattr(budget_costs, 'timed', lambda study: Rows(
      {'arm': arm, 'metric': 'seconds_per_sample', 'reference': 'batch 64', 'value': value} for arm, value in seconds.items()))
  student = types.SimpleNamespace(student=types.SimpleNamespace(z_to_x=None, event_shape=(1,)), params=None)
  study = types.SimpleNamespace(settings={'then': {f'flow/{then}': {'first': f'flow/{first}'}}},
                                outcome=types.SimpleNamespace(context=types.SimpleNamespace(seed=7)),
                                experiment=Experiment({}, None, 'command'))
  rows = Rows(budget_costs.cost_rows(
      study, budget_training.Student(f'flow/{then}', '1'), 0, student,
      budget_training.Trained('b', 1, 2, 0.1, budget_training.Trained('a', 8, 8, 0.1))))
  of = lambda metric: rows.where(metric=metric)[0]['value']
  assert {'T': of('calls of T'), 'T^-1': of('calls of T^-1'), 'store_seconds': of('store_seconds')} == expected
  assert of('calls of S') == 80 + 20 and of('training_seconds') == 50
