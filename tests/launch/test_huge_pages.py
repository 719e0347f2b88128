"""A command starts again with huge pages where it can have them, once, and nothing else does."""
import importlib
import os
import subprocess
import sys

import pytest

import launch
from launch import huge_pages


@pytest.fixture
def calls(monkeypatch, tmp_path):
  """What would be executed, on a machine that gives huge pages to those that ask."""
  found = []
  monkeypatch.setattr(os, 'execve', lambda *args: found.append(args))
  monkeypatch.setattr(huge_pages, 'SWITCH', tmp_path / 'enabled')
  huge_pages.SWITCH.write_text('always [madvise] never\n')
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  monkeypatch.setattr(sys, 'argv', ['-m', '--workdir=a b'])
  monkeypatch.setattr(sys, 'orig_argv', ['python', '-X', 'utf8', '-m', 'launch.status', '--workdir=a b'])
  return found


@pytest.mark.parametrize('given,expected', [(None, 'glibc.malloc.hugetlb=1'), ('', 'glibc.malloc.hugetlb=1'),
                                            ('glibc.malloc.check=1', 'glibc.malloc.check=1:glibc.malloc.hugetlb=1')])
def test_the_same_command_again(calls, monkeypatch, given, expected):
  """With its own interpreter and arguments, and what the variable held before."""
  if given is not None:
    monkeypatch.setenv('GLIBC_TUNABLES', given)
  huge_pages.start_again()
  (path, args, environment), = calls
  assert path == args[0] == sys.executable and args[1:] == ['-X', 'utf8', '-m', 'launch.status', '--workdir=a b']
  assert environment == {**os.environ, 'GLIBC_TUNABLES': expected}


@pytest.mark.parametrize('why', ['set', 'refused', 'always', 'never', 'no such file'])
def test_not_where_it_would_not_help(calls, monkeypatch, why):
  """It has them, was told not to, gets them anyway, or cannot have them."""
  if why in ('set', 'refused'):
    monkeypatch.setenv('GLIBC_TUNABLES', f'glibc.malloc.hugetlb={int(why == "set")}')
  if why in ('always', 'never'):
    huge_pages.SWITCH.write_text('always madvise never\n'.replace(why, f'[{why}]'))
  if why == 'no such file':
    huge_pages.SWITCH.unlink()
  huge_pages.start_again()
  assert not calls


@pytest.mark.parametrize('program,times', [('-m', 1), ('/bin/pytest', 0)])
def test_a_command_alone(calls, monkeypatch, program, times):
  """python -m launch.X starts again when it imports launch; another program that imports it does not."""
  monkeypatch.setattr(sys, 'argv', [program, '--workdir=a b'])
  importlib.reload(launch)
  assert len(calls) == times


def test_a_real_command():
  """Whether it starts again or not, a command says what it says, with its status."""
  run = subprocess.run([sys.executable, '-m', 'launch.status', '--workdir=nowhere'], capture_output=True, text=True)
  assert run.returncode == 1 and run.stderr.startswith('error: ') and 'nowhere' in run.stderr
