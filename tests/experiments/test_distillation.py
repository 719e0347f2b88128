"""Figures 4 to 6: colour images from files, several seeds, and what a config lacks."""
import json

from commands import launched, refused
from PIL import Image
from prepared import write_prepared
import pytest
import scipy.stats
import tiny

from configs import digits
from inverse_matching.errors import InputError
from inverse_matching.evaluation import context
from inverse_matching.experiments import budget, crossed, distillation, factors, headroom, report, warm_start
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.recipes import tfds_images
from inverse_matching.runtime.overlays import merge

# Of 3,072 dimensions it takes two minutes, four times; tests/evaluation/test_jacobian.py looks at it.
WITHOUT_JACOBIANS = ('import numpy as np; from inverse_matching.evaluation import jacobian; '
                     'jacobian.singular_values = lambda student, params, z: np.ones((len(z), z[0].size))')


@pytest.mark.slow
def test_figure_6_of_colour_images(tmp_path):
  """Three channels, 256 levels, two seeds of the samples and of the student: all rows; a report and pictures; the capstone."""
  write_prepared(tmp_path / 'data', 'cifar10', {'train': 40, 'test': 30}, (32, 32, 3))
  process = launched('reproduce', '--figure=6', '--config=configs/cifar10.py:smoke', f'--config.data.data_dir={tmp_path}/data',
                     '--config.data.num_train=40', '--config.data.num_held_out=30', '--config.evaluation.num_samples=16',
                     '--config.evaluation.num_seeds=2', '--config.evaluation.num_train_seeds=2', f'--workdir={tmp_path}/run',
                     first=WITHOUT_JACOBIANS)
  figure = json.loads((tmp_path / 'run' / 'figure6.json').read_text())
  assert figure['settings']['images'] == {'train': 40, 'held_out': 30}
  keys = {seed: {(r['arm'], r['metric'], r['reference'], r.get('train_seed')) for r in figure['rows'] if r['seed'] == seed}
          for seed in (100, 101)}
  assert keys[100] == keys[101] and len(figure['rows']) == 2 * len(keys[100])
  of = lambda train_seed: {key[:3] for key in keys[100] if key[3] == train_seed}
  assert of(0) == of(1) and {arm.partition('@')[0] for arm, _, _ in of(0)} == {'resnet/x_reconstruction_l1_noise'}
  pair = [r['value'] for r in figure['rows'] if (r['metric'], r['reference'], r['seed'], r['arm']) == (
      'oracle_l2', 'teacher', 100, 'resnet/x_reconstruction_l1_noise')]
  mean, = (r for r in figure['summary'] if (r['metric'], r['reference'], r['seed'], r['arm']) == (
      'oracle_l2', 'teacher', 100, 'resnet/x_reconstruction_l1_noise'))
  assert mean['value'] == sum(pair) / 2 and mean['num_train_seeds'] == 2 and pair[0] != pair[1]
  for arm in ('teacher', 'resnet/x_reconstruction_l1_noise'):
    found = {key[:3] for key in keys[100]}  # on images of 8x8 there is no layout apart from the pixels
    assert (arm, 'sharpness', 'data') in found and (arm, 'kernel_distance_8x8', 'data') not in found
  assert 'a student can outperform its teacher (resnet/x_reconstruction_l1_noise): ' in process.stdout
  text = (tmp_path / 'run' / 'report.md').read_text()
  assert 'over 2 seeds' in text and 'lack low-level precision' in text and not (tmp_path / 'run' / 'pairs').exists()
  assert (tmp_path / 'run' / 'encodings' / 'manifest.json').exists()  # that x-reconstruction was trained on
  stages = list(json.loads((tmp_path / 'run' / 'timing.json').read_text())['stages'])
  distilled = stages.index('distil resnet/x_reconstruction_l1_noise')
  assert stages[distilled + 1].startswith('evaluate resnet/x_reconstruction_l1_noise')  # at once
  assert stages.index('distil resnet/x_reconstruction_l1_noise, training seed 1') > distilled
  for picture in ('figure6', 'forest'):
    assert Image.open(tmp_path / 'run' / f'{picture}.png').mode.startswith('RGB')


