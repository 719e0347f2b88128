"""What a teacher and a student are trained on and judged by while they train: the task that they hand to the loop."""
import constructors
import jax
import numpy as np
import pytest
import small_run

from inverse_matching import runs
from inverse_matching.data import catalogue
from inverse_matching.data.images import dataset as images
from inverse_matching.runs import models
from inverse_matching.training import checkpoint
from inverse_matching.types import Batch


@pytest.fixture
def tasks(monkeypatch):
  """The tasks that were to be trained; none is, and its parameters are the initial ones."""
  found = []

  def fit(workdir, task, config, devices):
    found.append(task)
    return task.init(jax.random.key(0))

  monkeypatch.setattr(models.loop, 'fit', fit)
  monkeypatch.setattr(models.loop, 'check', lambda workdir, task, config, devices: None)
  return found


def assert_judged_by_validation(task, source):
  """The validation part is not the held-out one, and is that of the task; the training examples are without both."""
  assert len({len(part['pixels']) for part in (source.train, source.validation, source.held_out)}) == 3
  np.testing.assert_array_equal(task.held_out['pixels'], source.validation['pixels'])
  np.testing.assert_array_equal(task.examples['pixels'], source.train['pixels'])


def test_a_teacher_is_judged_by_the_validation_part(tmp_path, tasks):
  """Held-out images stay unseen until the end, whatever is chosen by the course of the training."""
  data = {'name': 'digits', 'levels': 17, 'logit_lambda': 0.01, 'num_validation': 100}
  config = {**small_run.CONFIG, 'data': data, 'teacher': {'name': 'constructors:dense_teacher'}}
  models.train_teacher(config, tmp_path / 'teacher')
  task, = tasks
  assert_judged_by_validation(task, catalogue.load(data))


@pytest.fixture
def run():
  """A teacher of 2 x 2 images, of which some are for validation."""
  rng = np.random.default_rng(0)
  splits = [images.Split(rng.integers(0, small_run.LEVELS, (n, *small_run.EVENT)).astype(np.uint8)) for n in (24, 8)]
  source = images.source(images.Images(*splits, small_run.LEVELS), name='tiny', logit_lambda=0.01, num_validation=5)
  params = small_run.RUN.teacher.init(jax.random.key(0))
  return runs.TeacherRun({}, source.space, small_run.RUN.teacher, params, checkpoint.tree_hash(params), lambda: source)


def test_a_student_is_judged_by_the_validation_part(tmp_path, tasks, run):
  """The same of a student, whose data are the teacher's."""
  models.distill(small_run.CONFIG, tmp_path / 'student', run)
  task, = tasks
  assert_judged_by_validation(task, run.source)


def test_a_student_is_judged_without_dropout(tmp_path, tasks, run):
  """The training loss depends on the keys of its batch, the evaluation loss does not."""
  student = {'name': 'resnet', 'num_blocks': 1, 'num_filters': 4, 'dropout': 0.5}
  models.distill({**small_run.CONFIG, 'student': student}, tmp_path / 'student', run)
  task, = tasks
  params = constructors.random_params(task.init, 1.0)
  x = np.random.default_rng(1).normal(size=(6, *small_run.EVENT)).astype(np.float32)

  def under(loss_fn):
    loss = jax.jit(lambda keys: loss_fn(params, run.params, Batch(x=x, key=keys))[0])
    return [loss(jax.random.split(jax.random.key(seed), len(x))) for seed in (0, 1)]

  np.testing.assert_array_equal(*under(task.evaluation_loss_fn))
  assert np.all(np.abs(np.subtract(*under(task.loss_fn))) > 1e-6)


@pytest.mark.parametrize('order,is_told', [(None, False), ('raster', False), ('reversed', True)])
def test_a_student_of_another_order_is_told(tmp_path, tasks, run, caplog, order, is_told):
  """It cannot be T^-1, and would train without a word."""
  student = {'name': 'flow', 'num_blocks': 1, 'num_filters': 2, 'num_levels': 1, 'order': order}
  models.distill({**small_run.CONFIG, 'student': student}, tmp_path / 'student', run)
  assert ('the teacher generates in another order' in caplog.text) == is_told
