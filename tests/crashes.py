"""Ends a process at every operation on the files of a folder, and lets the next one go on: for tests/test_crashes.py.

    CRASH_FOLDER=FOLDER LD_PRELOAD=SHIM python crashes.py SHIM JOB

prints a JSON object: how many operations JOB has, how often it was ended, and what went wrong. FOLDER is removed.
"""
import ctypes
import json
import os
import pathlib
import shutil
import sys
import traceback

import numpy as np

from inverse_matching import experiments, runs
from inverse_matching.data import pairs
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint

STATUS = 86  # of a process that the shim ended
STATES = {step: {'a': np.arange(6, dtype=np.float32) + step, 'b': {'c': np.full((3, 2), step, np.float32)}}
          for step in (1, 2)}
LEFT_OUT = ('.lock', 'timing.json')


def content(folder):
  """name -> bytes of what equal runs share."""
  return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*'))
          if path.is_file() and path.suffix != '.tmp' and path.name not in LEFT_OUT}


class Checkpoint:
  """A second checkpoint beside a first, which then goes."""

  def prepare(self, folder):
    checkpoint.save(folder, 1, STATES[1], keep=1)

  def act(self, folder):
    checkpoint.save(folder, 2, STATES[2], keep=1)

  def look(self, folder):
    """One of both is there, whole."""
    step = checkpoint.latest(folder)
    assert checkpoint.tree_hash(checkpoint.load(folder, step, STATES[1])) == checkpoint.tree_hash(STATES[step])

  def end(self, folder):
    assert checkpoint.steps(folder) == [2]
    self.look(folder)
    return sorted(path.name for path in (folder / 'checkpoints').iterdir())


class Pairs:
  """Pairs in three shards."""

  def prepare(self, folder):
    pass

  def act(self, folder):
    from small_run import RUN  # initialises JAX, after which a process must not be copied

    from inverse_matching.runs import pairs as pair_runs
    pair_runs.SHARD = 16
    runs.make_pairs(RUN, folder, num=40, seed=1)

  def look(self, folder):
    """What has the name of a shard is one; a manifest is there with all of them, or not at all."""
    for path in folder.glob('pairs-*'):
      assert path.suffix == '.tmp' or len(pairs._read(path)) > 0
    if pairs.is_finished(folder):
      assert len(list(folder.glob('pairs-*.array_record'))) == 3
    for name in ('config.json', pairs.MANIFEST):
      assert not (folder / name).exists() or files.read_json(folder / name)

  def end(self, folder):
    return content(folder)


class Figure:
  """A figure: numbers, picture, times."""

  def prepare(self, folder):
    pass

  def act(self, folder):
    from configs import gaussian
    experiments.reproduce('1', gaussian.get_config('smoke').to_dict(), str(folder), 'the command')

  def look(self, folder):
    """Every file is whole."""
    from PIL import Image
    for path in folder.rglob('*.json'):
      files.read_json(path)
    for path in folder.rglob('*.png'):
      Image.open(path).verify()

  def end(self, folder):
    return content(folder)


JOBS = {'saving a checkpoint': Checkpoint, 'writing pairs': Pairs, 'reproducing a figure': Figure}


def in_copy(function):
  """Calls it in a copy of this process: (exit status, what it returned or why it failed)."""
  read, write = os.pipe()
  pid = os.fork()
  if not pid:
    try:
      result = {'value': function()}
    except BaseException:
      result = {'error': traceback.format_exc()}
    os.write(write, repr(result).encode()[:60000])
    os._exit(0)
  os.close(write)
  with os.fdopen(read, 'rb') as pipe:
    result = pipe.read()
  return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), result


def main(shim, name):
  """See above."""
  shim, job, folder = ctypes.CDLL(shim), JOBS[name](), pathlib.Path(os.environ['CRASH_FOLDER'])

  def fresh():
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

  def ending_at(n, after):
    job.prepare(folder)
    shim.crash_at(n, after)
    job.act(folder)
    return shim.operations()

  def going_on():
    job.look(folder)
    job.act(folder)
    return job.end(folder)

  fresh()
  status, counted = in_copy(lambda: ending_at(-1, 0))
  assert status == 0 and b'value' in counted, counted.decode()
  count = eval(counted)['value']
  _, expected = in_copy(lambda: job.end(folder))
  assert b'value' in expected, expected.decode()
  ended, failures = 0, []
  for n in range(1, count + 1):
    for after in (0, 1):
      fresh()
      status, said = in_copy(lambda n=n, after=after: ending_at(n, after))
      if status != STATUS:  # threads may do one fewer this time
        if b'error' in said:
          failures.append(f'{n}, {after}: {said.decode()}')
        continue
      ended += 1
      status, found = in_copy(going_on)
      if status or found != expected:
        failures.append(f'{n}, {after}: {found.decode()[:2000]}')
  shutil.rmtree(folder)
  print(json.dumps({'operations': count, 'ended': ended, 'failures': failures}))


if __name__ == '__main__':
  main(*sys.argv[1:])
