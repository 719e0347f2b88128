"""A run that is stopped anywhere and called again ends with the same numbers."""
import functools
import json
import os
import pathlib
import signal
import time

import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses, random
from inverse_matching.errors import InputError
from inverse_matching.training import checkpoint, loop
from inverse_matching.training.metrics import MEASURED
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state
from inverse_matching.types import Batch

EVENT = (5,)
STEPS_PER_EPOCH, EPOCHS = 4, 3
TEACHER = constructors.dense_teacher(EVENT)
STUDENT = constructors.dense_flow(EVENT)
CONFIG = {
    'optimizer': dict(name='adam', learning_rate=1e-2, decay_rate=0.9),
    'train': dict(batch_size=8, num_epochs=EPOCHS, seed=0, ema_decay=0.9, grad_clip=1.0, log_every_steps=3,
                  evaluate_every_epochs=1, checkpoint_every_epochs=1, keep_checkpoints=2),
}
DATA = np.random.default_rng(0).normal(size=(30, *EVENT)).astype(np.float32)  # 30 / 8: batches span epochs


def prepare(raw):
  return Batch(x=raw['x'], key=random.keys_at(0, raw['position']))


def task(loss_fn=None):
  """Distils by noisy x-reconstruction: every step needs the data order, the noise, the optimiser and the average."""
  loss = losses.make('x_reconstruction', TEACHER, STUDENT, noise_std=0.5)
  return loop.Task('test', loss_fn or loss, loss, STUDENT.init, {'x': DATA}, {'x': DATA[:6] + 1}, prepare,
                   TEACHER.init(jax.random.key(1)))


def fit(workdir, loss_fn=None, devices=1):
  """Trains on `task`."""
  return loop.fit(workdir, task(loss_fn), CONFIG, devices)


def final(workdir):
  """(whole state, metrics without times) at the end of a run."""
  step = checkpoint.latest(workdir)
  state = checkpoint.load(workdir, step, reference_state())
  rows = [json.loads(line) for line in (pathlib.Path(workdir) / 'metrics.jsonl').read_text().splitlines()]
  strip = lambda row: {k: v for k, v in row.items() if k not in MEASURED}
  return jax.device_get(state), [strip(row) for row in rows]


def reference_state():
  optimizer = make_optimizer(steps_per_epoch=STEPS_PER_EPOCH, grad_clip=1.0, **CONFIG['optimizer'])
  return jax.eval_shape(lambda key: init_state(STUDENT.init(key), optimizer), jax.random.key(0))


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  """A run that nothing stops."""
  workdir = tmp_path_factory.mktemp('uninterrupted')
  ema = fit(workdir)
  return workdir, jax.device_get(ema), *final(workdir)


def test_the_rate_is_that_of_the_steps(tmp_path, monkeypatch):
  """Not of held-out losses between them, one of which is in a window of three steps here, and not in all."""
  pause = 1.0
  monkeypatch.setattr(loop, '_held_out_loss', lambda task, devices: lambda params, teacher_params: time.sleep(pause) or 1.0)
  fit(tmp_path)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  rates = [row['examples_per_second'] for row in rows if 'examples_per_second' in row]
  assert len(rates) == STEPS_PER_EPOCH * EPOCHS / 3 and min(rates[1:]) > 3 * 8 / pause  # the first compiles


def assert_same(workdir, ema, uninterrupted):
  _, expected_ema, expected_state, expected_rows = uninterrupted
  state, rows = final(workdir)
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(ema), expected_ema)
  jax.tree.map(np.testing.assert_array_equal, state, expected_state)
  assert rows == expected_rows


class Killed(Exception):
  """Stands for kill -9: nothing is saved."""


def at_step(monkeypatch, step, action):
  """Calls action() when fit has done `step` steps in all."""
  update, done = loop.Progress.update, []

  def counting(self, count=1, **numbers):
    update(self, count, **numbers)
    done.append(count)
    if self._done == step:
      action()

  monkeypatch.setattr(loop.Progress, 'update', counting)
  return done


def kill():
  raise Killed


def test_the_run_is_a_run(uninterrupted):
  """All steps are made, logged where they should be, and the loss falls: the other tests compare something."""
  workdir, _, state, rows = uninterrupted
  total = STEPS_PER_EPOCH * EPOCHS
  assert int(state.step) == total and checkpoint.steps(workdir) == [total - STEPS_PER_EPOCH, total]
  assert [row['step'] for row in rows if 'loss' in row] == [3, 6, 9, 12]
  held_out = [row['held_out_loss'] for row in rows if 'held_out_loss' in row]
  assert [row['step'] for row in rows if 'held_out_loss' in row] == [4, 8, 12]
  assert held_out[0] > held_out[1] > held_out[2]
  assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(state.ema)))


