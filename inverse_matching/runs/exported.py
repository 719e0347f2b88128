"""Models to pass on: a folder of a few files that is used like the workdir of a run, and never written into.

    config.json, space.json      as in the workdir
    weights.safetensors          the averaged parameters, float32, keys joined by '/'
    card.md                      what the model is, for people
    manifest.json                the step, the hash of the parameters, and the sha256 of the other files
"""
import os
import pathlib
import shutil
import tempfile
from typing import Any, Mapping

import jax
import numpy as np
import safetensors
import safetensors.numpy

from inverse_matching.errors import InputError
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint

MANIFEST, WEIGHTS = 'manifest.json', 'weights.safetensors'


def is_model(folder: str | os.PathLike) -> bool:
  """Whether the folder is one that `write` made."""
  return (pathlib.Path(folder) / WEIGHTS).exists()


def _named(tree: Any) -> dict[str, Any]:
  return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def write(folder: str | os.PathLike, params: Any, *, step: int, others: Mapping[str, bytes]) -> None:
  """Writes a model, whole or not at all.

  Args:
    folder: a new one.
    params: a pytree of arrays.
    step: updates that made them.
    others: name -> content of the other files.

  Raises:
    InputError: the folder is there already, or it cannot be written.
  """
  folder = pathlib.Path(folder)
  if folder.exists():
    raise InputError(f'{folder} is there already: give another --output, or remove it.')
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
      for name, content in others.items():
        (scratch / name).write_bytes(content)
      weights = safetensors.numpy.save({name: np.asarray(leaf) for name, leaf in _named(params).items()})
      (scratch / WEIGHTS).write_bytes(weights)
      digests = {path.name: files.sha256(path) for path in sorted(scratch.iterdir())}
      files.write_json(scratch / MANIFEST, {'step': step, 'hash': checkpoint.tree_hash(params), 'sha256': digests})
      scratch.chmod(0o755)
      scratch.rename(folder)
    finally:
      shutil.rmtree(scratch, ignore_errors=True)
  except OSError as error:
    raise InputError(f'Cannot write {folder} ({error.strerror}): free space or name a folder that can be written.') from error


def refuse(*folders: str | os.PathLike) -> None:
  """Raises InputError if one of these folders, which are to be written into, is a model."""
  for folder in filter(is_model, folders):
    raise InputError(f'{folder} is a model, which nothing is written into: name another folder by --output.')


def step(folder: str | os.PathLike) -> int:
  """The updates that made a model."""
  return files.read_json(pathlib.Path(folder) / MANIFEST)['step']


def read(folder: str | os.PathLike, structure: Any) -> tuple[Any, int]:
  """Returns the parameters of a model, and the updates that made them.

  Args:
    folder: of the model.
    structure: of the parameters (arrays or ShapeDtypeStructs).

  Raises:
    InputError: a file is missing or altered, or the parameters are those of another network.
  """
  folder = pathlib.Path(folder)
  manifest = files.read_json(folder / MANIFEST)
  for name, digest in manifest['sha256'].items():
    if not (folder / name).exists() or files.sha256(folder / name) != digest:
      raise InputError(f'{folder / name} is missing or altered: take the model anew from where it came.')
  try:
    stored = safetensors.numpy.load_file(folder / WEIGHTS)
  except safetensors.SafetensorError as error:
    raise InputError(f'{folder / WEIGHTS} cannot be read ({error}): take the model anew from where it came.') from error
  wanted = _named(structure)
  if {name: leaf.shape for name, leaf in stored.items()} != {name: leaf.shape for name, leaf in wanted.items()}:
    raise InputError(f'The weights in {folder} do not fit the network of its config: their names or shapes are others.')
  params = jax.tree.unflatten(jax.tree.structure(structure), [jax.numpy.asarray(stored[name]) for name in wanted])
  return params, manifest['step']
