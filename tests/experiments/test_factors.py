"""Four factors in all combinations."""
import itertools
import json
import types

from commands import launched
import numpy as np
import pytest
import scipy.stats
import small_run

from inverse_matching import runs
from inverse_matching.experiments import distillation, factors
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.training import checkpoint

SETTINGS = {'levels': {'batch_size': (64, 256), 'learning_rate': (1e-4, 1e-3), 'start': ('random', 'good')}}


def rows_of(response, num_seeds=3):
  """Rows of every run, whose response is a function of the seed and of whether each factor is high."""
  levels = {**SETTINGS['levels'], 'averaged': (False, True)}
  return Rows({**{name: levels[name][i] for name, i in zip(levels, high)}, 'train_seed': seed, 'metric': 'reverse_kl',
               'value': response(seed, *high)} for seed in range(num_seeds) for high in itertools.product((0, 1), repeat=4))


def test_effects_of_a_sum():
  """What is put in comes out, whatever the others do."""
  coefficients = [1.0, -2.0, 0.0, 0.5]
  values = {high: 5 + np.dot(coefficients, high) for high in itertools.product((0, 1), repeat=4)}
  np.testing.assert_allclose([factors.effect(values, factor) for factor in range(4)], coefficients, atol=1e-12)


def test_the_effect_of_a_rate_may_depend_on_the_start():
  """It is told for each, with a t interval over the seeds; that of the start is a mean over all others."""
  noise = np.array([0.1, -0.3, 0.4])
  rows = rows_of(lambda seed, batch, rate, good, averaged: 10 - 6 * good + (1 + noise[seed]) * rate * (1 - 3 * good))
  summary = Rows(factors.summarise(rows, SETTINGS))
  assert len(summary) == 7 and summary.distinct('num_train_seeds') == [3]
  for start, sign in (('random', 1), ('good', -2)):
    row, = summary.where(factor='learning_rate', start=start)
    expected = scipy.stats.ttest_1samp(sign * (1 + noise), 0).confidence_interval(0.95)
    np.testing.assert_allclose([row['effect'], row['low'], row['high']], [sign * (1 + noise.mean()), *expected])
    assert all(abs(row['effect']) < 1e-9 for factor in ('batch_size', 'averaged') for row in summary.where(
        factor=factor, start=start))
  row, = summary.where(factor='start')
  np.testing.assert_allclose(row['effect'], -6 - 1.5 * (1 + noise.mean()))
  assert row['start'] is None


def test_a_seed_with_a_run_that_diverged_does_not_count():
  """Of its start; of the other one it does."""
  rows = rows_of(lambda seed, batch, rate, good, averaged: seed + rate)
  rows.remove(next(row for row in rows if row['start'] == 'good' and row['train_seed'] == 1))
  summary = Rows(factors.summarise(rows, SETTINGS))
  assert {row['start']: row['num_train_seeds'] for row in summary.where(factor='learning_rate')} == {'random': 3, 'good': 2}
  assert summary.where(factor='start')[0]['num_train_seeds'] == 2
  assert factors.summarise(rows.where(train_seed=0), SETTINGS) == []  # one seed has no interval


def test_rows_are_of_the_training_that_they_name(tmp_path, record):
  """Of its batch, rate, start and seed, and of its last parameters or of their average."""
  settings = {**SETTINGS, 'arm': 'flow/z_reconstruction', 'good': 'flow/oracle_prediction', 'updates': 20, 'every': 10,
              'num_seeds': 2}
  arms = {f'flow/{name}': {'loss': {'name': name}} for name in ('z_reconstruction', 'oracle_prediction')}
  config = {**small_run.CONFIG, 'data': {}, 'evaluation': {'seed': 100}, 'arms': arms, 'factors': settings,
            'train': {**small_run.CONFIG['train'], 'seed': 5}}
  context = types.SimpleNamespace(settings={})
  record(distillation, 'carry_out', lambda call: distillation.Outcome(
      small_run.RUN, {}, context, [], {}, Stages(tmp_path / 'timing.json', call.more_stages)))
  # Training i ends at parameters 2 i, whose average is 2 i + 1.
  trained = record(runs, 'distill')
  number = lambda call: [each.workdir for each in trained].index(call.workdir)
  record(runs, 'load_student', lambda call: runs.StudentRun({}, None, {'w': np.array(2.0 * number(call) + 1)}))
  record(checkpoint, 'steps', lambda call: [10, 20])
  record(checkpoint, 'load', lambda call: {name: {'w': np.array(
      2.0 * number(call) + (name != 'params') if call.step == 20 else np.nan)} for name in call.target})
  record(factors.evaluate, 'sample_rows', lambda call: [
      {'metric': 'reverse_kl', 'reference': 'teacher', 'value': float(call.student_run.params['w']), 'low': None, 'high': None,
       'floor': 0.0}])
  record(factors, '_draw')
  factors.run(Experiment(config, tmp_path, 'command', 1))
  rows = Rows(json.loads((tmp_path / 'factors.json').read_text())['rows'])
  assert len(rows) == 32 and len(rows.distinct('value')) == 32
  for row in rows:
    i, averaged = divmod(row['value'], 2)
    call = trained[int(i)]
    assert {name: row[name] for name in ('batch_size', 'learning_rate', 'train_seed', 'averaged')} == {
        'batch_size': call.config['train']['batch_size'], 'learning_rate': call.config['optimizer']['learning_rate'],
        'train_seed': call.config['train']['seed'], 'averaged': bool(averaged)}
    assert call.init_from == (tmp_path / 'students' / settings['good'] / f'seed{5 + row["train_seed"]}'
                              if row['start'] == 'good' else None)
    assert call.config['loss']['name'] == 'z_reconstruction' and call.teacher_run is small_run.RUN


@pytest.mark.slow
def test_factors(tmp_path):
  """Eight trainings a seed, each read twice."""
  launched('reproduce', '--figure=factors', '--config=configs/digits.py:smoke', '--config.factors.num_seeds=1',
           f'--workdir={tmp_path}')
  document = json.loads((tmp_path / 'factors.json').read_text())
  rows = Rows(document['rows'])
  assert len(rows) == 16 * 2 and 'summary' not in document  # of one seed there is no interval
  assert len({(row['batch_size'], row['learning_rate'], row['start'], row['averaged']) for row in rows}) == 16
  last, averaged = (rows.where(averaged=value, metric='reverse_kl').values('value') for value in (False, True))
  assert np.all(last != averaged)
