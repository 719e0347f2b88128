"""Pairs of a teacher without a network: what they are, and how they are made."""
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from small_run import EVENT, RUN, make_pairs, make_run

from inverse_matching import runs
from inverse_matching.data import pairs
from inverse_matching.errors import InputError
from inverse_matching.runs import pairs as pair_runs
from inverse_matching.runtime import devices


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
  """Shards and chunks that a few pairs fill."""
  monkeypatch.setattr(pair_runs, 'SHARD', 16)
  monkeypatch.setattr(devices, 'DEFAULT_CHUNK', 4)


def encode(x):
  return np.asarray(jax.jit(RUN.teacher.x_to_z)(RUN.params, x)[0])


@pytest.mark.parametrize('settings', [{}, {'solver': 'ancestral'}, {'pairs_from': 'sample'}])
def test_pairs_are_pairs(tmp_path, settings):
  """z = T(x) for every pair, however it was made; z is the stream of the seed."""
  loaded = pairs.load(make_pairs(tmp_path, **settings), RUN.hash)
  assert loaded['x'].shape == loaded['z'].shape == (40, *EVENT)
  np.testing.assert_allclose(encode(loaded['x']), loaded['z'], atol=1e-3)
  np.testing.assert_allclose(loaded['z'], runs.prior_draws(RUN.teacher, 1, np.arange(40)), atol=1e-3)
  assert len(np.unique(loaded['z'])) == loaded['z'].size


