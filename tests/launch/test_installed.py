"""The installed package: its command does in a user's folder what the command lines do in the checkout."""
import ast
import os
import subprocess
import sys

from commands import ROOT, SMOKE, user_environment
import pytest

import inverse_matching
from launch import console


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """A folder with the package installed from a wheel."""
  path = tmp_path_factory.mktemp('installed')
  pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--no-input', 'install', '--quiet']
  source = tmp_path_factory.mktemp('source') / 'checkout'  # a build writes beside setup.py
  source.mkdir()
  for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'inverse_matching', 'launch', 'configs'):
    (source / name).symlink_to(ROOT / name)
  subprocess.run([*pip, '--no-deps', '--no-build-isolation', '--no-index', f'--target={path}', str(source)], check=True)
  return path


@pytest.fixture
def call(installed, tmp_path):
  """Calls the command in a folder with packages of the user's own that are named as those of the checkout."""
  for name in ('configs', 'launch'):
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').write_text("raise ImportError('the package of the user')")
  (tmp_path / 'mine.py').write_text((ROOT / 'examples' / 'own_teacher.py').read_text())
  (tmp_path / 'configs' / 'own.py').write_text((ROOT / 'configs' / 'digits.py').read_text())

  def call(*words, status=0):
    run = subprocess.run([sys.executable, str(installed / 'bin' / console.NAME), *words], cwd=tmp_path, text=True,
                         capture_output=True, env={**user_environment(), 'PYTHONPATH': str(installed)}, timeout=300)
    assert run.returncode == status, run.stderr
    assert 'Traceback' not in run.stderr, run.stderr
    return run.stdout if status == 0 else run.stderr

  return call


def test_usage(call):
  """Every command with what it does; the version; what is no command."""
  for words in ([], ['--help']):
    assert all(f'  {name.replace("_", "-")} ' in call(*words) for name in console.COMMANDS)
  assert call('--version').strip() == inverse_matching.__version__
  assert call('trian-teacher', status=1).startswith("error: Unknown command 'trian-teacher': use one of train-teacher, ")


def test_help_of_a_command(call):
  """As it is called here: with the name of the command and the names of configs."""
  said = call('distill', '--help')
  assert f'{console.NAME} distill --config=digits --teacher=' in said and 'launch.' not in said


def test_messages(call):
  """So does an error: what to type, in this folder."""
  assert f'{console.NAME} prepare-data --dataset=mnist --data_dir=none' in call(
      'train-teacher', '--workdir=x', '--config=mnist:smoke', '--config.data.data_dir=none', status=1)


@pytest.mark.slow
def test_configs_by_path(call):
  """One may be a copy of one that comes along; one that is not there is told from those by name."""
  said = call('train-teacher', '--workdir=x', '--config=configs/digits.py', status=1)
  assert "There is no config 'configs/digits.py'" in said and 'one of the names arrays, cifar10, digits, ' in said
  said = call('train-teacher', '--workdir=x', '--config=configs/own.py:smoke', '--config.teacher.name=mine:teacher',
              '--config.train.batch_size=0', status=1)
  assert said == 'error: config.train.batch_size must be at least 1, got 0.\n'


@pytest.mark.slow
def test_the_whole_way(call, tmp_path):
  """A teacher of the user's own, pairs, a student, samples, numbers and a figure; the figure tells how it was made."""
  flags = ['--config=digits:smoke', *SMOKE[1:]]
  call('train-teacher', '--config=digits:smoke', '--config.teacher.name=mine:teacher', '--config.train.num_epochs=1',
       '--workdir=teacher')
  call('make-pairs', '--teacher=teacher', '--num=64', '--workdir=pairs')
  call('distill', *flags, '--config.loss.name=oracle_prediction', '--teacher=teacher', '--pairs=pairs', '--workdir=student')
  call('sample', '--workdir=student', '--teacher=teacher', '--num_samples=4', '--output=out')
  call('evaluate', '--workdir=student', '--teacher=teacher', '--num_samples=40')
  call('export', '--workdir=teacher', '--output=model')
  call('reproduce', '--figure=5', *flags, '--workdir=figure')
  assert 'teacher: teacher ' in call('status', '--workdir=figure')
  assert f'{console.NAME} reproduce --figure=5 --config=digits:smoke' in (tmp_path / 'figure' / 'figure5.json').read_text()


def test_the_commands():
  """Are all files of launch/ but what they share; each says what it does, and runs in the checkout too."""
  files = {path.stem for path in (ROOT / 'launch').glob('[a-z]*.py')}
  assert files - set(console.COMMANDS) == {'common', 'config_flag', 'console', 'huge_pages', 'wording'}
  for name in console.COMMANDS:
    assert ast.get_docstring(ast.parse((ROOT / 'launch' / f'{name}.py').read_text())).partition('\n')[0].endswith('.')


def test_nothing_but_the_package(installed):
  """No top-level package that another one may have too."""
  assert {name for name in os.listdir(installed) if not name.endswith('.dist-info')} == {'inverse_matching', 'bin'}
