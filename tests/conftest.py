"""Settings of every test: eight CPU devices, typed keys only, quick compilation, fixed hypothesis examples."""
import atexit
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
if 'PYTEST_XDIST_WORKER' not in os.environ:  # workers share that of the process that started them
  os.environ['INVERSE_MATCHING_STATE'] = tempfile.mkdtemp(prefix='inverse_matching-')  # not the home of whoever runs the tests
  atexit.register(shutil.rmtree, os.environ['INVERSE_MATCHING_STATE'], ignore_errors=True)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))  # the checkout, installed or not
# What was compiled once is not compiled again: a second run of the fast suite takes little more than half of the time.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', f'{sys.path[0]}/.pytest_cache/compiled')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')

import hypothesis
import jax
import pytest
import reliability

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_legacy_prng_key', 'error')
jax.config.update('jax_disable_most_optimizations', True)  # a third of the compile time

hypothesis.settings.register_profile('fixed', derandomize=True, deadline=None, max_examples=50, database=None)
hypothesis.settings.load_profile('fixed')


def pytest_addoption(parser):
  """Of the survival tests."""
  parser.addoption('--kills', type=int, default=20, help='how often the survival tests kill a command')
  parser.addoption('--reliability', help='folder for the table of what was survived')


@pytest.fixture(scope='session')
def tally(request):
  """What the survival tests count."""
  counts = reliability.Tally()
  yield counts
  if request.config.getoption('reliability'):
    counts.write(request.config.getoption('reliability'), request.config.getoption('kills'))


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  """A teacher, its pairs and a student, each made by its command."""
  from commands import SMOKE, launched
  path = tmp_path_factory.mktemp('launch')
  launched('train_teacher', *SMOKE, f'--workdir={path}/teacher')
  launched('make_pairs', f'--teacher={path}/teacher', '--num=64', f'--workdir={path}/pairs')
  launched('distill', *SMOKE, '--config.loss.name=oracle_prediction', f'--teacher={path}/teacher', f'--pairs={path}/pairs',
           f'--workdir={path}/student')
  return path