def test_a_figure_has_the_rows_of_its_own_arms():
  """Those of the teacher and the data belong to all; those of an arm that is measured in two ways go with it."""
  rows = [{'arm': arm} for arm in ('teacher', 'held_out', 'flow/a', 'resnet/b', 'resnet/b@matched')]
  outcome = distillation.Outcome(None, {'flow/a': 1, 'resnet/b': 2}, None, rows, {}, None)
  arms = lambda *names: [row['arm'] for row in outcome.of(names).rows]
  assert arms('flow/a') == ['teacher', 'held_out', 'flow/a'] and outcome.of(['flow/a']).students == {'flow/a': 1}
  assert arms('resnet/b') == ['teacher', 'held_out', 'resnet/b', 'resnet/b@matched']


def test_what_diverges_does_not_end_the_rest(tmp_path):
  """Its row says so, and the figure is made of the other arms; also when it is called again."""
  config = tiny.get_config().to_dict()
  config['arms']['flow/oracle_prediction']['optimizer'] = {'learning_rate': 1e38}
  for _ in range(2):
    text = distillation.run(Experiment(config, tmp_path, 'command', 1), ['4'])
    assert 'flow/x_reconstruction' in text
    rows = json_rows(tmp_path)
    assert rows.where(arm='flow/oracle_prediction').distinct('metric') == ['diverged']
    assert 'coverage' in rows.where(arm='flow/x_reconstruction').distinct('metric')
    assert Image.open(tmp_path / 'figure4.png').width > 100 and (tmp_path / 'report.md').exists()


def test_numbers_are_there_before_the_last_student(tmp_path, monkeypatch):
  """Of those that were evaluated when the command is killed; the pictures follow when it goes on."""
  config, distil, trained = tiny.get_config().to_dict(), distillation.distil, []

  def killed(experiment, arm, *args):
    if trained:
      raise KeyboardInterrupt
    trained.append(arm)
    return distil(experiment, arm, *args)

  run = lambda: distillation.run(Experiment(config, tmp_path, 'command', 1), ['4'])
  monkeypatch.setattr(distillation, 'distil', killed)
  with pytest.raises(KeyboardInterrupt):
    run()
  students = lambda: {arm for arm in json_rows(tmp_path).distinct('arm') if '/' in arm}
  assert students() == set(trained) and (tmp_path / 'report.md').exists() and not (tmp_path / 'figure4.png').exists()
  monkeypatch.setattr(distillation, 'distil', distil)
  run()
  assert students() == set(config['figures']['4']) > set(trained) and (tmp_path / 'figure4.png').exists()


def test_numbers_by_other_metrics_are_measured_anew(tmp_path, monkeypatch):
  """Those of a workdir that an older version made would lack what has been added since."""
  config = tiny.get_config().to_dict()
  config['figures']['4'] = ('flow/x_reconstruction',)
  run = lambda: distillation.run(Experiment(config, tmp_path, 'command', 1), ['4'])
  run()
  file = tmp_path / 'teacher' / 'evaluation.json'
  document = json.loads(file.read_text())
  older = {**document, 'rows': document['rows'][:1]}
  file.write_text(json.dumps(older))
  run()
  assert json.loads(file.read_text()) == older
  monkeypatch.setattr(context, 'METRICS', context.METRICS + 1)
  run()
  assert json.loads(file.read_text())['rows'] == document['rows']


def json_rows(path):
  """Those of figure 4."""
  return Rows(json.loads((path / 'figure4.json').read_text())['rows'])


@pytest.mark.parametrize('study, section, name', [
    (distillation.run, 'figures', '4'), (warm_start.run, 'warm_start', 'arms'), (crossed.run, 'crossed', 'arms'),
    (budget.run, 'budget', 'arms'), (factors.run, 'factors', 'arm'), (headroom.run, 'headroom', 'control'),
    (headroom.run, 'headroom', 'arms')])
def test_an_arm_that_no_table_has_is_refused_before_the_teacher_is_trained(tmp_path, study, section, name):
  """In one sentence with the nearest name, whatever of the config asks for it."""
  config = (tfds_images.config('mnist', 'smoke') if section == 'headroom' else digits.get_config('smoke')).to_dict()
  asked = 'flow/oracle_predictoin'
  config[section][name] = asked if isinstance(config[section][name], str) else (asked,)
  with pytest.raises(InputError, match="Unknown arm 'flow/oracle_predictoin' .did you mean 'flow/oracle_prediction'"):
    figures = (['4'],) if section == 'figures' else ()
    study(Experiment(config, tmp_path, 'command', 1), *figures)
  assert not (tmp_path / 'teacher').exists() and not any(tmp_path.rglob('config.json'))


