"""What distillation buys."""
import json
import types

from commands import launched
import numpy as np
from PIL import Image
import pytest

from inverse_matching.data.images.dataset import Images, Split
from inverse_matching.evaluation import set_distances
from inverse_matching.experiments import budget, budget_training
from inverse_matching.experiments.distillation import Outcome
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runs.classifier import Observer


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
  config = json.loads((tmp_path / 'budget/flow/reverse_kl/1_4/seed0/config.json').read_text())
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
  settings = {'arms': ('flow/d', 'flow/base', 'flow/a', 'few_step/c', 'flow/b'), 'baseline': 'flow/base', 'steps': (1, 2),
              'then': {}, 'comparisons': ()}
  best = lambda num: budget._best(rows, {**settings, 'num_best': num}, '1/2')
  assert best(2) == ['few_step/c', 'flow/b'] and best(9) == ['few_step/c', 'flow/b', 'flow/a', 'flow/d']


def test_of_arms_that_begin_with_one_student_the_nearest_is_trained_in_full():
  """Never the control, which is no other objective; the arm comes with all that it is judged beside."""
  near = {'a': 0.5, 'first': 0.4, 'kl': 0.2, 'mixture': 0.3, 'on': 0.1}
  rows = Rows({'arm': f'flow/{arm} at 1/4', 'metric': 'kernel_distance', 'reference': 'validation', 'value': value}
              for arm, value in near.items())
  settings = {'arms': [f'flow/{arm}' for arm in near], 'baseline': 'flow/base', 'num_best': 2,
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


def test_what_is_compared():
  """Every student with the baseline of its size, the teacher, itself in the next size and in one step; and what is named."""
  settings = {'arms': ('r/base', 'r/a', 'few_step/c'), 'baseline': 'r/base', 'steps': (1, 2), 'small': ('1/4',), 'full': '1',
              'comparisons': (('r/a', 'r/absent'), ('few_step/c', 'r/a'))}
  labels = ('r/base at 1/4', 'r/a at 1/4', 'few_step/c at 1/4@1 step', 'few_step/c at 1/4@2 steps', 'r/base at 1', 'r/a at 1')
  rows = Rows({'arm': arm, 'metric': 'kernel_distance', 'reference': 'data', 'value': 0.1 * i, 'low': 0.1 * i - 0.01,
               'high': 0.1 * i + 0.01, 'floor': 0.0, 'train_seed': seed}
              for seed in range(3) for i, arm in enumerate(labels, 1))
  rows += [{**rows[0], 'arm': 'teacher', 'train_seed': None}]
  rows += [{**row, 'reference': 'teacher'} for row in rows]
  effects = budget._effects(rows, settings)
  assert 'teacher' not in {row['baseline'] for row in effects if row['reference'] == 'teacher'}  # it is the reference
  found = [(row['arm'], row['baseline']) for row in effects if row['reference'] == 'data']
  assert len(set(found)) == len(found) and set(found) == {
      *((arm, 'r/base at 1/4') for arm in labels[1:4]), ('r/a at 1', 'r/base at 1'), *((arm, 'teacher') for arm in labels),
      ('r/base at 1', 'r/base at 1/4'), ('r/a at 1', 'r/a at 1/4'), ('few_step/c at 1/4@2 steps', 'few_step/c at 1/4@1 step'),
      ('few_step/c at 1/4@1 step', 'r/a at 1/4')}


def test_pairs_that_two_parts_share_are_counted_once(monkeypatch):
  """A student that goes on from another one saw the same pairs."""
  monkeypatch.setattr(budget, 'student_config', lambda config, student, seed: {
      'loss': {'name': 'mixture' if student.arm == 'flow/mixture' else 'oracle_prediction'}, 'train': {'batch_size': 10}})
  monkeypatch.setattr(budget, 'pairs_of', lambda study, loss: 'pairs')
  monkeypatch.setattr(budget, 'manifest', lambda pairs: {'num': 30})
  monkeypatch.setattr(budget, 'examples_per_second', lambda workdir: 1.0)
  monkeypatch.setattr(budget.costs, 'multiply_adds', lambda *_: 1.0)
  first = budget_training.Trained('a', 8, 0.1)
  student = types.SimpleNamespace(student=types.SimpleNamespace(z_to_x=None, event_shape=(1,)), params=None)
  study = types.SimpleNamespace(settings={'then': {'flow/mixture': {'first': 'flow/oracle_prediction'}}},
                                outcome=types.SimpleNamespace(context=types.SimpleNamespace(seed=7)),
                                experiment=Experiment({}, None, 'command'))
  rows = Rows(budget._cost_rows(study, budget_training.Student('flow/mixture', '1'), 0, student,
                                budget_training.Trained('b', 2, 0.1, first)))
  of = lambda metric: rows.where(metric=metric)[0]['value']
  assert of('calls of T^-1') == 30 and of('calls of S') == 80 + 20 and of('calls of T') == 20


def outcome_of(images, num):
  """With what the choice of a checkpoint asks of it, for `num` samples; features are the pixels."""
  context = types.SimpleNamespace(observer=Observer(lambda pixels: pixels.reshape(len(pixels), -1) / 16), seed=7,
                                  samples=types.SimpleNamespace(z=np.zeros((num, 2, 2, 1))), settings={'seed': 7})
  run = types.SimpleNamespace(source=types.SimpleNamespace(data=images), teacher='the teacher')
  return Outcome(run, {}, context, [], {}, None)


def test_distance_to_the_validation_part():
  """By hand, to as many images as there are samples; to training images where none are set apart; never to held-out ones."""
  train, validation, held_out, pixels = (
      np.random.default_rng(seed).integers(low, 17, (20, 2, 2, 1)) for seed, low in enumerate((0, 6, 12, 3)))
  images = Images(Split(train), Split(held_out), 17, Split(validation))
  for given, to in ((images, validation), (images._replace(validation=None), train)):
    found = budget_training.distance_to_validation(outcome_of(given, 12))(pixels)
    expected = set_distances.kernel_statistic(pixels / 16, to[:12] / 16)(np.arange(20), np.arange(12))
    assert found == pytest.approx(expected)


def test_the_checkpoint_nearest_to_validation_is_chosen(tmp_path, monkeypatch):
  """By samples of noise of the next seed, one of each z; it is kept with the run, and not drawn again."""
  distances, drawn = {100: 0.3, 200: 0.1, 300: 0.2}, []
  outcome = outcome_of(None, 12)

  def prior_draws(teacher, seed, index):
    assert (teacher, seed, index.tolist()) == ('the teacher', 8, list(range(12)))
    return 'noise'

  def generate(student_run, z, devices):
    drawn.append(student_run.params)
    return (student_run.params, z)

  monkeypatch.setattr(budget_training.runs, 'prior_draws', prior_draws)
  monkeypatch.setattr(budget_training.runs, 'generate', generate)
  monkeypatch.setattr(budget_training.runs, 'load_student',
                      lambda workdir, run, step=300: types.SimpleNamespace(params=np.float32(step)))
  monkeypatch.setattr(budget_training.examples, 'to_pixels', lambda run, x: x)
  monkeypatch.setattr(budget_training.checkpoint, 'steps', lambda workdir: list(distances))
  to_validation = {(step, 'noise'): value for step, value in distances.items()}.__getitem__
  study = budget_training.Study(Experiment({}, tmp_path, 'command'), {}, outcome, {}, {}, to_validation, {})
  for _ in range(2):
    assert budget_training._best_step(study, tmp_path / 'student') == 200
  assert drawn == list(distances) and (tmp_path / 'student' / 'steps_12.json').exists()
