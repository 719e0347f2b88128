"""The models that come along: whole, of the size that is promised, and used like any workdir without data."""
import pathlib
import re
import shutil

from commands import launched
import jax
import numpy as np
from PIL import Image
import pytest

from inverse_matching import runs
from inverse_matching.runs import exported
from inverse_matching.runtime import files
from inverse_matching.types import sum_event

MODELS = pathlib.Path(__file__).resolve().parents[1] / 'models'
FOLDERS = sorted(path.parent for path in MODELS.rglob(exported.MANIFEST))
MOST = 15 * 2**20  # bytes, of all


def test_they_are_small():
  """Together, and nothing else lies beside them."""
  assert FOLDERS and sum(path.stat().st_size for path in MODELS.rglob('*') if path.is_file()) < MOST
  names = {'config.json', 'space.json', 'card.md', exported.WEIGHTS, exported.MANIFEST}
  assert all({path.name for path in folder.iterdir()} == names for folder in FOLDERS)


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda path: str(path.relative_to(MODELS)))
def test_they_are_whole(folder):
  """Every file has the sum that the manifest gives; the card tells what it is, and no path of the machine that made it."""
  for name, digest in files.read_json(folder / exported.MANIFEST)['sha256'].items():
    assert files.sha256(folder / name) == digest
  card = (folder / 'card.md').read_text()
  assert 'not told' not in card and '95% intervals' in card
  assert not re.search(r'[\s=`\'"]/\w', card)


@pytest.mark.parametrize('folder', [f for f in FOLDERS if f.name != 'teacher'], ids=lambda path: str(path.relative_to(MODELS)))
def test_students_know_their_teacher(folder):
  """The one of their data set."""
  teacher = files.read_json(MODELS / folder.relative_to(MODELS).parts[0] / 'teacher' / exported.MANIFEST)['hash']
  assert files.read_json(folder / 'config.json')['teacher_hash'] == teacher


@pytest.fixture(scope='module')
def digits():
  """(run, z, x, -log p) of the teacher on the first 64 digits that it was not trained on, with the noise of fixed keys."""
  run = runs.load_teacher(MODELS / 'digits' / 'teacher')
  raw = {name: values[:64] for name, values in run.source.held_out.items()}
  x = run.space.prepare(0)({**raw, 'position': np.arange(64, dtype=np.uint32)}).x
  z, log_det = jax.jit(run.teacher.x_to_z)(run.params, x)
  return run, z, x, -sum_event(run.teacher.prior.log_density(z)) - log_det


def test_the_teacher_of_the_digits_gives_the_numbers_it_gave(digits):
  """Nats of digits, as they were when this was written: another network by the same weights has others."""
  np.testing.assert_allclose(np.mean(digits[-1]), 76.3145, rtol=1e-3)


@pytest.mark.parametrize('name,expected', [('flow/x_reconstruction', 0.42832), ('resnet/x_reconstruction_l1', 0.71021)])
def test_the_students_of_the_digits_give_the_numbers_they_gave(digits, name, expected):
  """Mean squared error on 16 pairs (T(x), x), as it was when this was written."""
  run, z, x, _ = digits
  student = runs.load_student(MODELS / 'digits' / 'students' / name, run)
  found = jax.jit(student.student.z_to_x)(student.params, z[:16]).x
  np.testing.assert_allclose(np.mean(np.square(found - x[:16])), expected, rtol=1e-2)


def test_samples_of_the_digits(tmp_path):
  """By the commands, into another folder; x = T^-1(z) to the solver's tolerance; nothing is written into the models."""
  before = {path: path.stat().st_mtime_ns for path in MODELS.rglob('*')}
  teacher, flow = MODELS / 'digits' / 'teacher', MODELS / 'digits' / 'students' / 'flow' / 'x_reconstruction'
  launched('sample', f'--workdir={teacher}', '--num_samples=16', f'--output={tmp_path / "teacher"}')
  launched('sample', f'--workdir={flow}', f'--teacher={teacher}', '--num_samples=16',
           f'--output={tmp_path / "flow"}')
  for name in ('teacher', 'flow'):
    picture, = (tmp_path / name).glob('*.png')
    assert Image.open(picture).width > 8
  run = runs.load_teacher(teacher)
  pairs = runs.draw_pairs(run, 8, 1)
  np.testing.assert_allclose(run.teacher.x_to_z(run.params, pairs['x'])[0], pairs['z'], atol=2e-3)
  assert {path: path.stat().st_mtime_ns for path in MODELS.rglob('*')} == before


@pytest.mark.slow
def test_distillation_from_a_model(tmp_path):
  """Pairs of the teacher that comes along, and a student of them."""
  teacher = MODELS / 'digits' / 'teacher'
  launched('make_pairs', f'--teacher={teacher}', '--num=128', f'--workdir={tmp_path / "pairs"}')
  launched('distill', '--config=configs/digits.py:smoke,flow/oracle_prediction', f'--teacher={teacher}',
           f'--pairs={tmp_path / "pairs"}', f'--workdir={tmp_path / "student"}')
  assert runs.load_student(tmp_path / 'student', runs.load_teacher(teacher)).config['loss']['name'] == 'oracle_prediction'


@pytest.mark.slow
def test_an_experiment_of_the_models(tmp_path):
  """In a copy of the folder a figure is made; nothing is trained but the classifier of the metrics; the numbers are good."""
  shutil.copytree(MODELS / 'digits', tmp_path / 'run')
  arm = 'resnet/x_reconstruction_l1'
  (tmp_path / 'config.py').write_text(
      'from configs import digits\n\n\ndef get_config():\n  config = digits.get_config()\n'
      f'  config.figures = {{"5": ("{arm}",)}}\n  config.evaluation.num_samples = 200\n  return config\n')
  process = launched('reproduce', '--figure=5', f'--config={tmp_path / "config.py"}', f'--workdir={tmp_path / "run"}')
  assert process.stderr.count('a model, which is taken as it is') == 2
  assert not (tmp_path / 'run' / 'teacher' / 'checkpoints').exists()
  rows = files.read_json(tmp_path / 'run' / 'figure5.json')['rows']
  coverage, = (row['value'] for row in rows
               if (row['arm'], row['metric'], row['reference']) == (arm, 'coverage', 'teacher'))
  assert coverage > 0.8
