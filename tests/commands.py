"""Real commands on tiny models, of one process or several, for the tests of survival and of distribution."""
import json
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Mapping, Sequence

import jax
import numpy as np

from inverse_matching.training.metrics import MEASURED

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = f'--config={ROOT}/tests/tiny.py'
LIMIT = 600  # seconds that a command may take


def environment(**more: Any) -> dict[str, str]:
  """One device unless --devices says more, as on any other machine; the models of tests can be named."""
  return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': f'{ROOT}:{ROOT}/tests',
          **{k: str(v) for k, v in more.items()}}


def start(module: str, *flags: Any, env: Mapping[str, str] | None = None, before: Sequence[str] = (),
          cwd: pathlib.Path = ROOT, **settings: Any) -> subprocess.Popen:
  """Starts python -m launch.MODULE; `before` is what stands before it on the command line."""
  return subprocess.Popen([*before, sys.executable, '-m', f'launch.{module}', *map(str, flags)], cwd=cwd,
                          env=env or environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def finish(process: subprocess.Popen, status: int | None = 0) -> str:
  """Waits for the end and returns stderr; the status must be that one, and no traceback is allowed."""
  try:
    _, stderr = process.communicate(timeout=LIMIT)
  except subprocess.TimeoutExpired:
    process.kill()
    raise
  assert status is None or process.returncode == status, f'status {process.returncode}: {stderr}'
  assert 'Traceback' not in stderr, stderr
  return stderr


def run(module: str, *flags: Any, status: int = 0, **settings: Any) -> str:
  """Runs a command to its end; stderr."""
  return finish(start(module, *flags, **settings), status)


def free_port() -> int:
  """A port that nobody listens on."""
  with socket.socket() as s:
    s.bind(('localhost', 0))
    return s.getsockname()[1]


def start_several(count: int, module: str, *flags: Any) -> list[subprocess.Popen]:
  """Starts the processes of one run, which find each other by the environment."""
  address = f'localhost:{free_port()}'
  return [start(module, *flags, '--distributed', env=environment(
      JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES=count, JAX_PROCESS_ID=i)) for i in range(count)]


def run_several(count: int, module: str, *flags: Any) -> list[str]:
  """Runs them to their end; stderr of each."""
  return [finish(process) for process in start_several(count, module, *flags)]


def metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """metrics.jsonl without what equal runs do not share; of a run in progress, without a line that is not complete."""
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().split('\n')[:-1] if path.exists() else []
  return [{k: v for k, v in json.loads(line).items() if k not in MEASURED} for line in lines]


def wait_for(condition, process: subprocess.Popen) -> None:
  """Until it is true; the process must still be running then."""
  start_time = time.monotonic()
  while not condition():
    assert process.poll() is None, finish(process, None)
    assert time.monotonic() - start_time < LIMIT
    time.sleep(0.01)


def stop(process: subprocess.Popen, signum: int = signal.SIGTERM) -> float:
  """Sends a signal; the seconds until the end."""
  start_time = time.monotonic()
  process.send_signal(signum)
  process.wait(LIMIT)
  return time.monotonic() - start_time


def assert_close(a: list[dict[str, Any]], b: list[dict[str, Any]], rtol: float) -> None:
  """The same rows of metrics up to rounding."""
  assert [sorted(row) for row in a] == [sorted(row) for row in b]
  for one, other in zip(a, b):
    for name, value in one.items():
      np.testing.assert_allclose(other[name], value, rtol=rtol, err_msg=f'{name} at step {one["step"]}')


SMOKE = ['--config=configs/digits.py:smoke', '--config.train.num_epochs=1', '--config.student.num_filters=4',
         '--config.student.num_blocks=1', '--config.student.num_levels=1', '--config.teacher.num_filters=4',
         '--config.teacher.num_blocks=1', '--config.teacher.num_levels=1']  # a PixelCNN++ that compiles soon


def user_environment() -> dict[str, str]:
  """That of a user, with quick compilation."""
  return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}


FORKS = multiprocessing.get_context('forkserver')  # copies of one process that has imported the libraries, which takes 3 s
FORKS.set_forkserver_preload(['inverse_matching.experiments', 'launch.common'])


def _execute(code: str, argv: Sequence[str], env: Mapping[str, str], folder: str) -> None:
  """In the copy: runs the code at the root of the checkout, with stdout and stderr in files."""
  for name in ('stdout', 'stderr'):
    os.dup2(os.open(f'{folder}/{name}', os.O_WRONLY | os.O_CREAT), getattr(sys, name).fileno())
  os.chdir(ROOT)
  os.environ.update(env)
  sys.path.insert(0, str(ROOT))
  sys.argv = ['python', *argv]
  jax.config.update('jax_disable_most_optimizations', True)
  exec(code, {'__name__': '__main__'})


def execute(code: str, *argv: Any, env: Mapping[str, str] | None = None, timeout: float = 900) -> subprocess.CompletedProcess:
  """What python -c CODE ARGV does in a fresh process, without the time that importing takes; the finished process.

  The time is what the longest one takes on a busy core, twice: it ends what hangs.
  """
  argv = [*map(str, argv)]
  with tempfile.TemporaryDirectory() as folder:
    process = FORKS.Process(target=_execute, args=(code, argv, env or {}, folder))
    process.start()
    process.join(timeout)
    if process.is_alive():
      process.kill()
      process.join()
    stdout, stderr = (pathlib.Path(folder, name).read_text() for name in ('stdout', 'stderr'))
    return subprocess.CompletedProcess(argv, process.exitcode, stdout, stderr)


def launch(module: str, *flags: Any, first: str = '') -> subprocess.CompletedProcess:
  """Runs python -m launch.MODULE as a user does, from the root of the checkout, after the code `first`; when it is done."""
  return execute(f"{first}\nimport runpy\nrunpy.run_module('launch.{module}', run_name='__main__', alter_sys=True)", *flags)


def launched(module: str, *flags: Any, first: str = '') -> subprocess.CompletedProcess:
  """The same, which must succeed."""
  process = launch(module, *flags, first=first)
  assert process.returncode == 0, process.stderr
  assert 'Traceback' not in process.stderr
  return process


def refused(module: str, *flags: Any, first: str = '') -> str:
  """The one line on stderr of a command that must refuse; what the command says it does may stand before it."""
  process = launch(module, *flags, first=first)
  lines = [line for line in process.stderr.splitlines() if line.strip() and not re.match(r'\d\d:\d\d:\d\d ', line)]
  assert process.returncode == 1 and process.stdout == ''
  assert len(lines) == 1 and lines[0].startswith('error: '), process.stderr
  assert '\\n' not in lines[0] and 'Traceback' not in lines[0]
  return lines[0]
