"""The study of all kinds of teachers: its configs, its table, and the path that each kind takes."""
import json
import types

from commands import SMOKE, launched, metrics
import numpy as np
from PIL import Image
import pytest

from configs import digits
from inverse_matching import runs
from inverse_matching.data import pairs
from inverse_matching.errors import InputError
from inverse_matching.evaluation import statistics
from inverse_matching.experiments import distillation, teachers
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.recipes import images

SMALL = dict(num_filters=4, num_blocks=1, num_levels=1)


def test_settings():
  """The study changes its sections for all kinds, a kind its own; the config stays as it was."""
  config = digits.get_config().to_dict()
  config['teachers_study'] = {**config['teachers_study'], 'train': {'num_epochs': 7}}
  gaussian, categorical, transformer = (teachers.settings_of(config, kind) for kind in (
      'gaussian', 'categorical', 'transformer'))
  assert gaussian == {**config, 'train': {**config['train'], 'num_epochs': 7}}
  assert categorical['data'] == {**config['data'], 'logit_lambda': None}
  assert categorical['teacher'] == {**config['teacher'], 'elementwise': 'categorical', 'levels': 17}
  assert transformer['teacher'] == config['teacher_kinds']['transformer']['teacher']
  assert config['train']['num_epochs'] == 30 and config['data']['logit_lambda'] == 0.01


def test_a_config_of_one_kind_is_refused(tmp_path):
  """Its kinds would not be what they are called."""
  with pytest.raises(InputError, match='this config is of the kind categorical: give it without'):
    teachers.run(Experiment(digits.get_config('smoke,categorical').to_dict(), tmp_path, ''))
  assert not list(tmp_path.iterdir())


def test_table():
  """A line for each teacher and student of each kind, at one seed."""
  rows = [{**statistics.row(arm, metric, reference, value, n=1, seed=seed), 'teacher': kind}
          for kind in ('a', 'b') for seed in (2, 3)
          for arm, metric, reference, value in (
              ('teacher', 'bits_per_dim', 'train', seed), ('held_out', 'coverage', 'data', 0.5),
              ('resnet/x', 'coverage', 'teacher', 0.25))]
  header, *lines = teachers.table(rows, seed=3)
  assert [line[0] for line in lines] == ['a teacher', 'a resnet/x', 'b teacher', 'b resnet/x']
  assert lines[0][header.index('bits_per_dim (train)')] == '3' and lines[1][header.index('coverage (teacher)')] == '0.25'


def test_each_kind_is_written_when_it_is_done(tmp_path, monkeypatch):
  """What the first kind took hours for is there, though the second fails."""
  run = types.SimpleNamespace(teacher=types.SimpleNamespace(levels=None), space=types.SimpleNamespace(levels=17))
  rows = [statistics.row('teacher', 'coverage', 'data', 0.5, n=1, seed=3)]
  outcomes = iter([types.SimpleNamespace(teacher_run=run, rows=rows)])
  monkeypatch.setattr(distillation, 'carry_out', lambda *_, **__: next(outcomes))
  monkeypatch.setattr(distillation, 'settings', lambda *_: {})
  monkeypatch.setattr(distillation, 'sample_panels', lambda *_: {'teacher/T^-1(z)': np.zeros((25, 8, 8, 1), np.int32)})
  config = digits.get_config('smoke').to_dict()
  config['teachers_study'] = {**config['teachers_study'], 'kinds': ('gaussian', 'transformer')}
  with pytest.raises(StopIteration):
    teachers.run(Experiment(config, tmp_path, ''))
  assert [row['teacher'] for row in json.loads((tmp_path / 'teachers.json').read_text())['rows']] == ['gaussian']
  assert (tmp_path / 'teachers.png').exists()


@pytest.mark.slow
@pytest.mark.parametrize('kind', images.KINDS)
def test_every_kind_goes_all_the_way(tmp_path, kind):
  """Trained, solved, sampled and distilled by one word in the config; z = T(x) for its pairs, whichever way they are made."""
  config = digits.get_config(f'smoke,{kind}').to_dict()
  config['train']['num_epochs'] = 1
  for section in ('teacher', 'student'):
    config[section] |= SMALL if 'num_filters' in config[section] else {}
  run = runs.train_teacher(config, tmp_path / 'teacher', devices=2)
  losses = [row['held_out_loss'] for row in metrics(tmp_path / 'teacher') if 'held_out_loss' in row]
  assert np.isfinite(losses).all()
  for pairs_from in ('z', 'sample'):
    folder = runs.make_pairs(run, tmp_path / pairs_from, num=64, seed=1, pairs_from=pairs_from, devices=2)
    made = pairs.load(folder, run.hash)
    # Samples of a teacher that is hardly trained may run away, and T(x) has no precision there.
    near = np.abs(made['x']).reshape(64, -1).max(1) < 100
    x, z = made['x'][near], made['z'][near]
    assert near.mean() > 0.5 and np.max(np.abs(run.teacher.x_to_z(run.params, x)[0] - z)) < 2e-2
    assert abs(np.mean(z)) < 0.1 and abs(np.std(z) - 1) < 0.1
    pixels = run.space.codec.to_data(made['x'])
    assert pixels.min() >= 0 and pixels.max() <= 16 and len(np.unique(pixels)) > 10
  for name in ('x_reconstruction', 'oracle_prediction'):
    changed = {**config, 'loss': images.loss(name, distance='l1')}
    student = runs.distill(changed, tmp_path / name, run, folder if name == 'oracle_prediction' else None, devices=2)
    last = [row['held_out_loss'] for row in metrics(tmp_path / name) if 'held_out_loss' in row][-1]
    assert np.isfinite(last) and np.isfinite(student.student.z_to_x(student.params, z).x).all()


@pytest.mark.slow
def test_reproduce(tmp_path):
  """A flow and discrete data, twice: rows of both, the likelihood that is exact, panels; the second call does nothing anew."""
  flags = [*SMOKE, '--config.pairs.num=64', '--config.evaluation.num_samples=32', '--figure=teachers', f'--workdir={tmp_path}',
           '--config.teachers_study.kinds=("categorical", "transformer")']
  first = launched('reproduce', *flags).stdout
  study = json.loads((tmp_path / 'teachers.json').read_text())
  assert study['settings']['exact_bits'] == ['categorical'] and 'exact for categorical; the dequantised bound' in first
  arms = {(row['teacher'], row['arm']) for row in study['rows']}
  students = ('teacher', 'resnet/x_reconstruction_l1', 'resnet/oracle_prediction_l1')
  assert {(kind, arm) for kind in ('categorical', 'transformer') for arm in students} <= arms
  assert Image.open(tmp_path / 'teachers.png').size[0] > 600
  assert (tmp_path / 'teachers' / 'classifier').exists() and not (tmp_path / 'teachers' / 'transformer' / 'teacher' /
                                                                  'classifier').exists()
  before = (tmp_path / 'teachers.json').read_bytes()
  assert launched('reproduce', *flags).stdout == first and (tmp_path / 'teachers.json').read_bytes() == before
