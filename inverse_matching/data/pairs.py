"""A store of pairs (z, x = T^-1(z)) on disk: shards and a manifest that is written last."""
import os
import pathlib
from typing import Any, Mapping

import numpy as np

from inverse_matching import files
from inverse_matching.errors import InputError

MANIFEST = 'manifest.json'


def shard_path(folder: str | os.PathLike, index: int) -> pathlib.Path:
  """Path of a shard."""
  return pathlib.Path(folder) / f'pairs-{index:05d}.npz'


def finish(folder: str | os.PathLike, num_shards: int, facts: Mapping[str, Any]) -> None:
  """Writes the manifest: facts about the pairs, and the sha256 of each shard."""
  hashes = {shard_path(folder, i).name: files.sha256(shard_path(folder, i)) for i in range(num_shards)}
  files.write_json(pathlib.Path(folder) / MANIFEST, {**facts, 'sha256': hashes})


def is_finished(folder: str | os.PathLike) -> bool:
  """Whether the store has its manifest."""
  return (pathlib.Path(folder) / MANIFEST).exists()


def load(folder: str | os.PathLike, teacher_hash: str) -> dict[str, np.ndarray]:
  """All pairs: 'x' and 'z', each [N, *event] float32.

  Args:
    folder: made by make_pairs.
    teacher_hash: of the teacher that the pairs must come from.

  Raises:
    InputError: not finished, made by another teacher, or a shard that is missing or altered.
  """
  folder = pathlib.Path(folder)
  if not is_finished(folder):
    raise InputError(f'{folder} holds no finished pairs: run launch.make_pairs with --workdir={folder} to its end.')
  manifest = files.read_json(folder / MANIFEST)
  if manifest['teacher'] != teacher_hash:
    raise InputError(f'The pairs in {folder} were made by another teacher ({manifest["teacher"][:12]}, not '
                     f'{teacher_hash[:12]}): make new ones with launch.make_pairs, or give their --teacher.')
  parts = []
  for name, digest in manifest['sha256'].items():
    if not (folder / name).exists() or files.sha256(folder / name) != digest:
      raise InputError(f'The shard {folder / name} is missing or altered: remove {folder / MANIFEST} and that shard, and run '
                       'launch.make_pairs again; it makes only what is missing.')
    with np.load(folder / name, allow_pickle=False) as shard:
      parts.append({key: shard[key] for key in ('x', 'z')})
  return {key: np.concatenate([part[key] for part in parts]) for key in ('x', 'z')}
