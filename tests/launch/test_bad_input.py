"""Bad input on the command line: exit status 1, one line that begins with `error:`, no traceback, nothing lost."""
import json
import shutil
import subprocess
import sys

from commands import ROOT, SMOKE, execute, refused, user_environment
import pytest


@pytest.mark.parametrize('flags,words', [
    (['--config.train.num_epoch=1'], ["config.train has no field 'num_epoch'", "did you mean 'num_epochs'"]),
    (['--config.trian.num_epochs=1'], ["config has no field 'trian'", "did you mean 'train'"]),
    (['--config.train.batch_size=many'], ['config.train.batch_size', 'many']),
    (['--config.train.batch_size=0'], ['config.train.batch_size must be at least 1, got 0']),
    (['--config.train.batch_size=63', '--devices=2'], ['batch of 63 does not divide over 2 devices']),
    (['--config.train.batch_size=3000'], ['config.train.batch_size is 3000, and there are 1617 examples']),
    (['--config.train.grad_clip=-1.0'], ['config.train.grad_clip must be above 0, or None, got -1.0']),
    (['--config.optimizer.decay_rate=None'], ['config.optimizer.decay_rate must be above 0 and at most 1', 'got None']),
    (['--config.train.ema_decay=None'], ['config.train.ema_decay must be at least 0 and below 1, got None']),
    (['--config.train.num_epoch=None'], ["config.train has no field 'num_epoch'"]),
    (['--config.train.grad_clip=None', '--config.train.ema_decay=2.0'], ['config.train.ema_decay must be', 'got 2.0']),
    (['--config.train.ema_decay=1.0'], ['config.train.ema_decay must be at least 0 and below 1, got 1.0']),
    (['--config.train.seed=-1'], ['config.train.seed must be at least 0']),
    (['--config.optimizer.learning_rate=0.0'], ['config.optimizer.learning_rate must be above 0, got 0.0']),
    (['--config.optimizer.learning_rate=nan'], ['config.optimizer.learning_rate must be above 0, got nan']),
    (['--config.optimizer.decay_rate=1.5'], ['config.optimizer.decay_rate must be above 0 and at most 1, got 1.5']),
    (['--config.optimizer.warmup_epochs=-1.0'], ['config.optimizer.warmup_epochs must be at least 0, or None, got -1.0']),
    (['--config.teacher.num_levels=5'], ['num_levels is 5, but 8 x 8 pixels cannot be halved 4 times']),
    (['--config.data.held_out=1.0'], ['config.data.held_out must be a share between 0 and 1, got 1.0']),
    (['--config.data.held_out=0.0001'], ['hold some out in config.data']),
    (['--config.data.split_seed=-1'], ['split_seed must be at least 0, got -1']),
    (['--config.data.num_validation=-1'], ['config.data.num_validation']),
    (['--devices=0'], ['--devices=0']),
    (['--config=configs/digits.py:huge'], ['config', "'huge'"]),
    (['--config=configs/none.py'], ['configs/none.py']),
    (['--config.teacher.name=pixelcn'], ["Unknown teacher 'pixelcn' (did you mean 'pixelcnn'?)"]),
    (['--config.teacher.network_input=intensity', '--config.data.logit_lambda=None'],
     ['config.teacher.network_input is for x that is a logit']),
    (['--config.teacher.num_filters=0'], ['num_filters must be at least 1, got 0']),
    (['--config.teacher.dropout=1.0'], ['dropout must be a rate', 'got 1.0']),
    (['--config.data.levels=256'], ['config.data.levels is 256, but digits has 17']),
    (['extra'], ["Unexpected argument 'extra'"]),
], ids=lambda value: value[-1].removeprefix('--') if isinstance(value, list) and value[-1].startswith('--') else None)
def test_train_teacher(tmp_path, flags, words):
  """What was given, and what is allowed."""
  line = refused('train_teacher', *SMOKE, f'--workdir={tmp_path}/run', *flags)
  for word in words:
    assert word in line
  assert not (tmp_path / 'run').exists(), 'something was written'


@pytest.mark.parametrize('command,flags', [
    ('sample', ['--num_samples=2']), ('make_pairs', ['--num=2']), ('evaluate', ['--num_samples=8'])])
def test_negative_seeds(tmp_path, command, flags):
  """Of what is drawn."""
  line = refused(command, f'--{"teacher" if command == "make_pairs" else "workdir"}={tmp_path}/teacher', *flags, '--seed=-1',
                 *([f'--workdir={tmp_path}/pairs'] if command == 'make_pairs' else []))
  assert '--seed=-1' in line and not list(tmp_path.iterdir())


