"""The command of the installed package: inverse-matching CMD is python -m launch.CMD of the checkout, in any folder."""
import ast
import os
import pathlib
import runpy
import sys

from . import huge_pages

NAME = 'inverse-matching'
COMMANDS = ('train_teacher', 'make_pairs', 'distill', 'sample', 'evaluate', 'reproduce', 'prepare_data', 'export',
            'import_teacher', 'status')
HERE = pathlib.Path(__file__).parent


def main() -> None:
  """Runs the command that the first word names, with the rest as its flags."""
  huge_pages.start_again()
  first = sys.argv[1] if len(sys.argv) > 1 else '--help'
  if first in ('-h', '-help', '--help', 'help'):
    print(_usage())
    return
  if first == '--version':
    import inverse_matching
    print(inverse_matching.__version__)
    return
  name = first.replace('-', '_')
  if name not in COMMANDS:
    print(f'error: Unknown command {first!r}: use one of {", ".join(map(_word, COMMANDS))}.', file=sys.stderr)
    sys.exit(1)
  # What a config names as package.module:factory may lie here; last, so that no folder of a user's hides what is installed.
  sys.path.append(os.getcwd())
  sys.argv[:2] = [str(HERE / f'{name}.py')]
  runpy.run_module(f'{__package__}.{name}', run_name='__main__', alter_sys=True)


def _word(name: str) -> str:
  return name.replace('_', '-')


def _usage() -> str:
  lines = [f'usage: {NAME} COMMAND [--FLAG=VALUE ...]', '']
  for name in COMMANDS:
    summary = ast.get_docstring(ast.parse((HERE / f'{name}.py').read_text(encoding='utf-8'))).partition('\n')[0]
    lines.append(f'  {_word(name):<15} {summary}')
  return '\n'.join([*lines, '', f'{NAME} COMMAND --help explains its flags; {NAME} --version tells the version.'])
