"""A process may end at any operation on files: what is there is whole, and the next process comes to the same bits."""
import json
import shutil
import subprocess
import sys

from commands import ROOT, environment
import crashes
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.survival]


@pytest.fixture(scope='module')
def shim(tmp_path_factory):
  """What counts the operations and ends the process."""
  compiler = shutil.which('cc')
  if compiler is None or sys.platform != 'linux':
    pytest.skip('this needs Linux and a C compiler')
  path = tmp_path_factory.mktemp('shim') / 'file_operations.so'
  subprocess.run([compiler, '-shared', '-fPIC', '-O1', '-o', str(path), str(ROOT / 'tests' / 'file_operations.c'), '-ldl'],
                 check=True)
  return path


@pytest.mark.parametrize('job', crashes.JOBS)
def test_every_operation(job, shim, tmp_path, tally):
  """Before it and after it."""
  process = subprocess.run([sys.executable, str(ROOT / 'tests' / 'crashes.py'), str(shim), job], capture_output=True, text=True,
                           env=environment(LD_PRELOAD=shim, CRASH_FOLDER=tmp_path / 'folder'), check=False)
  assert process.returncode == 0, process.stderr
  found = json.loads(process.stdout.splitlines()[-1])
  tally.happened('end at every operation on a file', job, found['ended'])
  tally.survived('end at every operation on a file', job, found['ended'] - len(found['failures']))
  assert found['operations'] >= 8 and found['ended'] >= 1.5 * found['operations']
  assert not found['failures'], found['failures'][0]
