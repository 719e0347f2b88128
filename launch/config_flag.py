"""The flag --config and the fields given beside it, --config.a.b=value: what is wrong with them is told in one sentence."""
import contextlib
import os
import pathlib
import re
import runpy
import sys
import traceback
from typing import Any, Sequence

from absl import flags, logging
from ml_collections import config_flags

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.runtime.overlays import merge

FLAGS = flags.FLAGS
BUNDLED = pathlib.Path(__file__).resolve().parent.parent / 'configs'  # configs that can be given by name
SECTIONS = ('data', 'teacher', 'student', 'loss', 'optimizer', 'train', 'pairs', 'encodings', 'evaluation', 'arms')
_CONFIG = re.compile(r'(--?config=)(.*)', re.S)
_FIELD = re.compile(r'--?config\.([\w.]+)(?:=|$)')
_NONE = re.compile(r'--?config\.([\w.]+)=None')  # no value, of whatever type the field is


def define(default: str) -> None:
  """Defines the flag; InputError if the config cannot be read. The default is a name."""
  default, argv = file_of(default), _expanded(sys.argv)
  with _refusals(argv, default):  # fields given on the command line are put into the default here
    config_flags.DEFINE_config_file(
        'config', default, 'Experiment: FILE.py[:variant], or the name of a file that comes along: '
        f'{", ".join(_names())}; fields as --config.a.b=value.', lock_config=True, sys_argv=_with_values(argv))


def parse(argv: Sequence[str]) -> list[str]:
  """Parses all flags, and returns the words that are none; InputError if one of them or the config is wrong."""
  argv = _expanded(argv)
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


def with_overlay(section: str, argv: Sequence[str]) -> dict[str, Any]:
  """The config with the sections in one of its sections, if it has that one, in the place of its own; fields on the command
  line come before both."""
  config = value()
  merged = merge(config, config.get(section) or {})
  for *path, last in (name.split('.') for name in fields(argv)):
    given, node = config, merged
    for part in path:
      given, node = given[part], node[part]
    node[last] = given[last]
  return merged


def fields(argv: Sequence[str]) -> list[str]:
  """The names of the fields that are given on a command line, as a.b."""
  return [match[1] for match in map(_FIELD.match, argv) if match]


def tell_unread(sections: Sequence[str], argv: Sequence[str]) -> None:
  """Logs the fields, given on a command line, of sections that this command does not read: the same line may serve several.

  Other sections of a user's own config may be whatever its file makes of them, and the name of a teacher says that its code is
  to be trusted.
  """
  unread = [name for name in fields(argv) if name.partition('.')[0] in set(SECTIONS) - set(sections) and name != 'teacher.name']
  if unread:
    logging.info('Without effect here, where config.%s are read: %s.', ', '.join(sections),
                 ', '.join(f'--config.{name}' for name in unread))


def given(argv: Sequence[str]) -> str | None:
  """What --config was given on a command line; None if it was not."""
  words = [*argv, '']
  found = [match[2] if (match := _CONFIG.fullmatch(word)) else after for word, after in zip(words, words[1:])
           if word in ('--config', '-config') or _CONFIG.fullmatch(word)]
  return found[-1] if found else None


def file_of(config: str) -> str:
  """'NAME[:variant]' of a config that comes along, with its file in place of the name; any other as it is.

  Raises:
    InputError: there is no such file.
  """
  name, colon, variant = config.partition(':')
  path = pathlib.Path(name)
  if re.fullmatch(r'\w+', name) and name in _names():
    path = BUNDLED / f'{name}.py'
    path = path.relative_to(os.getcwd()) if path.is_relative_to(os.getcwd()) else path
  elif not path.is_file():
    raise InputError(f'There is no config {name!r}{registry.nearest(path.stem, _names())}: give the path of a file, or one of '
                     f'the names {", ".join(_names())}.')
  return f'{path}{colon}{variant}'


def _names() -> list[str]:
  return sorted(path.stem for path in BUNDLED.glob('[a-z]*.py'))


def _expanded(argv: Sequence[str]) -> list[str]:
  """The command line with the file of a config that is named."""
  words = [argv[0]]
  for word in argv[1:]:
    given = _CONFIG.fullmatch(word)
    if given or words[-1] in ('--config', '-config'):
      words.append(f'{given[1]}{file_of(given[2])}' if given else file_of(word))
    else:
      words.append(word)
  return words


def _with_values(argv: Sequence[str]) -> list[str]:
  return [word for word in argv if not _NONE.fullmatch(word)]


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
    missing = re.search(r'--(\w+) must have a value other than None', str(error))
    raise InputError(f'--{missing[1]} is missing: {_first_sentence(FLAGS[missing[1]].help)}' if missing else
                     str(error).replace('FATAL Flags parsing error: ', '')) from error
  except Exception as error:  # raised by the config file
    place = traceback.extract_tb(error.__traceback__)[-1]
    raise InputError(f'The config cannot be read: {type(error).__name__}: {error} ({place.filename}, line {place.lineno}).'
                     ) from error


def _last_line(error: Exception) -> str:
  return re.sub(r'^(\w+Error: )?', '', str(error).strip().splitlines()[-1].strip())


def _first_sentence(text: str) -> str:
  return text.partition('. ')[0].rstrip('.') + '.'


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
