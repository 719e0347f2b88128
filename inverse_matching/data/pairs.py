"""A store of pairs (z, x = T^-1(z)) on disk: array_record shards, and a manifest that is written last.

A record is one pair: a msgpack dict of arrays without the axis of examples, 'z' and 'x' [*event], and 'cond', nested dicts of
arrays, where the teacher has one.
"""
import errno
import functools
import os
import pathlib
import resource
from typing import Any, Mapping

from array_record.python import array_record_module
from flax import serialization
import grain
import jax
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import files

MANIFEST = 'manifest.json'
# A group is what is decompressed at once, so records read alone are groups of one. Noise does not compress: it cost twice
# the time for a fifteenth of the space.
OPTIONS = 'group_size:1,uncompressed'


def shard_path(folder: str | os.PathLike, index: int) -> pathlib.Path:
  """Returns the path of a shard."""
  return pathlib.Path(folder) / f'pairs-{index:05d}.array_record'


def write_shard(folder: str | os.PathLike, index: int, arrays: Mapping[str, Any]) -> None:
  """Writes a shard, whole or not at all.

  Args:
    folder: of the store.
    index: of the shard.
    arrays: 'z' and 'x' [n, *event], and 'cond', nested dicts of arrays with leading [n], if there is one. Lists of n arrays
      may stand in their place, where events differ in length.

  Raises:
    InputError: values are not finite, or it cannot be written, or does not read back.
  """
  lost = sum(not all(np.all(np.isfinite(arrays[name][i])) for name in ('x', 'z')) for i in range(len(arrays['z'])))
  if lost:
    raise InputError(f'{lost} of {len(arrays["z"])} pairs of shard {index} have values that are not finite: this teacher runs '
                     'away from some z, and no student can learn that. Train it longer or otherwise; the shard is not written.')
  path = shard_path(folder, index)
  encode = lambda i: serialization.msgpack_serialize(
      jax.tree.map(lambda a: a[i], dict(arrays), is_leaf=lambda a: isinstance(a, list)))
  records = [encode(i) for i in range(len(arrays['z']))]
  with files.whole(path) as temporary:
    try:
      writer = array_record_module.ArrayRecordWriter(str(temporary), OPTIONS)
      for record in records:
        writer.write(record)
      writer.close()
    except RuntimeError as error:  # what the C++ library raises
      raise OSError(errno.EIO, str(error).partition(';')[0]) from error
    if _read(temporary) != records:
      raise OSError(errno.EIO, 'it does not read back as it was written')


def missing(folder: str | os.PathLike, counts: Mapping[int, int]) -> list[int]:
  """Returns the shards that are yet to be made.

  A shard that is not as the manifest has it, or that without a manifest does not read back whole, is removed. The manifest
  goes with it, so that a store in repair is not taken for a finished one.

  Args:
    folder: of the store.
    counts: index -> number of pairs, of the shards to look at.
  """
  try:
    hashes = manifest(folder)['sha256']
  except InputError:
    hashes = None
  found = []
  for index, count in counts.items():
    path = shard_path(folder, index)
    if not (len(_read(path)) == count if hashes is None else _matches(path, hashes.get(path.name))):
      for rest in (path, *path.parent.glob(f'.{path.name}.*.tmp')):  # and what a killed process was writing
        rest.unlink(missing_ok=True)
      found.append(index)
  if found or hashes is None:
    (pathlib.Path(folder) / MANIFEST).unlink(missing_ok=True)
  return found


def finish(folder: str | os.PathLike, num_shards: int, facts: Mapping[str, Any]) -> None:
  """Writes the manifest: facts about the pairs, and the sha256 of each shard."""
  hashes = {shard_path(folder, i).name: files.sha256(shard_path(folder, i)) for i in range(num_shards)}
  files.write_json(pathlib.Path(folder) / MANIFEST, {**facts, 'sha256': hashes})


def is_finished(folder: str | os.PathLike) -> bool:
  """Returns whether the store has its manifest."""
  return (pathlib.Path(folder) / MANIFEST).exists()


def dataset(folder: str | os.PathLike, teacher_hash: str) -> grain.MapDataset:
  """Returns the pairs by index, read from disk when asked for: dicts of arrays, 'z' and 'x' [*event] and perhaps 'cond'.

  Args:
    folder: made by make_pairs.
    teacher_hash: of the teacher that the pairs must come from.

  Raises:
    InputError: not finished, made by another teacher or an earlier version, or a shard that is missing or altered.
  """
  folder = pathlib.Path(folder)
  about = manifest(folder)
  if about['teacher'] != teacher_hash:
    raise InputError(f'The pairs in {folder} were made by another teacher ({about["teacher"][:12]}, not '
                     f'{teacher_hash[:12]}): make new ones with launch.make_pairs, or give their --teacher.')
  hashes = about['sha256']
  limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
  if len(hashes) > limit - 100:  # each shard stays open; some are for the rest of the program
    raise InputError(f'The pairs in {folder} are {len(hashes)} files, and a process may open {limit} here: allow more with '
                     f'ulimit -n {len(hashes) + 1000}.')
  for name, digest in hashes.items():
    if not _matches(folder / name, digest):
      raise InputError(f'The shard {folder / name} is missing or altered: run launch.make_pairs again with the flags that made '
                       'it; it makes only what is missing.')
  source = grain.sources.ArrayRecordDataSource([str(folder / name) for name in hashes])
  return grain.MapDataset.source(source).map(serialization.msgpack_restore)


def load(folder: str | os.PathLike, teacher_hash: str) -> dict[str, Any]:
  """Returns all pairs in memory: 'z' and 'x' [N, *event] and perhaps 'cond'; see `dataset`."""
  stored = dataset(folder, teacher_hash)
  return stored.batch(len(stored))[0]


def manifest(folder: str | os.PathLike) -> dict[str, Any]:
  """The manifest of finished pairs: the facts given to `finish`, and the sha256 of each shard; InputError if there is none."""
  path = pathlib.Path(folder) / MANIFEST
  if not path.exists():
    raise InputError(f'{folder} holds no finished pairs: run launch.make_pairs to its end, and give its workdir as --pairs.')
  try:
    about = files.read_json(path)
    names = [*about['sha256']]
    whole = bool(names) and isinstance(about['teacher'], str) and isinstance(about['sha256'], dict)
  except (InputError, KeyError, TypeError):
    whole = False
  if not whole:
    raise InputError(f'{path} is damaged: run launch.make_pairs again with the flags that made it; pairs that are there are '
                     'kept.')
  return about


def _matches(path: pathlib.Path, digest: str | None) -> bool:
  if not path.is_file():
    return False
  stat = path.stat()
  return _digest(path, stat.st_mtime_ns, stat.st_size) == digest


@functools.lru_cache(maxsize=None)  # a study asks for the same shards with every student
def _digest(path: pathlib.Path, changed: int, size: int) -> str:
  del changed, size
  return files.sha256(path)


def _read(path: pathlib.Path) -> list[bytes]:
  """Returns every record of a shard; none of one that is missing, cut off or altered, which the checksums in it tell."""
  try:
    reader = array_record_module.ArrayRecordReader(str(path))
    records = reader.read_all()
    reader.close()
    return records
  except RuntimeError:
    return []
