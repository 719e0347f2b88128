"""Checkpoints: the only place that knows orbax.

`checkpoints/00001200/` is what orbax writes; `checkpoints/00001200.json`, written last, holds the sha256 of each file. A
checkpoint without that manifest was cut off, one that does not match it was altered: both are skipped with a warning.
"""
import errno
import hashlib
import os
import pathlib
import shutil
import tempfile
from typing import Any

from absl import logging
import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from inverse_matching.errors import InputError
from inverse_matching.runtime import files, processes

MARGIN = 2**14  # bytes of a checkpoint beside its arrays


def _folder(workdir: str | os.PathLike) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def steps(workdir: str | os.PathLike) -> list[int]:
  """Returns the steps with a complete checkpoint, in order; they are not verified here."""
  return sorted(int(path.stem) for path in _folder(workdir).glob('[0-9]*.json'))


def _remove(folder: pathlib.Path, name: str) -> None:
  (folder / f'{name}.json').unlink(missing_ok=True)  # first: a checkpoint half removed must not look complete
  shutil.rmtree(folder / name, ignore_errors=True)
  for cut_off in folder.glob(f'.{name}.json.*.tmp'):
    cut_off.unlink(missing_ok=True)


def _make_room(folder: pathlib.Path, name: str, size: int) -> None:
  """Makes the folder, takes away what was cut off there, and asks for room for a file of that many bytes.

  A write that fails within orbax ends well, but leaves other writes behind that print hundreds of lines.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    _remove(folder, name)
    if hasattr(os, 'posix_fallocate'):  # macOS has none
      with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)
  except OSError as error:
    if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):  # not every file system can say
      return
    raise _unwritten(folder, name, error) from error


def _unwritten(folder: pathlib.Path, name: str, error: Exception) -> InputError:
  # Orbax names every file on its way to the reason.
  reason = getattr(error, 'strerror', None) or str(error).partition(' [')[0].rpartition(': ')[2]
  return InputError(f'The checkpoint of step {int(name)} could not be written to {folder} ({reason}): free space or choose '
                    'another --workdir; earlier checkpoints are intact.')


def save(workdir: str | os.PathLike, step: int, state: Any, *, keep: int = 2, every: int = 1) -> None:
  """Saves a pytree of arrays as the checkpoint of a step, then removes all but the last `keep`.

  Of the earlier ones only multiples of `every` count: where a run was stopped in between does not matter later.

  Of several processes all call this with equal arrays: orbax wants all of them, and writes what the first has.

  Raises:
    InputError: the folder cannot be written; earlier checkpoints stay.
  """
  folder = _folder(workdir)
  name = f'{step:08d}'
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + MARGIN
  processes.first(lambda: _make_room(folder, name, size))
  try:
    # Arrays on the host: orbax refuses arrays that are replicated over the devices of one process among several.
    ocp.save(folder / name, jax.device_get(state))
    if not processes.is_first():
      return
    hashes = {str(path.relative_to(folder / name)): files.sha256(path)
              for path in sorted((folder / name).rglob('*')) if path.is_file()}
    files.write_json(folder / f'{name}.json', {'step': step, 'sha256': hashes})
  except (OSError, ValueError) as error:
    for path in folder.glob(f'{name}*'):  # and the folder that orbax was at
      shutil.rmtree(path, ignore_errors=True)
    raise _unwritten(folder, name, error) from error
  complete = {f'{s:08d}' for s in [s for s in steps(workdir) if s % every == 0 or s == step][-keep:]}
  for path in folder.iterdir():
    if path.stem[:8].isdigit() and path.stem[:8] not in complete:
      _remove(folder, path.stem[:8])
      if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)


def _damage(folder: pathlib.Path, name: str) -> str | None:
  """Returns what is wrong with a checkpoint, or None."""
  try:
    hashes = files.read_json(folder / f'{name}.json')['sha256']
    for path, digest in hashes.items():
      if files.sha256(folder / name / path) != digest:
        return f'{path} was altered'
  except FileNotFoundError as error:
    return f'{error.filename} is missing'
  except (InputError, OSError, KeyError, TypeError, AttributeError) as error:
    return str(error)
  return None


def latest(workdir: str | os.PathLike) -> int | None:
  """Returns the last step whose checkpoint is whole; None if there are no checkpoints at all.

  Damaged ones are reported and passed over.

  Raises:
    InputError: there are checkpoints, but all are damaged.
  """
  return processes.first(lambda: _latest(workdir))  # one looks: another may see the folder as it was a moment ago


def _latest(workdir: str | os.PathLike) -> int | None:
  found = steps(workdir)
  for step in reversed(found):
    damage = _damage(_folder(workdir), f'{step:08d}')
    if damage is None:
      return step
    logging.warning('The checkpoint of step %d in %s is damaged (%s): going back to the one before.', step,
                    _folder(workdir), damage)
  if found:
    raise InputError(f'Every checkpoint in {_folder(workdir)} is damaged: remove that folder to train again from the start.')
  return None


def load(workdir: str | os.PathLike, step: int, target: Any) -> Any:
  """Loads the checkpoint of a step into the structure of `target` (arrays or ShapeDtypeStructs).

  A target with fewer fields (such as {'ema': params}) loads only those.

  Raises:
    InputError: the checkpoint does not have that structure: it was made with another config.
  """
  sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  target = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), target)
  context = ocp.Context()
  context.pytree.loading.partial_load = True
  try:
    # Before anything is read: a read that fails leaves others behind, which print their own errors later.
    stored = ocp.metadata(_folder(workdir) / f'{step:08d}').metadata
    for name, wanted in (target if isinstance(target, dict) else target._asdict()).items():
      if len(jax.tree.leaves(stored[name])) != len(jax.tree.leaves(wanted)):
        raise KeyError(f'{name} has other parameters')
      if name in ('params', 'ema') and _shapes(stored[name]) != _shapes(wanted):
        raise KeyError(f'{name} has parameters of other names or shapes')
    with context:
      loaded = ocp.load(_folder(workdir) / f'{step:08d}', target)
    # A partial load leaves what the checkpoint does not have as it was in the target, and leaves out what it has beside that.
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(loaded)):
      raise KeyError('a parameter is missing')
    return loaded
  except (ValueError, KeyError) as error:
    raise InputError(f'The checkpoint of step {step} in {_folder(workdir)} does not fit the network of this config: its '
                     'parameters have other names or shapes.') from error


def named(tree: Any) -> dict[str, Any]:
  """Returns the arrays of a pytree by name, the keys on the way to each joined by '/'."""
  return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  return {name: tuple(leaf.shape) for name, leaf in named(tree).items()}


def tree_hash(tree: Any) -> str:
  """Returns the hex sha256 of names, shapes and bits of a pytree of arrays: equal trees have equal hashes on every machine."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape}'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def load_ema(workdir: str | os.PathLike, params: Any, step: int | None = None) -> tuple[Any, int]:
  """Returns the averaged parameters of a checkpoint, and its step.

  Args:
    workdir: of a run.
    params: the structure of the parameters (arrays or ShapeDtypeStructs).
    step: of the checkpoint; None is the last whole one.

  Raises:
    InputError: no checkpoint, or all damaged; none of that step.
  """
  if step is not None:
    damage = _damage(_folder(workdir), f'{step:08d}')
    if damage is not None:
      raise InputError(f'There is no whole checkpoint of step {step} in {_folder(workdir)} ({damage}): it has '
                       f'{", ".join(map(str, steps(workdir))) or "none"}.')
  else:
    step = latest(workdir)
  if step is None:
    raise InputError(f'There is no checkpoint in {_folder(workdir)}: train there first, or check the path.')
  return load(workdir, step, {'ema': params})['ema'], step
