"""Teachers, students, losses, distances, optimisers and weights of a user's own, by the command lines."""
import subprocess
import sys

from commands import ROOT, SMOKE, launch, launched, metrics, refused, user_environment
import jax
import numpy as np
import pytest

from examples import own_teacher
from inverse_matching import runs
from inverse_matching.runs import exported

MINE = """
import jax
import jax.numpy as jnp
import optax

from inverse_matching import Gaussian, Student, StudentOutput, autoregressive

zeros = lambda key: jnp.zeros(2)

def broken(event_shape):
  return len(3)

def two_arguments(event_shape):
  return autoregressive(event_shape, zeros, lambda params, x: Gaussian(0 * x, 0 * x))

def a_tuple(event_shape):
  return autoregressive(event_shape, zeros, lambda params, x, cond, key: (0 * x, 0 * x))

def whole_numbers(event_shape):
  return autoregressive(event_shape, lambda key: jnp.arange(3), lambda params, x, cond, key: Gaussian(0 * x, 0 * x))

def functions(event_shape):
  return autoregressive(event_shape, lambda key: {'w': jnp.tanh}, lambda params, x, cond, key: Gaussian(0 * x, 0 * x))

def one_pixel(event_shape):
  return Student(event_shape, zeros, lambda params, z, cond, key: StudentOutput(params[0] + z[:, :1, :1]), False)

def no_log_det(event_shape):
  return Student(event_shape, zeros, lambda params, z, cond, key: StudentOutput(params[0] + z), True)

def one_number(a, b, mask=None):
  return jnp.mean(a - b)

def loss_of_all(teacher, student):
  return lambda student_params, teacher_params, batch: (jnp.mean(batch.x), {})

def loss_alone(teacher, student):
  return lambda student_params, teacher_params, batch: jnp.mean(batch.x, (1, 2, 3))

def no_optimiser(learning_rate):
  return learning_rate
"""
TEACHERS = {
    'two_arguments': ['The conditional must take (params, x, cond, key)'],
    'a_tuple': ['returned a tuple: return Gaussian(mean, log_scale)'],
    'whole_numbers': ['init returned params of type int32', 'which cannot be trained'],
    'functions': ["as params['w']: return a pytree of arrays alone"],
    'none': ["The teacher 'mine:none' cannot be imported"],
}
STUDENTS = {
    '--config.student.name=mine:one_pixel': ['made x of shape [32, 1, 1, 1] from z of [32, 8, 8, 1]'],
    '--config.student.name=mine:no_log_det': ['has has_log_det=True, but log_det is None'],
    '--config.loss.distance=mine:one_number': ["The distance 'mine:one_number' has shape []", 'a number for each example'],
    '--config.loss.name=mine:loss_of_all': ['mine:loss_of_all returned values of shape []', 'return (values [B], {name: '],
    '--config.loss.name=mine:loss_alone': ['mine:loss_alone returned a', 'return (values [B], {name: values [B]})'],
    '--config.optimizer.name=mine:no_optimiser': ["The optimizer 'mine:no_optimiser' returned a function"],
    '--config.loss.distance=l3': ["Unknown distance 'l3' (did you mean 'l2'?)"],
}


def one_is_quick(names):
  """As parameters, of which all but the first are slow; what is refused is tested beside what refuses it too."""
  return [name if i == 0 else pytest.param(name, marks=pytest.mark.slow) for i, name in enumerate(names)]


@pytest.fixture
def first(tmp_path):
  """Code that puts the module `mine` where it is found."""
  (tmp_path / 'modules').mkdir()
  (tmp_path / 'modules' / 'mine.py').write_text(MINE)
  return f'import sys; sys.path.insert(0, {str(tmp_path / "modules")!r})'


@pytest.mark.parametrize('name', one_is_quick(TEACHERS))
def test_wrong_teachers(tmp_path, first, name):
  """One sentence that says what to return; nothing is written."""
  line = refused('train_teacher', *SMOKE, f'--config.teacher.name=mine:{name}', f'--workdir={tmp_path}/run', first=first)
  assert all(word in line for word in TEACHERS[name]), line
  assert not (tmp_path / 'run').exists()


def test_an_error_of_ones_own_keeps_its_traceback(tmp_path, first):
  """It is not the command that is wrong."""
  process = launch('train_teacher', *SMOKE, '--config.teacher.name=mine:broken', f'--workdir={tmp_path}/run', first=first)
  assert process.returncode == 1 and 'Traceback' in process.stderr and 'mine.py' in process.stderr
  assert "TypeError: object of type 'int' has no len()" in process.stderr


@pytest.mark.parametrize('flag', one_is_quick(STUDENTS))
def test_wrong_students(tmp_path, folder, first, flag):
  """The same of students, distances and optimisers."""
  line = refused('distill', *SMOKE, flag, f'--teacher={folder}/teacher', f'--workdir={tmp_path}/run', first=first)
  assert all(word in line for word in STUDENTS[flag]), line
  assert not (tmp_path / 'run' / 'checkpoints').exists()


