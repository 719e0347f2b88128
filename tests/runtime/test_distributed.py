"""Several processes of one run on this machine, which talk by gloo: the numbers are those of one process."""
import json
import os
import shutil
import signal

from commands import CONFIG, assert_close, finish, metrics, run, run_several, start, start_several, wait_for
import numpy as np
import pytest

from inverse_matching.training import checkpoint
from launch.common import TRY_AGAIN

pytestmark = [pytest.mark.slow, pytest.mark.survival]
# 20 steps of SGD: Adam would hide a wrong scale of the gradient.
FLAGS = [CONFIG, '--config.optimizer.name=sgd', '--config.optimizer.learning_rate=0.001', '--config.train.log_every_steps=1',
         '--config.train.batch_size=80', '--config.train.num_epochs=1']
NUM_PAIRS = 1100  # two shards


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """A teacher, its pairs and a student, made by one process on one device."""
  path = tmp_path_factory.mktemp('one')
  run('train_teacher', *FLAGS, '--devices=1', f'--workdir={path}/teacher')
  run('make_pairs', f'--teacher={path}/teacher', f'--num={NUM_PAIRS}', '--devices=1', f'--workdir={path}/pairs')
  return path


def pairs_of(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == '.array_record'}


def launch(count, module, *flags):
  """By `count` processes."""
  if count == 1:
    run(module, *flags)
  else:
    run_several(count, module, *flags)


@pytest.mark.parametrize('count,devices', [(1, 8), (2, 4)])
def test_the_same_losses_and_pairs(one, tmp_path, count, devices):
  """Losses and norms of 20 steps within 1e-5; pairs of the same teacher bit for bit."""
  launch(count, 'train_teacher', *FLAGS, f'--devices={devices}', f'--workdir={tmp_path}/teacher')
  rows = metrics(one / 'teacher')
  assert len([row for row in rows if 'loss' in row]) == 21 and rows[0]['loss'] > 1.1 * rows[-2]['loss']
  assert_close(rows, metrics(tmp_path / 'teacher'), rtol=1e-5)
  launch(count, 'make_pairs', f'--teacher={one}/teacher', f'--num={NUM_PAIRS}', f'--devices={devices}',
         f'--workdir={tmp_path}/pairs')
  assert pairs_of(tmp_path / 'pairs') == pairs_of(one / 'pairs') and len(pairs_of(one / 'pairs')) == 2


LONG = [*FLAGS, '--config.train.num_epochs=20', '--config.train.checkpoint_every_epochs=5']


def test_stopped_and_gone_on_with_other_devices(tmp_path, tally):
  """8 devices, then 1, then two processes of which one is told to stop, then 8: the numbers of a run that nothing stopped."""
  run('train_teacher', *LONG, '--devices=1', f'--workdir={tmp_path}/whole')
  workdir, steps = tmp_path / 'stopped', []
  for i, (count, devices) in enumerate([(1, 8), (1, 1), (2, 4)]):
    flags = [*LONG, f'--devices={devices}', f'--workdir={workdir}']
    started = [start('train_teacher', *flags)] if count == 1 else start_several(2, 'train_teacher', *flags)
    wait_for(lambda i=i: len(metrics(workdir)) > 40 * (i + 1), started[-1])
    started[-1].send_signal(signal.SIGTERM)
    for process in started:  # the other one stops too
      words = finish(process, TRY_AGAIN)
      assert 'Run the same command again to go on.' in words
    steps.append(checkpoint.latest(workdir))
    tally.happened('SIGTERM, then other devices', 'train_teacher')
  run('train_teacher', *LONG, '--devices=8', f'--workdir={workdir}')
  assert 0 < steps[0] < steps[1] < steps[2] < checkpoint.latest(workdir) == 420, steps
  assert_close(metrics(tmp_path / 'whole'), metrics(workdir), rtol=1e-4)
  tally.survived('SIGTERM, then other devices', 'train_teacher', 3)


def test_a_student_and_its_numbers(one, tmp_path):
  """distill, sample and evaluate by two processes: samples bit for bit, numbers up to rounding."""
  flags = [*FLAGS, f'--teacher={one}/teacher', f'--pairs={one}/pairs', '--config.loss.name=oracle_prediction',
           '--config.loss.noise_std=0.0']
  of = lambda name: [f'--teacher={one}/teacher', f'--workdir={tmp_path}/{name}']
  for count, name in ((1, 'one'), (2, 'two')):
    launch(count, 'distill', *flags, '--devices=1', f'--workdir={tmp_path}/{name}')
    shutil.copytree(tmp_path / 'one', tmp_path / f'{name}_again')
    launch(count, 'sample', *of(f'{name}_again'), '--num_samples=9', '--devices=1')
    launch(count, 'evaluate', *of(f'{name}_again'), '--num_samples=40', '--devices=1')
  assert_close(metrics(tmp_path / 'one'), metrics(tmp_path / 'two'), rtol=1e-5)
  samples, others = (np.load(tmp_path / f'{name}_again' / 'samples.npz') for name in ('one', 'two'))
  for name in ('x', 'z'):
    np.testing.assert_array_equal(samples[name], others[name])
  rows, others = (json.loads((tmp_path / f'{name}_again' / 'evaluation.json').read_text())['rows'] for name in ('one', 'two'))
  names = ('arm', 'metric', 'reference', 'n', 'seed')
  assert [[row[name] for name in names] for row in rows] == [[row[name] for name in names] for row in others]
  for row, other in zip(rows, others):
    np.testing.assert_allclose(other['value'], row['value'], rtol=1e-3, atol=1e-3, err_msg=row['metric'])


def test_a_process_that_fails_ends_them_all(tmp_path, tally):
  """What one process alone can tell, the others hear; a process that is killed does not leave the others waiting."""
  for process in start_several(2, 'train_teacher', *FLAGS, '--devices=3', f'--workdir={tmp_path}/none'):
    assert 'error: A batch of 80 does not divide over 6 devices' in finish(process, 1)
  flags = [*LONG, '--devices=1', f'--workdir={tmp_path}/run']
  first, second = start_several(2, 'train_teacher', *flags)
  wait_for(lambda: len(metrics(tmp_path / 'run')) > 40, first)
  for process in (first, second):  # they might come to the end while the next one starts
    process.send_signal(signal.SIGSTOP)
  assert 'Another process is running in' in run('train_teacher', *flags, status=1)
  tally.happened('kill -9 of one process of two', 'train_teacher')
  second.kill()
  first.send_signal(signal.SIGCONT)
  first.communicate(timeout=60)
  assert first.returncode not in (0, None)
  run('train_teacher', *flags)
  run('train_teacher', *LONG, '--devices=1', f'--workdir={tmp_path}/whole')
  assert_close(metrics(tmp_path / 'whole'), metrics(tmp_path / 'run'), rtol=1e-4)
  tally.survived('kill -9 of one process of two', 'train_teacher')


@pytest.mark.skipif(shutil.which('mpirun') is None, reason='Open MPI is not installed')
def test_open_mpi(one, tmp_path):
  """mpirun -n 2 says who is who: nothing else is given."""
  before = ['mpirun', '-n', '2', '--oversubscribe', *(['--allow-run-as-root'] if os.geteuid() == 0 else [])]
  run('train_teacher', *FLAGS, '--devices=4', '--distributed', f'--workdir={tmp_path}/teacher', before=before)
  assert_close(metrics(one / 'teacher'), metrics(tmp_path / 'teacher'), rtol=1e-5)