def test_the_seed_decides_the_first_parameters_and_the_order(tmp_path):
  """At a rate of zero the first parameters stay: those that init makes of the seed; batches of another seed are others."""
  still = {**CONFIG, 'optimizer': dict(CONFIG['optimizer'], learning_rate=0.0)}
  firsts = []
  for seed in (0, 3):
    config = {**still, 'train': dict(CONFIG['train'], seed=seed, num_epochs=1)}
    params = loop.fit(tmp_path / str(seed), task(), config, 1)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), params, STUDENT.init(jax.random.key(seed)))
    firsts.append(loop._stream(task(), config)[0]['x'])
  assert not np.array_equal(*firsts)


def test_the_held_out_loss_is_that_of_the_average(uninterrupted):
  """By hand, with the noise of positions that training does not reach: 2^32 - 1 and those before."""
  _, ema, _, rows = uninterrupted
  of_test = task()
  positions = np.array([2**32 - 1 - i for i in range(6)], np.uint32)
  batch = prepare({**of_test.held_out, 'position': positions})
  loss, _ = jax.jit(of_test.evaluation_loss_fn)(ema, of_test.teacher_params, batch)
  np.testing.assert_allclose(rows[-1]['held_out_loss'], np.mean(loss), rtol=1e-6)


def test_progress_and_schedule_end_with_the_training(tmp_path):
  """The share of all updates that are made, 1 in the held-out loss; half a cosine over all of them, from gradients of one."""
  def loss(params, teacher_params, batch):
    return params + 0 * batch.progress, {'progress': batch.progress}

  def evaluation_loss(params, teacher_params, batch):
    return 3 * batch.progress, {}

  total = STEPS_PER_EPOCH * EPOCHS
  config = {'optimizer': dict(name='sgd', learning_rate=0.5, schedule='cosine'),
            'train': {**CONFIG['train'], 'ema_decay': 0.0, 'log_every_steps': 1}}
  rated = loop.Task('test', loss, evaluation_loss, lambda key: jnp.zeros(()), {'x': DATA}, {'x': DATA[:6]}, prepare)
  ends_at = loop.fit(tmp_path, rated, config, 1)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  steps = np.arange(total)
  np.testing.assert_allclose([row['progress'] for row in rows if 'progress' in row], steps / total, rtol=1e-6)
  assert [row['held_out_loss'] for row in rows if 'held_out_loss' in row] == [3.0] * EPOCHS
  np.testing.assert_allclose(ends_at, -0.5 * np.sum((1 + np.cos(np.pi * steps / total)) / 2), rtol=1e-5)


@pytest.mark.parametrize('step', [2, 6, 8])
def test_killed_run_goes_on(tmp_path, monkeypatch, uninterrupted, step):
  """Killed before the first checkpoint, between two, and just before one is written: the same bits at the end."""
  with monkeypatch.context() as patch:
    at_step(patch, step, kill)
    with pytest.raises(Killed):
      fit(tmp_path)
  assert checkpoint.latest(tmp_path) == {2: None, 6: 4, 8: 4}[step]
  assert_same(tmp_path, fit(tmp_path), uninterrupted)


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_goes_on(tmp_path, monkeypatch, uninterrupted, signum):
  """The step is finished and saved, the sentence says so; called again, nothing is repeated."""
  with monkeypatch.context() as patch:
    at_step(patch, 5, lambda: os.kill(os.getpid(), signum))
    with pytest.raises(loop.Stopped, match='Stopped at step 5; the state is saved') as stopped:
      fit(tmp_path)
  assert stopped.value.signum == signum
  assert checkpoint.latest(tmp_path) == 5
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, 'the handlers stay behind'
  done = at_step(monkeypatch, -1, None)
  ema = fit(tmp_path)
  assert len(done) == STEPS_PER_EPOCH * EPOCHS - 5
  # A checkpoint more was written, and nothing else differs.
  assert_same(tmp_path, ema, uninterrupted)


