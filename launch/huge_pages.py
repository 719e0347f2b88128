"""Huge pages for the memory of a command, where Linux gives them to those that ask.

A training step on a CPU takes hundreds of megabytes and gives them back, and in pages of 4 kB a seventh to a third of its time
goes into fetching those. Only the C library can ask, and only when a process starts.
"""
import os
import pathlib
import sys

SETTING = 'glibc.malloc.hugetlb'  # glibc 2.35 and newer; others take no notice
SWITCH = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')


def wanted() -> bool:
  """Whether this process could have them and does not."""
  try:
    asks = '[madvise]' in SWITCH.read_text()
  except OSError:
    return False
  return asks and SETTING not in os.environ.get('GLIBC_TUNABLES', '')


def start_again() -> None:
  """Starts this command again in the same process, with huge pages, if it would gain.

  GLIBC_TUNABLES=glibc.malloc.hugetlb=0 says that it should not.
  """
  if wanted():
    tunables = [*filter(None, [os.environ.get('GLIBC_TUNABLES')]), f'{SETTING}=1']
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, 'GLIBC_TUNABLES': ':'.join(tunables)})