def test_a_student_that_cannot_be_is_refused_before_the_teacher_is_trained(tmp_path):
  config = tiny.get_config().to_dict()
  for overlay, words in (({'loss': {'name': 'no_such_loss'}}, 'no_such_loss'), ({'student': {'name': 'flwo'}}, 'flwo')):
    wrong = merge(config, {'arms': {'flow/oracle_prediction': overlay}})
    with pytest.raises(InputError, match=words):
      distillation.run(Experiment(wrong, tmp_path, 'command', 1), ['4'])
  with pytest.raises(InputError, match='There are 3 samples, too few'):
    distillation.run(Experiment(merge(config, {'evaluation': {'num_samples': 3}}), tmp_path, 'command', 1), ['4'])
  assert not (tmp_path / 'teacher').exists()


def test_the_folder_of_a_student(tmp_path):
  """One for each training seed; what was made before there were several is found."""
  config = lambda seed: {'train': {'seed': seed}}
  folder = lambda seed: distillation.student_folder(tmp_path, 'flow/a', config(seed)).relative_to(tmp_path).as_posix()
  assert folder(0) == 'students/flow/a/seed0' and folder(1) == 'students/flow/a/seed1'
  (tmp_path / 'students' / 'flow' / 'a').mkdir(parents=True)
  (tmp_path / 'students' / 'flow' / 'a' / 'config.json').write_text(json.dumps(config(0)))
  assert folder(0) == 'students/flow/a' and folder(1) == 'students/flow/a/seed1'


def test_training_seeds_begin_with_that_of_the_config():
  """And those that follow are as many as the config has."""
  config = lambda **evaluation: {'train': {'seed': 5}, 'evaluation': evaluation}
  assert list(distillation.train_seeds(config())) == list(distillation.train_seeds(config(num_train_seeds=None))) == [5]
  assert list(distillation.train_seeds(config(num_train_seeds=3))) == [5, 6, 7]


def test_students_are_measured_on_z_of_their_own():
  """Trainings and pairs draw z from the stream of their seed."""
  config = lambda seed, num: {'pairs': {'seed': 1}, 'train': {'seed': 0}, 'arms': {'flow/a': {}},
                              'evaluation': {'seed': seed, 'num_seeds': 2, 'num_train_seeds': num}}
  assert list(distillation.sample_seeds(config(3, 3), ['flow/a'])) == [3, 4]
  for seed, num in ((2, 3), (1, 1), (0, 1)):
    with pytest.raises(InputError, match='take a larger one'):
      distillation.sample_seeds(config(seed, num), ['flow/a'])


def test_over_training():
  """Mean and t interval; nothing for a seed alone."""
  rows = Rows({'arm': 'a', 'metric': 'coverage', 'reference': 'teacher', 'value': value, 'seed': 2, 'train_seed': seed, 'n': 9,
               'floor': 1.0} for seed, value in enumerate((0.5, 0.25, 0.75)))
  assert report._over_training(Rows(rows[:1])) == '' and not Rows(rows[:1]).over_training()
  summary, = rows.over_training()
  low, high = scipy.stats.t.interval(0.95, 2, 0.5, scipy.stats.sem([0.5, 0.25, 0.75]))
  assert (summary['value'], summary['num_train_seeds']) == (0.5, 3)
  assert summary['low'] == pytest.approx(low) and summary['high'] == pytest.approx(high)
  assert 'over 3 training seeds' in report._over_training(rows)


def test_over_seeds():
  """The range of each number; nothing for one seed."""
  rows = Rows({'arm': 'a', 'metric': 'coverage', 'reference': 'teacher', 'value': value, 'seed': seed}
              for seed, value in ((2, 0.5), (3, 0.25), (4, 0.75)))
  assert report._over_seeds(Rows(rows[:1])) == ''
  assert '| 0.25 to 0.75 |' in report._over_seeds(rows) and 'over 3 seeds' in report._over_seeds(rows)


@pytest.mark.slow
def test_a_config_without_the_figure():
  """One sentence, before anything is run."""
  for figure, config in (('6', 'digits.py:smoke'), ('lambda', 'mnist.py:smoke')):
    assert f'has no settings for figure {figure}' in refused('reproduce', f'--figure=4,{figure}', f'--config=configs/{config}',
                                                             '--workdir=none')
