"""Real commands that are killed, told to stop, starved of disk and fed damaged files: the end is that of an untouched run."""
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

from commands import CONFIG, LIMIT, environment, finish, metrics, run, start, stop, wait_for
import jax
import numpy as np
from PIL import Image
import pytest

from inverse_matching.data import pairs
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint
from launch.common import TRY_AGAIN

pytestmark = [pytest.mark.slow, pytest.mark.survival]
TRAIN = ['train_teacher', CONFIG, '--config.train.num_epochs=40']  # 520 steps, 40 checkpoints
NUM_PAIRS = 5000  # 5 shards
# Of the kills: shares.
SHARES = {'train_teacher': 0.35, 'distill': 0.2, 'make_pairs': 0.2, 'reproduce': 0.25}
MEASURED = ('tensorboard', '.lock', 'timing.json', 'metrics.jsonl', 'checkpoints')  # differ, or are compared apart


def command(name, folder):
  """The command line in a folder of its own, where its workdir is `run`: so the JSON that names the command is the same."""
  of = [f'--teacher={folder}/teacher']
  return {
      'train_teacher': TRAIN,
      'distill': ['distill', CONFIG, '--config.loss.name=oracle_prediction', '--config.loss.noise_std=0.0',
                  '--config.train.num_epochs=40', *of, f'--pairs={folder}/pairs'],
      'make_pairs': ['make_pairs', f'--num={NUM_PAIRS}', *of],
      'reproduce': ['reproduce', CONFIG, '--figure=4'],
  }[name] + ['--devices=1', '--workdir=run']


@pytest.fixture(scope='session')
def base(tmp_path_factory):
  """A teacher and pairs to distil with."""
  path = tmp_path_factory.mktemp('base')
  run('train_teacher', CONFIG, '--devices=1', f'--workdir={path}/teacher')
  run('make_pairs', f'--teacher={path}/teacher', '--num=2000', '--devices=1', f'--workdir={path}/pairs')
  return path


@pytest.fixture(scope='session')
def whole(base, tmp_path_factory):
  """name -> (workdir of the command when nothing happens, the seconds that it had its workdir), each run once."""
  done = {}

  def get(name):
    if name not in done:
      folder = tmp_path_factory.mktemp(f'whole_{name}')
      process = start(*command(name, base), cwd=folder)
      wait_for(lambda: opened(folder / 'run'), process)
      begin = time.monotonic()
      finish(process)
      done[name] = folder / 'run', time.monotonic() - begin
    return done[name]

  return get


def opened(workdir):
  return (workdir / '.lock').exists() or (workdir / 'teacher' / '.lock').exists()


def content(workdir):
  """Everything that equal runs share: bytes of files by name, rows of metrics, arrays of the last checkpoints."""
  found = {}
  for path in sorted(p for p in workdir.rglob('*') if p.is_file() and not p.name.endswith('.tmp')):
    name = path.relative_to(workdir)
    if not set(name.parts) & set(MEASURED):
      found[str(name)] = path.read_bytes()
    elif path.name == 'metrics.jsonl':
      found[str(name)] = metrics(path.parent)
  for folder in workdir.rglob('checkpoints'):
    for step in checkpoint.steps(folder.parent)[-1:]:
      state = checkpoint.ocp.load(folder / f'{step:08d}')
      found[f'{folder.relative_to(workdir)}/{step}'] = checkpoint.tree_hash(state)
  return found


def assert_same(workdir, expected):
  a, b = content(workdir), content(expected)
  assert a.keys() == b.keys()
  for name in a:
    assert a[name] == b[name], name


