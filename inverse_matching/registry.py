"""Things by name: a table of factories, or a user's own as 'package.module:factory'."""
import difflib
import importlib
import inspect
from typing import Any, Callable, Mapping

from absl import logging

from inverse_matching.errors import InputError


def nearest(name: str, names) -> str:
  """' (did you mean X?)' if a name is near, else ''."""
  close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
  return f' (did you mean {close[0]!r}?)' if close else ''


def find(kind: str, table: Mapping[str, Callable], name: str) -> Callable:
  """The factory of that name in the table, or the one at 'package.module:factory'."""
  if name in table:
    return table[name]
  if ':' not in name:
    raise InputError(f'Unknown {kind} {name!r}{nearest(name, table)}: use one of {", ".join(table)}, or your own as '
                     '\'package.module:factory\'.')
  module, _, attribute = name.partition(':')
  try:
    return getattr(importlib.import_module(module), attribute)
  except (ImportError, AttributeError) as error:
    raise InputError(f'The {kind} {name!r} cannot be imported ({error}): name an importable module and a '
                     'function in it.') from error


def build(kind: str, table: Mapping[str, Callable], name: str, event_shape: tuple[int, ...],
          config: Mapping[str, Any]) -> Any:
  """Calls the factory of that name with (event_shape, **config).

  A user's own factory gets the fields that it names, since the config it is named in holds those of the default too; a field
  without a value (None) leaves the default of its argument.

  Raises:
    InputError: no such factory, or a setting that is not one of its own.
  """
  factory = find(kind, table, name)
  try:
    parameters = inspect.signature(factory).parameters
    if name not in table:
      takes_all = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
      has_default = lambda field: field not in parameters or parameters[field].default is not inspect.Parameter.empty
      config = {field: value for field, value in config.items() if value is not None or not has_default(field)}
      unused = [field for field in config if field not in parameters and not takes_all]
      if unused:
        logging.info('%s does not take %s: left out.', name, ', '.join(f'config.{kind}.{field}' for field in unused))
      config = {field: value for field, value in config.items() if field not in unused}
    return factory(event_shape, **config)
  except TypeError as error:
    raise InputError(f'config.{kind} does not fit {name!r}: {error}.') from error
