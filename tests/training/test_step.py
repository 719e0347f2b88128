"""The average of parameters, and the step."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inverse_matching.runtime.devices import map_step, replicate
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import ema_update, init_state, make_train_step
from inverse_matching.types import Batch


@pytest.mark.parametrize('decay', [0.0, 0.5, 0.999])
def test_ema_warms_up(decay):
  """decay_t = min(decay, (1 + t) / (10 + t)) against float64; decay 0 is the last value."""
  values = np.random.default_rng(0).normal(size=(40, 2))
  ema, exact = {'a': jnp.zeros(2)}, np.zeros(2)
  for t, value in enumerate(values):
    ema = ema_update(ema, {'a': jnp.asarray(value, jnp.float32)}, jnp.int32(t), decay)
    rate = min(decay, (1 + t) / (10 + t))
    exact = rate * exact + (1 - rate) * value
  np.testing.assert_allclose(ema['a'], exact, rtol=1e-5, atol=1e-7)
  if not decay:
    np.testing.assert_allclose(ema['a'], values[-1], rtol=1e-6)


def quadratic(params, target, batch):
  """0.5 |params - target|^2 for each example, plus x: nan where x is."""
  value = 0.5 * jnp.sum(jnp.square(params['w'] - target['w'])) + batch.x
  return value, {'part': 2 * batch.x}


def make_step(optimizer=None, ema_decay=0.999):
  optimizer = optimizer or optax.sgd(0.1)
  step = make_train_step(quadratic, optimizer, ema_decay=ema_decay, prepare=lambda raw: Batch(x=raw['x']))
  state = init_state({'w': jnp.array([1.0, -2.0])}, optimizer)
  return map_step(step, 2), *replicate((state, {'w': jnp.array([0.5, 0.5])}), 2)


def test_step_against_a_closed_form():
  """SGD on a quadratic: the new parameters, the average, and every metric."""
  step, state, target = make_step()
  new, metrics = step(state, target, {'x': np.array([1.0, 2.0, 3.0, 6.0], np.float32)})
  np.testing.assert_allclose(new.params['w'], [0.95, -1.75], rtol=1e-6)
  np.testing.assert_allclose(new.ema['w'], [0.1 * 1.0 + 0.9 * 0.95, 0.1 * -2.0 + 0.9 * -1.75], rtol=1e-6)
  assert int(new.step) == 1
  expected = {'loss': 0.5 * (0.25 + 6.25) + 3, 'part': 6, 'grad_norm': np.hypot(0.5, 2.5), 'param_norm': np.hypot(0.95, 1.75),
              'update_norm': 0.1 * np.hypot(0.5, 2.5)}
  assert set(metrics) == set(expected)
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_not_applied(bad):
  """State, average, optimiser and step stay as they were, bit for bit; the metrics show why."""
  step, state, target = make_step(optax.adam(0.1))
  state, _ = step(state, target, {'x': np.ones(4, np.float32)})
  before = jax.device_get(state)
  after, metrics = step(state, target, {'x': np.array([1.0, 2.0, bad, 4.0], np.float32)})
  jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(after))
  assert not np.isfinite(metrics['loss'])


def test_the_average_is_not_an_alias():
  """init_state copies: the step donates its arguments."""
  params = {'w': jnp.ones(2)}
  state = init_state(params, optax.sgd(0.1))
  assert state.ema['w'] is not params['w']
  assert state.ema['w'].unsafe_buffer_pointer() != params['w'].unsafe_buffer_pointer()


def test_progress_is_the_share_of_the_updates_made():
  """Of the step that is about to be made, for every example; none where the number of updates is not told."""
  seen = lambda params, teacher_params, batch: (batch.progress * jnp.sum(params), {})
  batch = lambda raw: Batch(x=raw['x'], key=jax.random.split(jax.random.key(0), 4))
  optimizer = make_optimizer(learning_rate=0.0, steps_per_epoch=1, grad_clip=None, decay_rate=1.0)
  step = map_step(make_train_step(seen, optimizer, ema_decay=0.0, prepare=batch, num_steps=8), 1)
  state = replicate(init_state(jnp.ones(1), optimizer), 1)
  found = []
  for _ in range(3):
    state, metrics = step(state, None, {'x': np.zeros((4, 1), np.float32)})
    found.append(float(metrics['loss']))
  assert found == [0.0, 0.125, 0.25]