def assert_no_half_file(workdir):
  """Whatever has its own name is whole, at any moment; metrics.jsonl alone may end in half a line."""
  for path in (p for p in workdir.rglob('*') if p.is_file() and 'tensorboard' not in p.parts):
    with contextlib.suppress(FileNotFoundError):
      if path.name.endswith('.tmp'):
        continue
      if path.suffix == '.json':
        held = json.loads(path.read_text())
        if path.parent.name == 'checkpoints':
          for name, digest in held['sha256'].items():
            assert files.sha256(path.with_suffix('') / name) == digest, path
      elif path.suffix == '.png':
        Image.open(path).verify()
      elif path.suffix == '.array_record':
        assert len(pairs._read(path)) > 0, path


def goes_on(name, base, folder, status=0):
  """The same command again, which has nothing to complain of; stderr."""
  words = run(*command(name, base), cwd=folder, status=status)
  assert 'damaged' not in words and 'altered' not in words, words
  return words


@pytest.mark.parametrize('name', SHARES)
def test_kill(name, base, whole, tmp_path, tally, request):
  """kill -9 at random moments, until it was killed as often as asked; whenever it comes to its end, the end is the same."""
  expected, seconds = whole(name)
  kills = round(SHARES[name] * request.config.getoption('kills'))
  rng = np.random.default_rng(list(name.encode()))
  count, attempt, left = 0, 0, 0
  while count < kills:
    folder = tmp_path / str(attempt)
    folder.mkdir(exist_ok=True)
    process = start(*command(name, base), cwd=folder)
    wait_for(lambda folder=folder: opened(folder / 'run'), process)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(rng.uniform(0, seconds / 2))
    if process.poll() is None:
      process.kill()
      process.communicate()
      tally.happened('kill -9', name)
      count, left = count + 1, left + 1
      assert_no_half_file(folder / 'run')
    else:  # it was through before: from the start again
      finish(process)
      assert_same(folder / 'run', expected)
      tally.survived('kill -9', name, left)
      attempt, left = attempt + 1, 0
  if left:
    goes_on(name, base, folder)
    assert_same(folder / 'run', expected)
    tally.survived('kill -9', name, left)


def half_way(name, base, folder, lines=30):
  """Starts the command and waits until it is in the middle of its work."""
  process = start(*command(name, base), cwd=folder)
  if name in ('make_pairs', 'reproduce'):
    shards = folder / 'run' / ('pairs' if name == 'reproduce' else '')
    wait_for(lambda: list(shards.glob('pairs-*')), process)
  else:
    wait_for(lambda: len(metrics(folder / 'run')) >= lines, process)
  return process


@pytest.mark.parametrize('name', SHARES)
def test_sigterm(name, base, whole, tmp_path, tally):
  """Saves and exits within 10 s with the status of unfinished work, says what to do, and repeats no step afterwards."""
  process = half_way(name, base, tmp_path)
  tally.happened('SIGTERM', name)
  assert stop(process) < 10
  assert 'Run the same command again to go on.' in finish(process, TRY_AGAIN)
  step = checkpoint.latest(tmp_path / 'run')
  words = goes_on(name, base, tmp_path)
  assert step is None or f'going on from step {step} ' in words
  assert_same(tmp_path / 'run', whole(name)[0])
  tally.survived('SIGTERM', name)


def limited(size):
  """What stands before a command none of whose files may become larger: for the writer the disk is full."""
  return ['bash', '-c', f'ulimit -f {size // 1024} && exec "$@"', 'bash']


@pytest.mark.parametrize('name,size,words', [
    ('train_teacher', 50_000, r'The checkpoint of step \d+ could not be written to .* \(File too large\): free space'),
    ('train_teacher', 3000, r'Cannot write .*metrics.jsonl .*\(File too large\): free space'),
    ('make_pairs', 20_000, r'Cannot write .*pairs-0000\d.array_record \(.*\): free space'),
])
def test_full_disk(name, size, words, base, whole, tmp_path, tally):
  """One clear sentence, the last good checkpoint as it was, and on with the run when there is space again."""
  process = half_way(name, base, tmp_path)
  process.kill()
  process.communicate()
  kept = checkpoint.latest(tmp_path / 'run')
  tally.happened('disk full', name)
  told = run(*command(name, base), cwd=tmp_path, status=1, before=limited(size))
  last = told.strip().splitlines()[-1]
  assert last.startswith('error: ') and re.search(words, last), told
  assert checkpoint.latest(tmp_path / 'run') == kept
  assert_no_half_file(tmp_path / 'run')
  goes_on(name, base, tmp_path)
  assert_same(tmp_path / 'run', whole(name)[0])
  tally.survived('disk full', name)


