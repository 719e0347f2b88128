"""The store of pairs: whole shards or none, read by index, and nothing altered goes unseen."""
import json
import os
import resource

from flax import serialization
import grain
import jax
import numpy as np
import pytest

from inverse_matching.data import pairs, table
from inverse_matching.data.images import dataset as images
from inverse_matching.data.stream import Stream
from inverse_matching.errors import InputError
from inverse_matching.runtime import files

FACTS = {'kind': 'pairs', 'teacher': 'a' * 64, 'num': 50}
COUNTS = {0: 20, 1: 20, 2: 10}
X = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
EVERYTHING = {'x': X, 'z': 2 * X, 'cond': {'speaker': np.arange(50), 'frames': {'f0': X[:, 0] - 1}}}


def write(folder, index):
  start = 20 * index
  part = jax.tree.map(lambda a: a[start:start + COUNTS[index]], EVERYTHING)
  pairs.write_shard(folder, index, part)


@pytest.fixture
def unfinished(tmp_path):
  """Three shards of pairs, z = 2 x, with a condition; no manifest."""
  for i in COUNTS:
    write(tmp_path, i)
  return tmp_path


@pytest.fixture
def store(unfinished):
  """The same, finished."""
  pairs.finish(unfinished, 3, FACTS)
  return unfinished


def test_pairs_that_are_not_finite_are_not_stored(tmp_path):
  """How many of how many; no file."""
  x = X[:20].copy()
  x[[3, 7], 0] = np.inf, np.nan
  with pytest.raises(InputError, match='2 of 20 pairs of shard 4 have values that are not finite'):
    pairs.write_shard(tmp_path, 4, {'z': X[:20], 'x': x})
  assert not list(tmp_path.iterdir())


def shards(folder):
  return {i: pairs.shard_path(folder, i).read_bytes() for i in COUNTS}


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)
  assert jax.tree.map(lambda leaf: leaf.dtype, a) == jax.tree.map(lambda leaf: leaf.dtype, b)


def test_load_in_order(store):
  """All shards, each field bit for bit, the condition with its structure."""
  assert_equal(pairs.load(store, FACTS['teacher']), EVERYTHING)


