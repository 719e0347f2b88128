"""How commands are written for people: as in the checkout, or as the installed command calls them."""
import pathlib
import re
import shlex
import sys

from . import config_flag, console

INSTALLED = __package__ != 'launch'  # or the package of a checkout


def command() -> str:
  """The command line, as somebody would type it."""
  module = '.'.join(pathlib.Path(sys.argv[0]).with_suffix('').parts[-2:])
  return as_installed(shlex.join(['python', '-m', module, *sys.argv[1:]]))


def config_word() -> str:
  """' --config=...' as it was given, for a command that takes the same one; '' where it was not."""
  given = config_flag.given(sys.argv)
  return '' if given is None else f' --config={shlex.quote(given)}'


def say(*lines: str) -> None:
  """Prints lines, with commands as they are called here."""
  print(as_installed('\n'.join(lines)))


def as_installed(text: str) -> str:
  """With commands and configs as they are written outside of the checkout, if this is the installed command."""
  if not INSTALLED:
    return text
  text = re.sub(r'(?:python -m )?\blaunch\.([a-z_]+)', lambda match: f'{console.NAME} {match[1].replace("_", "-")}', text)
  return re.sub(r'--config=configs/(\w+)\.py', r'--config=\1', text)