def test_data_of_a_student(tmp_path):
  """They are those of its teacher."""
  line = refused('distill', *SMOKE, '--config.data.held_out=0.5', f'--teacher={tmp_path}', f'--workdir={tmp_path}/run')
  assert '--config.data.held_out does not count here' in line


@pytest.mark.parametrize('command,flags', [('sample', []), ('make_pairs', ['--num=2']), ('evaluate', [])])
def test_a_seed_that_wraps(tmp_path, command, flags):
  """2^32 + 1 would be 1."""
  of = f'--{"teacher" if command == "make_pairs" else "workdir"}={tmp_path}'
  assert '--seed=4294967297' in refused(command, of, *flags, '--seed=4294967297',
                                        *([f'--workdir={tmp_path}/pairs'] if command == 'make_pairs' else []))


@pytest.mark.parametrize('text,words', [
    ("raise RuntimeError('mine')", ['RuntimeError: mine', 'own.py, line 1']),
    ('def get_config(): return {}', ['get_config of the config returned a dict', 'ml_collections.ConfigDict']),
    ('x = 1', ["no attribute 'get_config'"]),
    ("import ml_collections\ndef get_config(): return ml_collections.ConfigDict({'data': {'name': 'digits'}, 'teacher': {}})",
     ["no section 'optimizer'", 'it needs data, teacher, optimizer, train']),
    ("import ml_collections\ndef get_config(): return ml_collections.ConfigDict(dict(data={'name': 'digits'}, teacher={}, "
     "optimizer={}, train={}))", ["config.optimizer has no field 'learning_rate'"]),
])
def test_own_config(tmp_path, text, words):
  """A file that raises, or returns something else, or not all of it."""
  (tmp_path / 'own.py').write_text(text)
  line = refused('train_teacher', f'--config={tmp_path}/own.py', f'--workdir={tmp_path}/run')
  for word in words:
    assert word in line
  assert not (tmp_path / 'run').exists()


def test_no_value():
  """None is no value, for a number, a text and a whole number."""
  process = execute("from launch import common, config_flag\ncommon.define_flags(config='configs/mnist.py:cpu')\n"
                    "def main():\n  config = config_flag.value()\n  print([config['train']['grad_clip'], "
                    "config['optimizer']['schedule'], config['data']['num_validation']])\ncommon.run(main)", '--workdir=none',
                    '--config.train.grad_clip=None', '--config.optimizer.schedule=None', '--config.data.num_validation=None')
  assert process.stdout == '[None, None, None]\n', process.stderr


def test_a_config_json_that_is_a_list(tmp_path):
  """For what reads a run, and for status."""
  (tmp_path / 'config.json').write_text('[1]')
  for command in ('sample', 'status'):
    assert 'it holds a list, not an object' in refused(command, f'--workdir={tmp_path}')
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


def test_workdir(tmp_path):
  """Missing, and one that cannot be made."""
  assert '--workdir' in refused('train_teacher', *SMOKE)
  assert '--workdir' in refused('train_teacher', *SMOKE, '--workdir=')
  (tmp_path / 'file').write_text('')
  assert 'cannot be written' in refused('train_teacher', *SMOKE, f'--workdir={tmp_path}/file/run')


def test_missing_teacher(tmp_path):
  """No folder, and a folder that holds something else."""
  line = refused('distill', *SMOKE, f'--teacher={tmp_path}/none', f'--workdir={tmp_path}/run')
  assert f'{tmp_path}/none holds no run' in line
  assert not (tmp_path / 'run' / 'config.json').exists()


def test_unknown_figure(tmp_path):
  """Before anything is trained."""
  assert "Unknown figure '99'" in refused('reproduce', *SMOKE, '--figure=99', f'--workdir={tmp_path}')


def test_a_checkpoint_of_another_network(folder, tmp_path):
  """Nothing is read, so that no reader is left to complain when the command is over."""
  shutil.copytree(folder / 'teacher', tmp_path / 'teacher')
  config = json.loads((tmp_path / 'teacher' / 'config.json').read_text())
  config['teacher']['num_filters'] += 1
  (tmp_path / 'teacher' / 'config.json').write_text(json.dumps(config))
  process = subprocess.run([sys.executable, '-m', 'launch.sample', f'--workdir={tmp_path}/teacher', '--num_samples=1'],
                           capture_output=True, text=True, cwd=ROOT, env=user_environment())
  assert process.returncode == 1 and process.stderr.count('\n') == 1
  assert 'does not fit the network of this config' in process.stderr