def truncate(path, rng):
  path.write_bytes(path.read_bytes()[:rng.integers(path.stat().st_size)])


def flip(path, rng):
  data = bytearray(path.read_bytes())
  data[rng.integers(len(data))] ^= 1 << rng.integers(8)
  path.write_bytes(data)


DAMAGE = {'file cut off': truncate, 'bit flipped': flip, 'file removed': lambda path, rng: path.unlink()}


@pytest.mark.parametrize('event', DAMAGE)
def test_damaged_checkpoint(event, base, whole, tmp_path, tally):
  """Of each file of the last checkpoint in turn: noticed, told, and the one before is taken; the end is the same."""
  process = half_way('train_teacher', base, tmp_path)
  process.kill()
  process.communicate()
  rng = np.random.default_rng(0)
  before, last = checkpoint.steps(tmp_path / 'run')[-2:]
  folder = tmp_path / 'run' / 'checkpoints' / f'{last:08d}'
  for path in [p for p in sorted(folder.rglob('*')) if p.is_file() and p.stat().st_size]:
    data = path.read_bytes()
    DAMAGE[event](path, rng)
    tally.happened(f'{event} in a checkpoint', 'the look for the last checkpoint')
    assert checkpoint.latest(tmp_path / 'run') == before, path
    tally.survived(f'{event} in a checkpoint', 'the look for the last checkpoint')
    path.write_bytes(data)
  assert checkpoint.latest(tmp_path / 'run') == last
  DAMAGE[event](max((p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size), rng)
  tally.happened(f'{event} in a checkpoint', 'train_teacher')
  words = run(*command('train_teacher', base), cwd=tmp_path)
  assert re.search(f'The checkpoint of step {last} in .* is damaged .*: going back to the one before', words), words
  assert f'going on from step {before} ' in words
  assert_same(tmp_path / 'run', whole('train_teacher')[0])
  tally.survived(f'{event} in a checkpoint', 'train_teacher')


@pytest.mark.parametrize('event', DAMAGE)
def test_damaged_pairs(event, base, whole, tmp_path, tally):
  """Training refuses the store and names the shard; make_pairs makes that one again."""
  shutil.copytree(whole('make_pairs')[0], tmp_path / 'run')
  DAMAGE[event](pairs.shard_path(tmp_path / 'run', 3), np.random.default_rng(1))
  tally.happened(f'{event} in pairs', 'distill, make_pairs')
  told = run(*command('distill', base)[:-2], f'--pairs={tmp_path}/run', f'--workdir={tmp_path}/student', status=1)
  assert 'pairs-00003.array_record is missing or altered: run launch.make_pairs again' in told
  run(*command('make_pairs', base), cwd=tmp_path)
  assert_same(tmp_path / 'run', whole('make_pairs')[0])
  tally.survived(f'{event} in pairs', 'distill, make_pairs')


def test_second_run(base, whole, tmp_path, tally):
  """Refused while the first one goes on, which it does not disturb."""
  process = half_way('train_teacher', base, tmp_path, lines=5)
  tally.happened('second run in the same workdir', 'train_teacher')
  told = run(*command('train_teacher', base), cwd=tmp_path, status=1)
  assert process.poll() is None and told.startswith('error: Another process is running in run: wait for it')
  finish(process)
  assert_same(tmp_path / 'run', whole('train_teacher')[0])
  tally.survived('second run in the same workdir', 'train_teacher')


def read_only(folder):
  """What stands before a command for which the folder is read-only; the superuser may write where permissions forbid it."""
  if os.geteuid() != 0:
    folder.chmod(0o555)
    return []
  mount = f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && '
  if subprocess.run(['unshare', '--mount', 'sh', '-c', mount + 'true'], capture_output=True, check=False).returncode:
    pytest.skip('needs another user than root, or mounts')
  return ['unshare', '--mount', 'sh', '-c', mount + 'exec "$@"', 'sh']


def test_read_only_workdir(base, tmp_path, tally):
  """One sentence, for a new run and for one that was begun."""
  for name in ('new', 'begun'):
    (tmp_path / name / 'run').mkdir(parents=True)
  shutil.copytree(base / 'teacher', tmp_path / 'begun' / 'run', dirs_exist_ok=True)
  for name in ('new', 'begun'):
    tally.happened('read-only workdir', 'train_teacher')
    folder = tmp_path / name
    told = run(*command('train_teacher', base), cwd=folder, before=read_only(folder / 'run'), status=1)
    assert re.search(r'error: The workdir run cannot be written \(.*\): choose another --workdir', told), told
    tally.survived('read-only workdir', 'train_teacher')
    (folder / 'run').chmod(0o755)


@pytest.mark.parametrize('event', ['pairs removed', 'pairs emptied'])
def test_vanishing_data(event, base, whole, tmp_path, tally):
  """While a student trains on them. Files that are open stay readable; if not, the state is saved and the sentence says so."""
  shutil.copytree(base, tmp_path / 'base')
  process = half_way('distill', tmp_path / 'base', tmp_path)
  tally.happened(f'{event} in the middle', 'distill')
  if event == 'pairs removed':
    shutil.rmtree(tmp_path / 'base' / 'pairs')
    told = finish(process, None)
  else:
    for path in (tmp_path / 'base' / 'pairs').glob('pairs-*'):
      os.truncate(path, 0)
    told = finish(process, 1)
  if process.returncode:
    step = int(re.search(r'error: The training data of step (\d+) cannot be read \(.*\): put them back', told)[1])
    assert checkpoint.latest(tmp_path / 'run') == step
    shutil.copytree(base, tmp_path / 'base', dirs_exist_ok=True)
    assert f'going on from step {step} ' in goes_on('distill', tmp_path / 'base', tmp_path)
  assert_same(tmp_path / 'run', whole('distill')[0])
  tally.survived(f'{event} in the middle', 'distill')


def test_loss_that_is_not_finite(base, tmp_path, tally):
  """Stops, keeps the last good state, and prints the command that runs the step again and names the operation."""
  flags = [CONFIG, '--config.teacher.name=constructors:fragile_teacher', f'--workdir={tmp_path}/run']
  tally.happened('loss not finite', 'train_teacher')
  told = run('train_teacher', *flags, status=1)
  step = int(re.search(r'error: The loss is not finite at step (\d+) .*the last good state is saved', told)[1])
  assert checkpoint.latest(tmp_path / 'run') == step > 0
  state = checkpoint.ocp.load(tmp_path / 'run' / 'checkpoints' / f'{step:08d}')
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state)) and state['step'] == step
  replay = re.search(r'^To run that step again and see where it happens: (JAX_DEBUG_\w+=True) python (.*)$', told, re.M)
  again = subprocess.run(f'{replay[1]} {shlex.quote(sys.executable)} {replay[2]}', shell=True, env=environment(),
                         cwd=pathlib.Path(__file__).parent.parent, capture_output=True, text=True, timeout=LIMIT, check=False)
  assert again.returncode != 0 and f'going on from step {step} ' in again.stderr
  assert re.search('FloatingPointError: .*(nan|inf)', again.stderr), again.stderr
  assert 'jnp.sqrt(16 - ' in again.stderr, 'the traceback does not show the operation'
  assert checkpoint.latest(tmp_path / 'run') == step
  tally.survived('loss not finite', 'train_teacher')