def test_damaged_checkpoint_goes_back_further(tmp_path, monkeypatch, uninterrupted, caplog):
  """The last checkpoint altered: from the one before, to the same bits."""
  with monkeypatch.context() as patch:
    at_step(patch, 10, kill)
    with pytest.raises(Killed):
      fit(tmp_path)
  path = max((p for p in (tmp_path / 'checkpoints' / '00000008').rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
  path.write_bytes(path.read_bytes()[:-3])
  ema = fit(tmp_path)
  assert 'step 8' in caplog.text and 'damaged' in caplog.text
  assert_same(tmp_path, ema, uninterrupted)


def test_a_finished_run_does_nothing(uninterrupted, monkeypatch):
  """The same average comes back, without a step and without touching a file."""
  workdir, ema, *_ = uninterrupted
  times = {p: p.stat().st_mtime_ns for p in workdir.rglob('*') if p.is_file()}
  monkeypatch.setattr(loop, 'map_step', lambda *args: pytest.fail('compiled a step'))
  again = fit(workdir)
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(again), ema)
  assert times == {p: p.stat().st_mtime_ns for p in workdir.rglob('*') if p.is_file()}


def test_more_devices_after_a_stop(tmp_path, monkeypatch, uninterrupted):
  """Begun on one device and finished on eight: the same numbers up to rounding."""
  with monkeypatch.context() as patch:
    at_step(patch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(loop.Stopped):
      fit(tmp_path, devices=1)
  ema = jax.device_get(fit(tmp_path, devices=8))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ema, uninterrupted[1])


def poisoned(step):
  """The loss of `fit`, not finite from that step on. The key of the first example tells the step."""
  loss = losses.make('x_reconstruction', TEACHER, STUDENT, noise_std=0.5)
  bad = jax.random.key_data(random.keys_at(0, np.arange(8 * step, 8 * step + 8, dtype=np.uint32)))

  def loss_fn(student_params, teacher_params, batch):
    value, parts = loss(student_params, teacher_params, batch)
    here = jnp.any(jnp.all(jax.random.key_data(batch.key)[:, None] == bad[None], -1))
    return jnp.where(here, jnp.nan, value), parts

  return loss_fn


def test_loss_that_is_not_finite(tmp_path, monkeypatch, uninterrupted):
  """The sentence names the step and what to change; the state before it is saved, and is the right one."""
  with pytest.raises(loop.NotFinite, match='not finite at step 6 .*last good state is saved.*learning_rate') as error:
    fit(tmp_path, poisoned(6))
  assert error.value.variable == 'JAX_DEBUG_NANS'
  assert checkpoint.latest(tmp_path) == 6
  file = tmp_path / 'checkpoints' / '00000006.json'
  before = file.stat()
  with pytest.raises(InputError, match='not finite at step 6'):
    fit(tmp_path, poisoned(6))  # again: the same sentence, nothing lost
  assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # not written anew
  assert_same(tmp_path, fit(tmp_path), uninterrupted)  # without the poison it goes on from the saved state


def test_not_finite_at_the_first_step(tmp_path):
  """There is a state to look at even then."""
  with pytest.raises(InputError, match='not finite at step 0'):
    fit(tmp_path, poisoned(0))
  state, rows = final(tmp_path)
  assert int(state.step) == 0 and rows == []
  jax.tree.map(np.testing.assert_array_equal, state.params, jax.device_get(STUDENT.init(jax.random.key(0))))


def test_a_microbatch_that_does_not_divide(tmp_path):
  """Is refused, by what a device has of a batch; one that does is the same training."""
  of = lambda microbatch: {**CONFIG, 'train': {**CONFIG['train'], 'microbatch': microbatch}}
  with pytest.raises(InputError, match='config.train.microbatch is 3, and a device has 8 examples of a batch: take a divisor'):
    loop.check(tmp_path / 'none', task(), of(3), 1)
  whole, parts = (loop.fit(tmp_path / str(size), task(), of(size), 1) for size in (8, 2))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), whole, parts)


def test_data_that_vanish(tmp_path, monkeypatch, uninterrupted):
  """The state is saved and the sentence says what to do; with the data back, the same bits."""
  read = loop.Stream.__getitem__

  def gone(self, step):
    if step == 6:
      raise OSError(5, 'Input/output error')
    return read(self, step)

  with monkeypatch.context() as patch:
    patch.setattr(loop.Stream, '__getitem__', gone)
    for _ in range(2):
      with pytest.raises(InputError, match='The training data of step 6 cannot be read .*Input/output error.*: put them back'):
        fit(tmp_path)
      assert checkpoint.latest(tmp_path) == 6
  assert_same(tmp_path, fit(tmp_path), uninterrupted)