@pytest.mark.parametrize('num,times', [(20, {0, 1}), (24, {1}), (40, {1, 2}), (48, {2})])
def test_pairs_from_data_are_encodings_of_it(tmp_path, num, times):
  """z = T(x); images follow each other, each as often as the others, up to one, with a dequantisation of its own every time."""
  stored = pairs.load(make_pairs(tmp_path, pairs_from='data', num=num), RUN.hash)
  x, z = stored['x'], stored['z']
  np.testing.assert_allclose(encode(x), z, atol=1e-5)
  which = np.sort(np.arange(max(num, 24)) * 24 // max(num, 24))[:num]
  np.testing.assert_array_equal(RUN.space.codec.to_data(x), RUN.source.train['pixels'][which])
  assert set(np.bincount(which, minlength=24)) == times
  assert len(np.unique(x)) == x.size


def test_pairs_do_not_depend_on_the_devices(tmp_path):
  """Bit for bit."""
  one, eight = (pairs.load(make_pairs(tmp_path / str(n), devices=n), RUN.hash) for n in (1, 8))
  for name in ('x', 'z'):
    np.testing.assert_array_equal(one[name], eight[name])


def test_make_pairs_makes_only_what_is_missing(tmp_path, monkeypatch):
  """A stopped run keeps its shards; a removed one is made again to the same bits; a finished one is left alone."""
  make_pairs(tmp_path)
  before = pairs.load(tmp_path, RUN.hash)
  times = {i: pairs.shard_path(tmp_path, i).stat().st_mtime_ns for i in range(3)}
  (tmp_path / pairs.MANIFEST).unlink()
  pairs.shard_path(tmp_path, 1).unlink()
  asked, draws = [], runs.prior_draws
  monkeypatch.setattr(pair_runs, 'prior_draws', lambda teacher, seed, p: asked.append(p) or draws(teacher, seed, p))
  make_pairs(tmp_path)
  np.testing.assert_array_equal(asked, [np.arange(16, 32)])
  after = {i: pairs.shard_path(tmp_path, i).stat().st_mtime_ns for i in range(3)}
  assert after[0] == times[0] and after[2] == times[2] and after[1] != times[1]
  again = pairs.load(tmp_path, RUN.hash)
  for name in ('x', 'z'):
    np.testing.assert_array_equal(again[name], before[name])
  make_pairs(tmp_path)
  assert len(asked) == 1


def content(workdir):
  return {p.name: p.read_bytes() for p in workdir.iterdir() if p.name.startswith(('pairs-', '.pairs-', 'manifest'))}


def test_make_pairs_mends_a_finished_store(tmp_path):
  """A shard cut off and one altered: called again, the store has the bits it had."""
  before = content(make_pairs(tmp_path))
  with open(pairs.shard_path(tmp_path, 0), 'r+b') as file:
    file.truncate(1000)
  pairs.shard_path(tmp_path, 2).write_bytes(before['pairs-00001.array_record'])
  with pytest.raises(InputError, match='pairs-00000.array_record is missing or altered: run launch.make_pairs again'):
    pairs.load(tmp_path, RUN.hash)
  assert content(make_pairs(tmp_path)) == before


KILLED = """
import os, signal, sys
import small_run
from inverse_matching.runs import pairs
from inverse_matching.runtime import devices
pairs.SHARD, devices.DEFAULT_CHUNK = 16, 4
true_fsync, calls = os.fsync, []
def fsync(descriptor):
  calls.append(descriptor)
  if len(calls) == 3:
    os.kill(os.getpid(), signal.SIGKILL)
  true_fsync(descriptor)
os.fsync = fsync
pairs.make_pairs(small_run.RUN, sys.argv[1], num=40, seed=1)
"""


@pytest.mark.slow
def test_killed_make_pairs_goes_on(tmp_path):
  """kill -9 while the second shard has its temporary name, then again before the manifest: every byte as in one go."""
  here, killed = pathlib.Path(__file__).parent, tmp_path / 'killed'
  # The parameters of RUN have other bits when XLA optimises.
  environment = {**os.environ, 'PYTHONPATH': f'{here.parent.parent}:{here.parent}', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}
  for names in ([0], [0, 1, 2]):  # the first call makes config.json before it makes shards
    process = subprocess.run([sys.executable, '-c', KILLED, killed], cwd=here, env=environment, timeout=120, check=False,
                             capture_output=True, text=True)
    assert process.returncode == -9, process.stderr
    assert sorted(p.name for p in killed.glob('pairs-*')) == [pairs.shard_path(killed, i).name for i in names]
    assert len(list(killed.glob('.pairs-00001*'))) == (len(names) == 1)
    with pytest.raises(InputError, match='holds no finished pairs'):
      pairs.load(killed, RUN.hash)
  assert content(make_pairs(killed)) == content(make_pairs(tmp_path / 'whole'))


def test_processes_share_the_shards(tmp_path, monkeypatch):
  """Each makes every second shard; the first writes the manifest, once all are there and before any goes on."""
  met = []
  monkeypatch.setattr(pair_runs, 'barrier', lambda name: met.append(pairs.is_finished(tmp_path / 'two')))
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  for process, names in ((1, [1]), (0, [0, 1, 2])):
    monkeypatch.setattr(jax, 'process_index', lambda process=process: process)
    monkeypatch.setattr(pair_runs, 'is_first', lambda process=process: process == 0)
    make_pairs(tmp_path / 'two')
    assert sorted(p.name for p in (tmp_path / 'two').glob('pairs-*')) == [f'pairs-0000{i}.array_record' for i in names]
  assert met == [False, False, False, True]
  monkeypatch.setattr(jax, 'process_count', lambda: 1)
  assert content(tmp_path / 'two') == content(make_pairs(tmp_path / 'one'))


@pytest.mark.parametrize('change,field', [({'num': 41}, 'num'), ({'seed': 2}, 'seed'), ({'solver': 'ancestral'}, 'solver'),
                                          ({'run': make_run(1)}, 'teacher')])
def test_pairs_of_other_settings_are_not_mixed(tmp_path, change, field):
  """The field that differs is named."""
  make_pairs(tmp_path)
  with pytest.raises(InputError, match=f'holds a run of another config: {field} is'):
    make_pairs(tmp_path, **change)


def test_make_pairs_refuses():
  """Settings that make no sense, and a teacher without an inverse."""
  for settings, words in (({'pairs_from': 'x'}, "pairs_from is 'x'"), ({'num': 0}, 'num must be at least 1'),
                          ({'run': RUN._replace(teacher=RUN.teacher._replace(z_to_x=None))}, 'use --pairs_from=sample')):
    with pytest.raises(InputError, match=words):
      make_pairs('unused', **settings)
