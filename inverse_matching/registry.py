"""Things by name: a table of factories, or a user's own as 'package.module:factory'."""
import difflib
import importlib
import inspect
import re
from typing import Any, Callable, Iterable, Mapping

from absl import logging

from inverse_matching.errors import InputError

Table = Mapping[str, Any]
OWN = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*')  # package.module:factory


def nearest(name: str, names: Iterable[str]) -> str:
  """' (did you mean X?)' if a name is near, else ''."""
  close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
  return f' (did you mean {close[0]!r}?)' if close else ''


def choose(kind: str, table: Table, name: str, or_else: str = '') -> Any:
  """The entry of that name; InputError with the nearest one if there is none, and with what may stand in its place."""
  if not isinstance(name, str):
    raise InputError(f'The {kind} is given as a {type(name).__name__}: give its name, {", ".join(table)}{or_else}.')
  if name not in table:
    raise InputError(f'Unknown {kind} {name!r}{nearest(name, table)}: use one of {", ".join(table)}{or_else}.')
  return table[name]


def is_own(name: Any) -> bool:
  """Whether this is a name of the form 'package.module:factory', which `build` imports and calls; it does so with no other."""
  return isinstance(name, str) and OWN.fullmatch(name) is not None


def imported(kind: str, name: str) -> Callable:
  """What 'package.module:factory' names: the only place that imports by name.

  Raises:
    InputError: it cannot be imported.
  """
  module, _, attribute = name.partition(':')
  try:
    return getattr(importlib.import_module(module), attribute)
  except (ImportError, AttributeError, ValueError) as error:
    raise InputError(f'The {kind} {name!r} cannot be imported ({error}): name an importable module and a '
                     'function in it.') from error


def build(kind: str, table: Table, name: str, given: Mapping[str, Any], settings: Mapping[str, Any], *, returns: type,
          section: str | None = None, how: str = '', dtype: str | None = None) -> Any:
  """Calls the factory of that name with (*given, **settings), and checks what it returns.

  A user's own factory gets those settings that it names, since the config it is named in holds those of the default too; a
  setting without a value (None) leaves the default of its argument. Its first parameters must have the names of `given`; where
  nothing is given, its return annotation must be the type that is promised.

  Args:
    kind: what is built, for messages.
    table: name -> factory.
    name: in the table, or 'package.module:factory'.
    given: the first arguments by name.
    settings: those from a config.
    returns: the type that is promised.
    section: of the config, for messages; None is the kind.
    how: how a user makes one, for the message about a wrong type.
    dtype: of the numbers inside a network; unless it is None, the factory must take it.

  Raises:
    InputError: there is no such factory, a setting is not one of its own, it takes no dtype, or it returns something else.
  """
  own, section = is_own(name), section or kind
  factory = imported(kind, name) if own else choose(kind, table, name, ', or your own as \'package.module:factory\'')
  signature = _signature(kind, name, factory)
  parameters = signature.parameters
  takes_all = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
  if own:
    _check_promise(kind, name, signature, given, returns)
    has_default = lambda field: field not in parameters or parameters[field].default is not inspect.Parameter.empty
    settings = {field: value for field, value in settings.items() if value is not None or not has_default(field)}
    unused = [field for field in settings if field not in parameters and not takes_all]
    if unused:
      logging.info('%s does not take %s: left out.', name, ', '.join(f'config.{section}.{field}' for field in unused))
    settings = {field: value for field, value in settings.items() if field not in unused}
  if dtype is not None:
    if 'dtype' not in parameters and not takes_all:
      raise InputError(f'The {kind} {name!r} takes no dtype, so that it cannot be trained in {dtype}: set '
                       'config.train.precision=float32, or let the factory take it.')
    settings = {**settings, 'dtype': dtype}
  try:
    signature.bind(*given.values(), **settings)
  except TypeError as error:
    fields = [field for field in list(parameters)[len(given):] if parameters[field].kind != inspect.Parameter.VAR_KEYWORD]
    raise InputError(f'config.{section} does not fit {name!r}: {error}; its own fields are '
                     f'{", ".join(fields) or "none"}.') from error
  value = factory(*given.values(), **settings)
  if not isinstance(value, returns):
    raise InputError(f'The {kind} {name!r} returned a {type(value).__name__}, not a {returns.__name__}{how}.')
  return value


def _signature(kind: str, name: str, factory: Any) -> inspect.Signature:
  try:
    return inspect.signature(factory)
  except (TypeError, ValueError) as error:
    raise InputError(f'The {kind} {name!r} is not a function whose parameters can be seen: name a function written in '
                     'Python.') from error


def _check_promise(kind: str, name: str, signature: inspect.Signature, given: Mapping[str, Any], returns: type) -> None:
  """InputError unless the function says that it is a factory of that kind: any other must not be called."""
  first = list(signature.parameters)[:len(given)]
  if given and first != list(given):
    raise InputError(f'The {kind} {name!r} takes ({", ".join(signature.parameters)}), and a factory of a {kind} begins with '
                     f'({", ".join(given)}): name one that does.')
  annotation = signature.return_annotation
  if not given and getattr(annotation, '__name__', str(annotation).rpartition('.')[2]) != returns.__name__:
    raise InputError(f'The {kind} {name!r} does not say that it returns a {returns.__name__}: annotate it with '
                     f'-> {returns.__name__}.')
