"""Models to pass on: a folder of a few files that is used like the workdir of a run, in which nothing trains.

    config.json, space.json      as in the workdir
    weights.safetensors          the averaged parameters, float32, keys joined by '/'
    card.md                      what the model is, for people
    manifest.json                the step, the hash of the parameters, and the sha256 of the other files
"""
import os
import pathlib
import shutil
import tempfile
from typing import Any, Iterable, Mapping
import zipfile

import jax
import numpy as np
import safetensors
import safetensors.numpy

from inverse_matching.errors import InputError
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint
from inverse_matching.training.checkpoint import named

MANIFEST, WEIGHTS = 'manifest.json', 'weights.safetensors'


def is_model(folder: str | os.PathLike) -> bool:
  """Whether the folder is one that `write` made."""
  return (pathlib.Path(folder) / WEIGHTS).exists()


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
    raise InputError(f'{folder} is there already: name another folder, or remove it.')
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
      for name, content in others.items():
        (scratch / name).write_bytes(content)
      weights = safetensors.numpy.save({name: np.asarray(leaf) for name, leaf in named(params).items()})
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


def require_run(folder: str | os.PathLike) -> None:
  """Raises InputError if the folder, whose checkpoints or metrics are to be read, is a model, which has none."""
  if is_model(folder):
    raise InputError(f'{folder} is a model, and this needs the checkpoints and metrics of a training: train it anew, in '
                     'another --workdir.')


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
  return fit(stored, structure, folder), manifest['step']


def fit(stored: Mapping[str, np.ndarray], structure: Any, where: str | os.PathLike) -> Any:
  """Returns arrays by name, of `where`, as parameters of that structure, float32; InputError if they do not fit it."""
  wanted = named(structure)
  missing, unknown = wanted.keys() - stored.keys(), stored.keys() - wanted.keys()
  if missing or unknown:
    what = f'lack {_some(missing)}' if missing else f'hold {_some(unknown)} beside those of the network'
    raise InputError(f'The weights in {where} {what}: the network of the config has {_some(wanted)}.')
  for name, leaf in wanted.items():
    if stored[name].shape != leaf.shape:
      raise InputError(f'{name} of the weights in {where} has shape {list(stored[name].shape)}, and that of the network of '
                       f'the config {list(leaf.shape)}: set the fields of the config to what the weights were trained with.')
  for name in wanted:
    if not np.isfinite(np.asarray(stored[name], np.float32)).all():
      raise InputError(f'{name} of the weights in {where} holds numbers that are not finite: write them anew.')
  leaves = [jax.numpy.asarray(np.asarray(stored[name], np.float32)) for name in wanted]
  return jax.tree.unflatten(jax.tree.structure(structure), leaves)


def _some(names: Iterable[str], most: int = 6) -> str:
  names = sorted(names)
  return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz or .safetensors file by name; InputError if it cannot be read."""
  try:
    if pathlib.Path(path).suffix == '.safetensors':
      return safetensors.numpy.load_file(path)
    loaded = np.load(path, allow_pickle=False)
    return {name: loaded[name] for name in loaded.files}
  except (OSError, ValueError, AttributeError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
    raise InputError(f'{path} cannot be read as weights ({str(error).partition(chr(10))[0]}): write them by numpy.savez or '
                     'safetensors, each array by its name.') from error
