"""Whose code may be run: the functions of one's own that the config of a folder names as 'package.module:factory'.

A folder may come from anybody, and such a name is code to import and call. So it is followed only if the user gave the same
name in this call, said so for every folder, or the run was made by this user on this machine. See docs/trust.md.
"""
import contextlib
import contextvars
import hashlib
import json
import os
import pathlib
from typing import Any, Iterator, Mapping

from absl import logging

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.runtime import files, processes

ANY = '*'  # every name
SECTIONS = {'teacher': ('data', 'teacher'), 'student': ('student',)}  # kind of run -> what is made when it is loaded

_allowed: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar('allowed', default=frozenset())


@contextlib.contextmanager
def allow(*names: str) -> Iterator[None]:
  """Within it these names are followed in any folder: `with trust.allow('my_package.models:teacher'): runs.load_teacher(...)`.

  Args:
    *names: as 'package.module:factory', or ANY.
  """
  token = _allowed.set(_allowed.get() | set(names))
  try:
    yield
  finally:
    _allowed.reset(token)


def own_names(config: Any) -> set[str]:
  """The names 'package.module:factory' anywhere in nested mappings and sequences."""
  if isinstance(config, Mapping):
    config = list(config.values())
  if isinstance(config, (list, tuple)):
    return set().union(*map(own_names, config))
  return {config} if registry.is_own(config) else set()


def check(workdir: str | os.PathLike, config: Mapping[str, Any]) -> None:
  """Raises InputError if the config that was found in a workdir names functions that nobody here has vouched for."""
  allowed = _allowed.get()
  unknown = sorted(own_names(_followed(config)) - allowed)
  if not unknown or ANY in allowed or processes.first(lambda: _is_recorded(config)):
    return
  raise InputError(f'The config in {workdir} names {" and ".join(map(repr, unknown))}, which is code to import and call, and '
                   'neither did you name it nor was this run made here: if you trust whoever made the folder, add '
                   '--trust_workdir, or in Python load it within runs.trust.allow (docs/trust.md).')


def record(workdir: str | os.PathLike, config: Mapping[str, Any]) -> None:
  """Notes that this user made a run of that config, so that its folder is loaded without a word about the same functions.

  One small file for a config, so that several writers do not meet. Where it cannot be written the run goes on.
  """
  names = sorted(own_names(_followed(config)))
  if not names or _is_recorded(config):
    return
  try:
    files.write_json(_path(config), {'names': names, 'workdir': str(pathlib.Path(workdir).absolute())})
  except InputError as error:
    logging.warning('This run will not be known as made here, and loading it will need --trust_workdir. %s', error)


def _followed(config: Mapping[str, Any]) -> dict[str, Any]:
  """The sections whose names are followed, without what is None, which is the same as not being there."""
  given = lambda value: ({name: given(item) for name, item in value.items() if item is not None}
                         if isinstance(value, Mapping) else value)
  return given({section: config.get(section) for section in SECTIONS.get(config['kind'], ())})


def _path(config: Mapping[str, Any]) -> pathlib.Path:
  """The note of a config: the hash of what is followed, so of the names and of all settings that their functions get."""
  text = json.dumps(_followed(config), sort_keys=True)
  return files.state_folder() / 'trusted' / f'{hashlib.sha256(text.encode()).hexdigest()}.json'


def _is_recorded(config: Mapping[str, Any]) -> bool:
  try:
    return _path(config).is_file()
  except (InputError, OSError):
    return False
