"""The command lines, run as people run them, from the teacher to the numbers."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from commands import ROOT, SMOKE, execute, free_port, launch, launched, refused, user_environment
import numpy as np
from PIL import Image
import pytest

from inverse_matching.training.metrics import MEASURED
from launch import console
from launch.common import TRY_AGAIN


def logged(workdir):
  """metrics.jsonl with all its fields."""
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def test_train_teacher(folder):
  """config.json holds the overrides, metrics.jsonl the documented numbers, and there is a checkpoint."""
  config = json.loads((folder / 'teacher' / 'config.json').read_text())
  assert config['kind'] == 'teacher' and config['teacher']['num_filters'] == 4 and config['data']['levels'] == 17
  rows = [row for row in logged(folder / 'teacher') if 'loss' in row]
  assert [row['step'] for row in rows] == [10, 20, 26]  # 1,617 images in batches of 64
  assert {'epoch', 'loss', 'grad_norm', 'param_norm', 'update_norm', 'examples_per_second', 'data_wait_share', 'wall_time',
          'peak_host_bytes'} <= set(rows[0])
  assert rows[-1]['epoch'] == 1 and 1e8 < rows[0]['peak_host_bytes'] <= rows[-1]['peak_host_bytes'] < 1e11
  assert rows[-1]['loss'] < rows[0]['loss']
  assert sorted(p.name for p in (folder / 'teacher' / 'checkpoints').iterdir()) == ['00000026', '00000026.json']


def test_pairs_and_student(folder):
  """The student names its teacher and its pairs."""
  manifest = json.loads((folder / 'pairs' / 'manifest.json').read_text())
  config = json.loads((folder / 'student' / 'config.json').read_text())
  assert manifest['num'] == 64 and manifest['teacher'] == config['teacher_hash'] and manifest['tolerance'] == 1e-5
  assert list(manifest['sha256']) == ['pairs-00000.array_record']
  assert config['kind'] == 'student' and config['loss']['name'] == 'oracle_prediction' and config['pairs_hash']
  assert logged(folder / 'student')[-1]['step'] == 26  # an epoch is that of the 1,617 images, whatever the number of pairs


def test_sample(folder, tmp_path):
  """Integers in data space; one seed gives one z, for the teacher and the student; a picture."""
  told = launched('sample', f'--workdir={folder}/teacher', '--num_samples=6', '--seed=3', f'--output={tmp_path}/teacher').stderr
  assert 'samples: 6 of 6' in told, 'messages of the package are not shown'
  launched('sample', f'--workdir={folder}/student', f'--teacher={folder}/teacher', '--num_samples=6', '--seed=3', '--devices=2',
           f'--output={tmp_path}/student')
  teacher, student = (np.load(tmp_path / name / 'samples.npz') for name in ('teacher', 'student'))
  np.testing.assert_array_equal(teacher['z'], student['z'])
  for samples in (teacher, student):
    assert samples['x'].shape == samples['z'].shape == (6, 8, 8, 1)
    assert samples['x'].dtype == np.int32 and samples['x'].min() >= 0 and samples['x'].max() <= 16
  assert np.any(teacher['x'] != student['x'])
  assert Image.open(tmp_path / 'teacher' / 'samples.png').size == (4 * 55, 4 * 10)


@pytest.mark.slow
def test_evaluate(folder):
  """evaluation.json: the command, the settings and flat rows; the table is printed."""
  process = launched('evaluate', f'--workdir={folder}/student', f'--teacher={folder}/teacher', '--num_samples=8')
  evaluation = json.loads((folder / 'student' / 'evaluation.json').read_text())
  assert evaluation['command'].startswith('python -m launch.evaluate --workdir=')
  assert evaluation['settings']['num_samples'] == 8
  fields = {'arm', 'metric', 'reference', 'value', 'low', 'high', 'floor', 'n', 'seed'}
  assert evaluation['rows'] and all(set(row) == fields for row in evaluation['rows'])
  assert all(row['value'] is not None for row in evaluation['rows'])
  for row in evaluation['rows']:
    assert row['metric'] in process.stdout


def test_no_student_is_measured_on_the_z_of_its_training(folder):
  """Of its pairs, whose seed is 1, and of its own."""
  for seed in (0, 1):
    line = refused('evaluate', f'--workdir={folder}/student', f'--teacher={folder}/teacher', '--num_samples=8',
                   f'--seed={seed}')
    assert f'The seed of the evaluation is {seed}, and so was that of the training' in line


OVERLAY = """
import sys
from launch import common, config_flag
common.define_flags(config='vocoder')
def main():
  config = config_flag.with_overlay('teacher_study', sys.argv)
  print(config['train']['num_epochs'], config['train']['batch_size'], config['optimizer']['decay_rate'])
