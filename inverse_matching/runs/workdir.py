"""The folder of a run: one config, one kind, one process at a time."""
import contextlib
import difflib
import fcntl
import json
import os
import pathlib
from typing import Any, Iterator, Mapping, Sequence

from inverse_matching.errors import InputError
from inverse_matching.runs import exported, trust
from inverse_matching.runtime import files, processes

SPACE = 'space.json'
UNTRAINED = {'config.json', SPACE}  # the files, beside hidden ones, of a run that has not begun


def _flatten(value: Any, prefix: str = '') -> dict[str, Any]:
  if isinstance(value, Mapping):
    return {name: leaf for key, item in value.items() for name, leaf in _flatten(item, f'{prefix}{key}.').items()}
  return {prefix[:-1]: value}


@contextlib.contextmanager
def open_run(workdir: str | os.PathLike, config: Mapping[str, Any],
             space: Mapping[str, Any] | None = None) -> Iterator[pathlib.Path]:
  """Holds a workdir for one run: makes it, writes or compares config.json, and keeps other runs out.

  The functions that the config names are from then on known as this user's, see `trust`.

  Args:
    workdir: a new folder, or one that holds a run of the same config, which then goes on. One in which nothing was done yet is
      as a new one.
    config: nested mapping of JSON values, such as a ConfigDict or a dict of them.
    space: the facts of the data space (data.source.Space.facts), which space.json keeps for a model to be used without its
      data; None if there are none.

  Raises:
    InputError: the folder cannot be written, holds a run of another config or of other data, or is in use.
  """
  path = pathlib.Path(workdir)
  if exported.is_model(path):
    raise InputError(f'{path} is a model to use and not to write into: choose another --workdir.')
  with contextlib.ExitStack() as held:
    plain = json.loads(json.dumps(config, default=dict))  # what json does not know is a ConfigDict
    processes.first(lambda: _enter(held, path, plain))
    if space is not None:
      processes.first(lambda: _keep_space(path, json.loads(json.dumps(space))))
    yield path


def _keep_space(path: pathlib.Path, space: Mapping[str, Any]) -> None:
  """Writes space.json, or compares with it: the data may be others behind the same config."""
  if not (path / SPACE).exists():
    files.write_json(path / SPACE, space)
    return
  old = files.read_json(path / SPACE)
  changed = [name for name in old if name in space and old[name] != space[name]]
  if changed:
    raise InputError(f'The run in {path} was of other data: their {changed[0]} was {old[changed[0]]!r} and is '
                     f'{space[changed[0]]!r} now. Choose another --workdir, or give the data as they were to go on.')


def _enter(held: contextlib.ExitStack, path: pathlib.Path, config: Mapping[str, Any]) -> None:
  try:
    path.mkdir(parents=True, exist_ok=True)
    lock = held.enter_context(open(path / '.lock', 'a'))
  except OSError as error:
    raise InputError(f'The workdir {path} cannot be written ({error.strerror}): choose another --workdir.') from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    raise InputError(f'Another process is running in {path}: wait for it, or choose another folder.') from error
  others = sorted(file.name for file in path.iterdir() if file.name not in UNTRAINED and not file.name.startswith('.'))
  if others and not (path / 'config.json').exists():
    raise InputError(f'{path} holds no run, and other files ({", ".join(others[:3])}): name an empty folder, or one that is '
                     'not there yet.')
  if not others:  # nothing was done: an error, or a change of mind
    (path / SPACE).unlink(missing_ok=True)
    files.write_json(path / 'config.json', config)
    trust.record(path, config)
    return
  check_same(path, config)
  trust.record(path, config)


def check_same(path: pathlib.Path, config: Mapping[str, Any], *, but: Sequence[str] = ()) -> None:
  """Raises InputError unless the run or model in that folder has this config, whose fields in `but` may differ."""
  plain = json.loads(json.dumps(config, default=dict))  # what json does not know is a ConfigDict
  old, new = _flatten(files.read_json(path / 'config.json')), _flatten(plain)
  changed = [name for name in {**old, **new} if old.get(name) != new.get(name) and name not in but]
  if changed:
    details = '; '.join(f'{name} is {old.get(name)!r} there and {new.get(name)!r} now' for name in changed[:3])
    more = f' (and {len(changed) - 3} more)' if len(changed) > 3 else ''
    raise InputError(f'{path} holds a run of another config: {details}{more}. Choose another --workdir, or give the same '
                     'config to go on.')


def read_config(workdir: str | os.PathLike, kind: str) -> dict[str, Any]:
  """The config of a run.

  Raises:
    InputError: the folder holds none, or a run of another kind ('teacher', 'student'), or one whose config names functions
      that nobody here has vouched for, see `trust`.
  """
  path = pathlib.Path(workdir)
  if not (path / 'config.json').exists():
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob('*')] if path.parent.exists() else [], 1)
    hint = f' (is it {path.parent / near[0]}?)' if near and near[0] != path.name else ''
    raise InputError(f'{path} holds no run{hint}: give the --workdir of a finished {kind}.')
  config = files.read_json(path / 'config.json')
  if config.get('kind') != kind:
    of_student = kind == 'teacher' and config.get('kind') == 'student'
    raise InputError(f'{path} holds a run of kind {config.get("kind")!r}, but a {kind} is needed: ' +
                     ('give its teacher as --teacher.' if of_student else f'give the workdir of a {kind}.'))
  trust.check(path, config)
  return config


def read_space(workdir: str | os.PathLike) -> dict[str, Any] | None:
  """The facts of the data space of a run; None if the folder has none."""
  path = pathlib.Path(workdir) / SPACE
  return files.read_json(path) if path.exists() else None
