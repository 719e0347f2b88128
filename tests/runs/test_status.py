"""How far runs are, from their folders."""
import json
import os
import time

import numpy as np
import pytest

from inverse_matching.data import pairs
from inverse_matching.errors import InputError
from inverse_matching.runs import exported, status
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runtime import files

CONFIG = {'kind': 'teacher', 'teacher': {'name': 'pixelcnn'}, 'train': {'num_epochs': 10, 'batch_size': 64}}
ROW = {'loss': 2.5, 'examples_per_second': 128.0, 'peak_host_bytes': 5e8}


def write_metrics(path, *steps):
  """Of 20 steps an epoch, and half a line at the end."""
  rows = [{'step': s, 'epoch': s / 20, 'wall_time': time.time() - 5, **ROW} for s in steps]
  rows.append({'step': steps[-1], 'held_out_loss': 3.25})
  (path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows) + '{"step": 1')


def save(path, step):
  files.write_json(path / 'checkpoints' / f'{step:08d}.json', {'step': step, 'sha256': {}})


def test_a_run_in_progress_and_after(tmp_path):
  """Steps, loss, last checkpoint, rate and time left; that it runs, was stopped, or is done."""
  with workdirs.open_run(tmp_path, CONFIG):
    assert status.describe(tmp_path).endswith(', running, no step logged, no checkpoint yet')
    write_metrics(tmp_path, 10, 50)
    save(tmp_path, 40)
    line = status.describe(tmp_path)
  for words in (f'{tmp_path}: teacher pixelcnn, running', 'step 50 of 200 (25%)', 'epoch 2.5 of 10', 'loss 2.5',
                'held-out loss 3.25', 'last checkpoint at step 40', '128 examples/s', '01:15 left', 'sign of life 00:05 ago',
                'memory 0.5 GB'):
    assert words in line
  assert status.describe(tmp_path) == line.replace('running', 'stopped')
  write_metrics(tmp_path, 10, 50, 200)
  save(tmp_path, 200)
  assert status.describe(tmp_path).startswith(f'{tmp_path}: teacher pixelcnn, done, step 200 of 200 (100%)')
  assert 'left' not in status.describe(tmp_path)


def test_pairs_and_stages(tmp_path):
  """A figure that is being made: its stage, and a line for each run in it; shards by when they were written."""
  folder = tmp_path / 'pairs'
  with workdirs.open_run(folder, {'kind': 'pairs', 'num': 4000, 'shard_size': 1000}):
    for i in range(3):
      pairs.shard_path(folder, i).write_bytes(b'')
      os.utime(pairs.shard_path(folder, i), (0, 100 + 10 * i))
    files.write_json(tmp_path / 'timing.json', {'stages': {}, 'now': {
        'stage': 'pairs to train on', 'number': 2, 'of': 9, 'since': time.time() - 61, 'seconds_left': 600.5}})
    first, second = status.describe(tmp_path).splitlines()
  assert first == 'stage 2 of 9, pairs to train on, since 01:01, about 08:59 left for all'
  assert second == 'pairs: pairs, running, 3 of 4 shards, 100 pairs/s, 00:10 left'
  files.write_json(folder / pairs.MANIFEST, {})
  assert status.describe(folder) == f'{folder}: pairs, done, 3 of 4 shards'


def test_models_and_students(tmp_path):
  """What a folder holds: a model has no steps to tell."""
  config = {'kind': 'student', 'student': {'name': 'flow'}, 'loss': {'name': 'reverse_kl'}, 'train': CONFIG['train']}
  with workdirs.open_run(tmp_path / 'run', config):
    pass
  exported.write(tmp_path / 'model', {'a': np.zeros(2, np.float32)}, step=7, others={'config.json': files.json_bytes(config)})
  assert status.describe(tmp_path / 'run').endswith('student flow by reverse_kl, stopped, no step logged, no checkpoint yet')
  assert status.describe(tmp_path / 'model').endswith('student flow by reverse_kl, a model of step 7')


def test_no_run(tmp_path):
  """One sentence."""
  with pytest.raises(InputError, match='There is no run in'):
    status.describe(tmp_path)
