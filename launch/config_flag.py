"""The flag --config and the fields given beside it, --config.a.b=value: what is wrong with them is told in one sentence."""
import contextlib
import re
import runpy
import sys
import traceback
from typing import Any, Sequence

from absl import flags
from ml_collections import config_flags

from inverse_matching import registry
from inverse_matching.errors import InputError

FLAGS = flags.FLAGS
_NONE = re.compile(r'--?config\.([\w.]+)=None')  # no value, of whatever type the field is


def define(default: str) -> None:
  """Defines the flag; InputError if the config cannot be read."""
  with _refusals(sys.argv, default):  # fields given on the command line are put into the default here
    config_flags.DEFINE_config_file('config', default, 'Experiment: configs/F.py[:variant]; fields as --config.a.b=value.',
                                    lock_config=True, sys_argv=_with_values(sys.argv))


def parse(argv: Sequence[str]) -> list[str]:
  """Parses all flags, and returns the words that are none; InputError if one of them or the config is wrong."""
  with _refusals(argv, FLAGS['config'].default if 'config' in FLAGS else None):
    try:
      rest = FLAGS(_with_values(argv))
    except SystemExit:  # absl leaves with 1 after --help
      sys.exit(0)
    for path in (match[1].split('.') for match in map(_NONE.fullmatch, argv) if match):
      node = FLAGS.config
      for name in path[:-1]:
        node = node[name]
      node[path[-1]] = None
  return rest


def value() -> dict[str, Any]:
  """The config as a plain dict."""
  try:
    config = FLAGS.config
  except OSError as error:
    raise InputError(f'The config cannot be read: {_last_line(error)}.') from error
  if not hasattr(config, 'to_dict'):
    raise InputError(f'get_config of the config returned a {type(config).__name__}: return an ml_collections.ConfigDict.')
  return config.to_dict()


def _with_values(argv: Sequence[str]) -> list[str]:
  return [arg for arg in argv if not _NONE.fullmatch(arg)]


@contextlib.contextmanager
def _refusals(argv: Sequence[str], default: str | None):
  """Tells in one sentence where the flags or the config are wrong."""
  try:
    yield
  except (AttributeError, KeyError) as error:
    # ml_collections names neither the field nor its neighbours on the command line.
    given = [arg.lstrip('-').partition('=') for arg in argv[1:]]
    path = next((value for name, _, value in reversed(given) if name == 'config'), default)
    for name, _, _ in given:
      if name.startswith('config.') and (wrong := _unknown(path, name.split('.')[1:])):
        raise InputError(wrong) from error
    raise InputError(f'The config cannot be read: {_last_line(error)}.') from error
  except (flags.Error, ValueError, TypeError, OSError) as error:
    if '\n' in str(error).strip():  # of the config file, with its traceback
      raise InputError(f'The config cannot be read: {_last_line(error)}') from error
    raise InputError(str(error).replace('FATAL Flags parsing error: ', '')) from error
  except Exception as error:  # raised by the config file
    place = traceback.extract_tb(error.__traceback__)[-1]
    raise InputError(f'The config cannot be read: {type(error).__name__}: {error} ({place.filename}, line {place.lineno}).'
                     ) from error


def _last_line(error: Exception) -> str:
  return str(error).strip().splitlines()[-1].strip()


def _unknown(path: str, fields: Sequence[str]) -> str | None:
  file, colon, variant = path.partition(':')
  node = runpy.run_path(file)['get_config'](*([variant] if colon else []))
  for i, field in enumerate(fields):
    if not hasattr(node, 'keys'):
      return None
    if field not in node:
      place = '.'.join(['config', *fields[:i]])
      return (f'{place} has no field {field!r}{registry.nearest(field, node.keys())}: its fields are '
              f'{", ".join(node.keys())}.')
    node = node[field]
  return None