common.run(main)
"""


def test_a_teacher_of_speech_trains_as_in_its_study(tmp_path):
  """By config.teacher_study, before which fields on the command line come."""
  output = lambda *flags: execute(OVERLAY, f'--workdir={tmp_path}/none', *flags).stdout
  assert output() == '60 8 0.95\n'
  assert output('--config.train.batch_size=3', '--config.teacher_study.train.num_epochs=5') == '5 3 0.95\n'


def test_a_finished_command_does_nothing(folder):
  """The same command again: the same files. What another command reads of the fields given is told."""
  paths = [p for p in (folder / 'teacher').rglob('*') if p.is_file() and p.name != '.lock']
  before = {p: p.stat().st_mtime_ns for p in paths}
  told = launched('train_teacher', *SMOKE, f'--workdir={folder}/teacher').stderr
  assert 'Without effect here, where config.data, teacher, optimizer, train are read: --config.student.num_filters' in told
  assert before == {p: p.stat().st_mtime_ns for p in paths}


COUNT = """
import jax
from launch import common
common.define_flags()
common.run(lambda: print(jax.local_device_count()))
"""


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='this system does not tell the cores of a process')
@pytest.mark.parametrize('flags,count', [([], None), (['--devices=3'], 3), (['--distributed'], 1),
                                         (['--distributed', '--devices=2'], 2)])
def test_devices_of_a_cpu(flags, count):
  """One for each core; one for a process that is not alone."""
  count = count or min(8, len(os.sched_getaffinity(0)))
  env = {'JAX_COORDINATOR_ADDRESS': f'localhost:{free_port()}', 'JAX_NUM_PROCESSES': '1', 'JAX_PROCESS_ID': '0'}
  process = execute(COUNT, *flags, '--workdir=none', env=env)
  assert process.stdout == f'{count}\n', process.stderr


COMMANDS = {
    'train_teacher': ['config'], 'distill': ['config', 'teacher', 'pairs', 'init_from', 'features'],
    'make_pairs': ['teacher', 'num', 'seed', 'solver', 'pairs_from'], 'evaluate': ['teacher', 'num_samples', 'seed'],
    'sample': ['teacher', 'num_samples', 'seed', 'solver', 'output'], 'reproduce': ['config', 'figure'],
    'prepare_data': ['dataset', 'data_dir', 'archives', 'rate', 'speaker'], 'status': ['workdir'],
    'export': ['output', 'note', 'step'], 'import_teacher': ['config', 'weights', 'note'],
}
SHARED = ['workdir', 'devices', 'profile']  # of the commands that compute
DISTRIBUTED = ['train_teacher', 'distill', 'make_pairs', 'evaluate', 'sample']


def test_every_command_is_here():
  """A new command line needs a line in this table."""
  assert set(console.COMMANDS) == set(COMMANDS)


@pytest.mark.parametrize('module', COMMANDS)
def test_help_explains_each_flag(module):
  """--help lists the documented flags, each with a sentence, and how to call the command."""
  process = launch(module, '--help')
  assert process.returncode == 0
  assert f'python -m launch.{module}' in process.stdout
  words = process.stdout.split()
  shared = SHARED if module not in ('prepare_data', 'status') else []
  for flag in [*COMMANDS[module], *shared, *(['distributed'] if module in DISTRIBUTED else [])]:
    at = [i for i, word in enumerate(words) if word in (f'--{flag}:', f'--[no]{flag}:')]
    assert at, f'--{flag} is not explained'
    assert not words[at[0] + 1].startswith('-'), f'--{flag} has no sentence'


@pytest.mark.slow
def test_killed_command_ends_with_the_same_numbers(folder, tmp_path):
  """SIGTERM, then kill -9, then to the end: the checkpoint has the same bits as that of a run that nothing stopped."""
  flags = [*SMOKE[:1], '--config.train.num_epochs=3', *SMOKE[2:]]
  launched('train_teacher', *flags, f'--workdir={tmp_path}/whole')
  command = [sys.executable, '-m', 'launch.train_teacher', *flags, f'--workdir={tmp_path}/stopped']
  for signum, line in ((signal.SIGTERM, 1), (signal.SIGKILL, 4)):
    process = subprocess.Popen(command, cwd=ROOT, env=user_environment(), stderr=subprocess.PIPE, text=True)
    path = tmp_path / 'stopped' / 'metrics.jsonl'
    while process.poll() is None and (not path.exists() or len(path.read_text().splitlines()) < line):
      time.sleep(0.05)
    process.send_signal(signum)
    stderr = process.communicate()[1]
    assert process.returncode == (TRY_AGAIN if signum == signal.SIGTERM else -9), stderr
    assert signum == signal.SIGKILL or 'Run the same command again to go on.' in stderr
  launched('train_teacher', *flags, f'--workdir={tmp_path}/stopped')
  strip = lambda row: {k: v for k, v in row.items() if k not in MEASURED}
  assert [strip(r) for r in logged(tmp_path / 'stopped')] == [strip(r) for r in logged(tmp_path / 'whole')]


@pytest.mark.slow
def test_reproduce(tmp_path):
  """The whole path of figure 4, twice: the second call has nothing left to do and prints the same table."""
  flags = [*SMOKE, '--config.pairs.num=64', '--config.evaluation.num_samples=32', '--figure=4', f'--workdir={tmp_path}']
  first = launched('reproduce', *flags)
  figure = json.loads((tmp_path / 'figure4.json').read_text())
  assert figure['command'].startswith('python -m launch.reproduce') and figure['rows']
  assert Image.open(tmp_path / 'figure4.png').size[0] > 200
  assert launched('reproduce', *flags).stdout == first.stdout


@pytest.mark.slow
def test_configs_by_figure():
  """Each figure has a config of its own, unless one is given."""
  for figure, words in (('appendix_a,lambda', 'configs/digits.py'), ('6', 'configs/cifar10.py')):
    process = launch('reproduce', f'--figure={figure}', '--workdir=none', '--config.none=1')
    assert process.returncode == 1 and 'no field' in process.stderr
    expected = {'configs/digits.py': 'lambda_study', 'configs/cifar10.py': 'figures'}
    assert expected[words] in process.stderr


def test_wrong_kind_and_missing_pairs(folder, tmp_path):
  """A student given as the teacher; oracle prediction without pairs; another config in the same folder."""
  line = refused('evaluate', f'--workdir={folder}/student')
  assert "kind 'student', but a teacher is needed: give its teacher as --teacher" in line
  line = refused('distill', *SMOKE, '--config.loss.name=oracle_prediction', f'--teacher={folder}/teacher',
                 f'--workdir={tmp_path}/run')
  assert '--pairs' in line
  before = (folder / 'teacher' / 'config.json').read_bytes()
  line = refused('train_teacher', *SMOKE, '--config.train.seed=1', f'--workdir={folder}/teacher')
  assert 'train.seed is 0 there and 1 now' in line
  assert (folder / 'teacher' / 'config.json').read_bytes() == before


@pytest.mark.slow
def test_damaged_pairs(folder, tmp_path):
  """The shard is named, before there is a run; make_pairs mends it, and that is all it says."""
  source = tmp_path / 'pairs'
  shutil.copytree(folder / 'pairs', source)
  shard = source / 'pairs-00000.array_record'
  data = shard.read_bytes()
  shard.write_bytes(data[:-10])
  line = refused('distill', *SMOKE, '--config.loss.name=oracle_prediction', f'--teacher={folder}/teacher',
                 f'--pairs={source}', f'--workdir={tmp_path}/run')
  assert f'{shard} is missing or altered: run launch.make_pairs again' in line
  assert not (tmp_path / 'run' / 'config.json').exists()
  launched('make_pairs', f'--teacher={folder}/teacher', '--num=64', f'--workdir={source}')
  assert shard.read_bytes() == data