def test_pairs_by_index(store):
  """Any pair and any part of them, also by nothing but grain and msgpack."""
  stored = pairs.dataset(store, FACTS['teacher'])
  assert len(stored) == 50 and len(stored[7:]) == 43
  source = grain.sources.ArrayRecordDataSource([str(pairs.shard_path(store, i)) for i in COUNTS])
  for i in (0, 19, 20, 39, 40, 49):
    expected = jax.tree.map(lambda a, i=i: a[i], EVERYTHING)
    for example in (stored[i], stored[i // 2:][i - i // 2], serialization.msgpack_restore(source[i])):
      assert_equal(example, expected)


def test_stream_from_disk_is_the_stream_from_memory(store):
  """The same batches in the same order, over several epochs and in any order of asking."""
  stored = pairs.dataset(store, FACTS['teacher'])[3:]
  disk, memory = (Stream(examples, 8, 5) for examples in (stored, {'x': X[3:], 'z': 2 * X[3:]}))
  assert disk.steps_per_epoch == memory.steps_per_epoch == 6
  for step in (17, *range(17)):
    batch = disk[step]
    assert_equal({name: batch[name] for name in ('x', 'z', 'position')}, memory[step])
    np.testing.assert_array_equal(batch['cond']['frames']['f0'], batch['x'][:, 0] - 1)


def test_shards_have_the_same_bytes(unfinished, tmp_path_factory):
  """Written again, elsewhere: which is what lets a hash tell whether a store was made to its end without a change."""
  other = tmp_path_factory.mktemp('other')
  for i in COUNTS:
    write(other, i)
  assert shards(other) == shards(unfinished)
  assert sorted(os.listdir(other)) == [pairs.shard_path(other, i).name for i in COUNTS]


def damage(folder, how):
  """Does it to shard 1."""
  path, other = pairs.shard_path(folder, 1), pairs.shard_path(folder, 0)
  data = path.read_bytes()
  if how == 'flip':
    at = data.index(np.ascontiguousarray(X[25]).tobytes())
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
  elif how == 'cut':
    path.write_bytes(data[:-1])
  elif how == 'empty':
    path.write_bytes(b'')
  elif how == 'remove':
    path.unlink()
  else:
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize('how', ['flip', 'cut', 'empty', 'remove', 'swap'])
def test_altered_shards_are_refused_and_mended(store, how):
  """The sentence names the shard; that one alone is to be made again, and until then the store is not finished."""
  before, manifest = shards(store), (store / pairs.MANIFEST).read_bytes()
  assert pairs.missing(store, COUNTS) == [] and pairs.is_finished(store)
  damage(store, how)
  for read in (pairs.dataset, pairs.load):
    with pytest.raises(InputError, match='pairs-00001.array_record is missing or altered: run launch.make_pairs again'):
      read(store, FACTS['teacher'])
  assert pairs.missing(store, COUNTS) == [1] and not pairs.shard_path(store, 1).exists()
  with pytest.raises(InputError, match='holds no finished pairs: run launch.make_pairs'):
    pairs.dataset(store, FACTS['teacher'])
  assert pairs.missing(store, COUNTS) == [1], 'not when asked again'
  write(store, 1)
  assert pairs.missing(store, COUNTS) == []
  pairs.finish(store, 3, FACTS)
  assert shards(store) == before and (store / pairs.MANIFEST).read_bytes() == manifest


@pytest.mark.parametrize('how', ['flip', 'cut', 'empty', 'remove'])
def test_an_unfinished_store_is_read_back(unfinished, how):
  """Without hashes the checksums in the shard tell; one with the wrong number of pairs is not kept either."""
  assert pairs.missing(unfinished, {**COUNTS, 2: 11}) == [2]
  damage(unfinished, how)
  left = unfinished / '.pairs-00001.array_record.123.tmp'  # of a killed process
  left.write_bytes(b'half')
  assert pairs.missing(unfinished, {0: 20, 1: 20}) == [1]
  assert os.listdir(unfinished) == ['pairs-00000.array_record'] and not left.exists()


@pytest.mark.parametrize('text', ['{"kind": "pairs", ', '[]', '{}', '{"teacher": "a", "sha256": "b"}',
                                  '{"teacher": "a", "sha256": {}}'])
def test_damaged_manifest(store, text):
  """One sentence, and calling make_pairs again keeps the shards and makes the manifest anew."""
  (store / pairs.MANIFEST).write_text(text)
  with pytest.raises(InputError, match='manifest.json is damaged: run launch.make_pairs again'):
    pairs.load(store, FACTS['teacher'])
  assert pairs.missing(store, COUNTS) == [] and not pairs.is_finished(store)


def test_other_stores_are_refused(store):
  """Of another teacher, with both hashes."""
  with pytest.raises(InputError, match='another teacher .aaaaaaaaaaaa, not bbbbbbbbbbbb'):
    pairs.dataset(store, 'b' * 64)


def test_more_shards_than_open_files(store, monkeypatch):
  """Told before training and not in the middle of it."""
  monkeypatch.setattr(resource, 'getrlimit', lambda kind: (102, 4096))
  with pytest.raises(InputError, match='are 3 files, and a process may open 102 here: allow more with ulimit -n'):
    pairs.dataset(store, FACTS['teacher'])


@pytest.mark.parametrize('limit', [0, 20000, 100000])
def test_full_disk(tmp_path, limit):
  """No byte, or a part of the shard, can be written: one sentence, and nothing stays."""
  previous = resource.getrlimit(resource.RLIMIT_FSIZE)
  many = {'z': np.zeros((200, 1000), np.float32), 'x': np.zeros((200, 1), np.float32)}
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, previous[1]))
    with pytest.raises(InputError, match='Cannot write .*pairs-00000.array_record .*File too large.: free space'):
      pairs.write_shard(tmp_path, 0, many)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, previous)
  assert os.listdir(tmp_path) == []


def test_a_writer_that_fails_silently(tmp_path, monkeypatch):
  """A record that gets lost without an error is noticed before the shard has its name."""
  true_writer = pairs.array_record_module.ArrayRecordWriter

  class Forgetful:
    def __init__(self, path, options):
      self._writer, self._count = true_writer(path, options), 0
      self.close = self._writer.close

    def write(self, record):
      self._count += 1
      if self._count != 5:
        self._writer.write(record)

  monkeypatch.setattr(pairs.array_record_module, 'ArrayRecordWriter', Forgetful)
  with pytest.raises(InputError, match='does not read back as it was written'):
    write(tmp_path, 0)
  assert os.listdir(tmp_path) == []


def test_the_manifest(store):
  """The facts, and the hash of each shard by its name."""
  manifest = json.loads((store / pairs.MANIFEST).read_text())
  assert {name: manifest[name] for name in FACTS} == FACTS
  assert manifest['sha256'] == {f'pairs-0000{i}.array_record': files.sha256(store / f'pairs-0000{i}.array_record')
                                for i in range(3)}


@pytest.mark.parametrize('space', [
    table.space(mean=[0.0], std=[1.0], epoch_size=8),
    images.space(event_shape=(1, 1, 1), levels=2, logit_lambda=None, epoch_size=8)], ids=['table', 'images'])
def test_pairs_that_are_held_out_are_not_trained_on(space):
  """Of 64 pairs 4 are held out, the first, and the others are to train on: together each pair once."""
  z = np.arange(64, dtype=np.float32)
  train, held_out = space.of_pairs(grain.MapDataset.range(64).map(lambda i: {'z': z[i], 'x': 2 * z[i]}))
  trained = [float(train[i]['z']) for i in range(len(train))]
  assert held_out['z'].tolist() == z[:4].tolist() and held_out['x'].tolist() == (2 * z[:4]).tolist()
  assert trained == z[4:].tolist()
