"""Commands that sample, solve or distil from pairs read no data."""
from commands import SMOKE, launch
import pytest

# After this, whatever reads data fails, be it the data sets by name or the libraries that they come from.
WITHOUT_DATA = """
import sys
for library in ('tensorflow_datasets', 'sklearn.datasets'):
  sys.modules[library] = None
from inverse_matching.data import catalogue

def load(settings):
  raise AssertionError('the data are read')

catalogue.load = load
"""
TEACHER = '--teacher={folder}/teacher'
COMMANDS = {
    'sample a student': ['sample', '--workdir={folder}/student', TEACHER, '--num_samples=2'],
    'sample a teacher': ['sample', '--workdir={folder}/teacher', '--num_samples=2'],
    'make pairs': ['make_pairs', TEACHER, '--num=2'],
    'distil from pairs': ['distill', *SMOKE, '--config.loss.name=oracle_prediction', TEACHER, '--pairs={folder}/pairs'],
}


def run(folder, out, command):
  """The last two write to their workdir."""
  words = [word.format(folder=folder) for word in command] + [f'--{"output" if command[0] == "sample" else "workdir"}={out}']
  return launch(*words, first=WITHOUT_DATA)


@pytest.mark.parametrize('name', [name if name == 'sample a student' else pytest.param(name, marks=pytest.mark.slow)
                                  for name in COMMANDS])
def test_without_data(folder, tmp_path, name):
  """A model is enough, and pairs."""
  process = run(folder, tmp_path / 'out', COMMANDS[name])
  assert process.returncode == 0, process.stderr
  assert any((tmp_path / 'out').iterdir())


@pytest.mark.slow
def test_what_reads_data_fails(folder, tmp_path):
  """So the other test would find it."""
  assert 'the data are read' in run(folder, tmp_path / 'out', ['distill', *SMOKE, TEACHER]).stderr