@pytest.mark.slow
def test_the_examples(tmp_path, folder):
  """A loss, a distance and an optimiser."""
  launched('train_teacher', *SMOKE, '--config.optimizer.name=examples.own_loss:lion', f'--workdir={tmp_path}/teacher')
  launched('distill', *SMOKE, '--config.loss.name=examples.own_loss:pseudo_huber', f'--teacher={folder}/teacher',
           f'--pairs={folder}/pairs', f'--workdir={tmp_path}/loss')
  launched('distill', *SMOKE, '--config.loss.distance=examples.own_loss:log_cosh', f'--teacher={folder}/teacher',
           f'--workdir={tmp_path}/distance')
  first = {name: metrics(tmp_path / name)[0] for name in ('teacher', 'loss', 'distance')}
  # Lion moves every parameter by the rate; the loss has a metric of its own; log cosh is below the square over two.
  num_params = sum(leaf.size for leaf in jax.tree.leaves(runs.load_teacher(tmp_path / 'teacher').params))
  assert 0.5 < first['teacher']['update_norm'] / (0.003 * np.sqrt(num_params)) < 1.1
  assert first['loss']['largest'] > 0
  launched('distill', *SMOKE, f'--teacher={folder}/teacher', f'--workdir={tmp_path}/squares')
  assert 0 < first['distance']['loss'] < 0.5 * metrics(tmp_path / 'squares')[0]['loss']


NAMED = ['--config=configs/digits.py:smoke', '--config.teacher.name=examples.own_teacher:teacher']


def write_weights(path, shift=0.1):
  params = jax.tree.map(lambda leaf: leaf + shift, own_teacher.teacher((8, 8, 1)).init(jax.random.key(0)))
  np.savez(path, **exported.named(params))
  return params


def test_weights_from_elsewhere(tmp_path):
  """Are those of the teacher that comes out, which samples; what does not fit is refused, and nothing is written."""
  params = write_weights(tmp_path / 'w.npz')
  said = launched('import_teacher', *NAMED, f'--weights={tmp_path}/w.npz', f'--workdir={tmp_path}/model').stdout
  assert f'python -m launch.sample --workdir={tmp_path}/model' in said
  read, step = exported.read(tmp_path / 'model', params)
  assert step == 0 and jax.tree.all(jax.tree.map(np.array_equal, read, params))
  launched('sample', f'--workdir={tmp_path}/model', '--num_samples=2', f'--output={tmp_path}/out')
  np.savez(tmp_path / 'wrong.npz', **{**exported.named(params), 'bias': np.zeros(3)})
  line = refused('import_teacher', *NAMED, f'--weights={tmp_path}/wrong.npz', f'--workdir={tmp_path}/other')
  assert 'bias of the weights in' in line and 'has shape [3], and that of the network of the config [64]' in line
  assert not (tmp_path / 'other').exists()


@pytest.mark.slow
def test_students_of_imported_teachers(tmp_path):
  """Pairs, students and numbers, as of any other."""
  write_weights(tmp_path / 'w.npz', shift=0.01)
  launched('import_teacher', *NAMED, f'--weights={tmp_path}/w.npz', f'--workdir={tmp_path}/model')
  launched('make_pairs', f'--teacher={tmp_path}/model', '--num=64', f'--workdir={tmp_path}/pairs')
  launched('distill', *SMOKE, '--config.loss.name=oracle_prediction', f'--teacher={tmp_path}/model',
           f'--pairs={tmp_path}/pairs', f'--workdir={tmp_path}/student')
  launched('evaluate', f'--workdir={tmp_path}/model', '--num_samples=40', f'--output={tmp_path}/numbers')
  assert (tmp_path / 'numbers' / 'evaluation.json').exists()


@pytest.mark.slow
def test_a_table_and_images_without_labels(tmp_path):
  """From the file to numbers and a picture of a student."""
  rng = np.random.default_rng(0)
  np.save(tmp_path / 'images.npy', rng.integers(0, 4, (60, 4, 4)))
  np.save(tmp_path / 'rows.npy', rng.normal(size=(120, 3)) @ rng.normal(size=(3, 3)))
  for config, file in (('arrays:smoke', 'images.npy'), ('table:smoke', 'rows.npy')):
    where, of = tmp_path / file[:4], f'--teacher={tmp_path}/{file[:4]}/teacher'
    launched('train_teacher', f'--config={config}', f'--config.data.path={tmp_path}/{file}', '--config.data.held_out=0.3',
             f'--workdir={where}/teacher')
    launched('distill', f'--config={config}', of, f'--workdir={where}/student')
    said = launched('evaluate', f'--workdir={where}/student', of, '--num_samples=40').stdout
    assert 'two_sample_accuracy' in said and 'label_entropy' not in said and max(map(len, said.splitlines()[:-1])) <= 100
    launched('sample', f'--workdir={where}/student', of, '--num_samples=7')
    with np.load(where / 'student' / 'samples.npz') as samples:
      assert samples['x'].shape == ((7, 4, 4, 1) if file == 'images.npy' else (7, 3))
    assert (where / 'student' / 'samples.png').stat().st_size > 0


def test_nobody_reads_on(folder):
  """As after `| head`."""
  process = subprocess.Popen([sys.executable, '-m', 'launch.status', f'--workdir={folder}'], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, cwd=ROOT, env=user_environment())
  process.stdout.close()
  assert process.stderr.read() == b'' and process.wait() == 1
