"""The optimiser, the average of parameters, and the step."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inverse_matching.errors import InputError
from inverse_matching.runtime.devices import map_step, replicate
from inverse_matching.training.step import ema_update, init_state, make_optimizer, make_train_step
from inverse_matching.types import Batch

SETTINGS = dict(learning_rate=0.1, decay_rate=0.95, steps_per_epoch=3, grad_clip=None)


def run_updates(optimizer, grads):
  params = jax.tree.map(jnp.zeros_like, grads[0])
  state, updates = optimizer.init(params), []
  for grad in grads:
    update, state = optimizer.update(grad, state, params)
    updates.append(update)
  return updates


def test_schedule_is_a_staircase_over_epochs():
  """SGD with gradient one moves by minus the learning rate: 0.95 for each whole epoch."""
  updates = run_updates(make_optimizer(name='sgd', **SETTINGS), [jnp.ones(())] * 10)
  np.testing.assert_allclose(updates, [-0.1 * 0.95**(step // 3) for step in range(10)], rtol=1e-6)


@pytest.mark.parametrize('schedule', ['epochs', 'cosine'])
@pytest.mark.parametrize('warmup', [None, 2.0])
def test_schedules_and_their_rise(schedule, warmup):
  """SGD with gradient one moves by minus the learning rate: half a cosine to zero, or the staircase; in proportion at first."""
  optimizer = make_optimizer(name='sgd', schedule=schedule, warmup_epochs=warmup, num_steps=10, **SETTINGS)
  down = [0.1 * (1 + np.cos(np.pi * step / 10)) / 2 if schedule == 'cosine' else 0.1 * 0.95**(step // 3) for step in range(10)]
  rise = [1.0 if warmup is None else min(1.0, (step + 1) / 6) for step in range(10)]
  np.testing.assert_allclose(run_updates(optimizer, [jnp.ones(())] * 10), -np.multiply(down, rise), rtol=1e-5)


@pytest.mark.parametrize('cooldown', [1.0, 2.0])
def test_a_rate_that_falls_at_the_end(cooldown):
  """In a straight line that would be at zero after the last update, and until then as it would be without."""
  optimizer = make_optimizer(name='sgd', cooldown_epochs=cooldown, num_steps=10, **{**SETTINGS, 'decay_rate': 1.0})
  length = 3 * cooldown
  expected = [0.1 * min(1.0, (10 - step) / length) for step in range(10)]
  np.testing.assert_allclose(run_updates(optimizer, [jnp.ones(())] * 10), -np.asarray(expected), rtol=1e-6)


def test_adam_is_adam():
  """Against the published recursion in float64."""
  grads = np.random.default_rng(0).normal(size=8).astype(np.float32)
  updates = run_updates(make_optimizer(name='adam', **SETTINGS), list(jnp.asarray(grads)))
  m = v = 0.0
  for t, g in enumerate(grads.astype(np.float64)):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    step = (m / (1 - 0.9**(t + 1))) / (np.sqrt(v / (1 - 0.999**(t + 1))) + 1e-8)
    np.testing.assert_allclose(updates[t], -0.1 * 0.95**(t // 3) * step, rtol=1e-4)


def test_clipping_is_by_global_norm():
  """A gradient (3, 4) of norm 5 clipped at 1 keeps its direction; a small one is left alone."""
  optimizer = make_optimizer(name='sgd', **{**SETTINGS, 'grad_clip': 1.0})
  grads = [{'a': jnp.float32(a), 'b': jnp.float32(b)} for a, b in ((3, 4), (0.3, 0))]
  large, small = run_updates(optimizer, grads)
  np.testing.assert_allclose([large['a'], large['b'], small['a']], [-0.06, -0.08, -0.03], rtol=1e-6)


def test_unknown_optimizer():
  """One sentence."""
  with pytest.raises(InputError, match='Unknown optimizer .adamm. .did you mean .adam...: use one of adam, sgd'):
    make_optimizer(name='adamm', **SETTINGS)
  with pytest.raises(InputError, match='Unknown schedule .cosin. .did you mean .cosine...: use one of epochs, cosine'):
    make_optimizer(schedule='cosin', **SETTINGS)


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


def test_an_optimiser_of_ones_own_and_settings_of_another():
  """Lion takes the schedule; Adam takes its b1; a setting that it has not is refused."""
  params, gradient = {'a': jnp.ones(3)}, {'a': jnp.asarray([1.0, -2.0, 3.0])}

  def updates(**settings):
    optimizer = make_optimizer(learning_rate=0.1, steps_per_epoch=1, grad_clip=None, decay_rate=0.5, **settings)
    state = optimizer.init(params)
    first, state = optimizer.update(gradient, state, params)
    return first['a'], optimizer.update(gradient, state, params)[0]['a']

  first, second = updates(name='examples.own_loss:lion', weight_decay=0.0)
  np.testing.assert_allclose(first, [-0.1, 0.1, -0.1], rtol=1e-5)
  np.testing.assert_allclose(second, [-0.05, 0.05, -0.05], rtol=1e-5)
  np.testing.assert_allclose(updates(name='adam', b1=0.0)[0], [-0.1, 0.1, -0.1], rtol=1e-4)
  with pytest.raises(InputError, match="config.optimizer does not fit 'sgd': .*b1.*; its own fields are"):
    updates(name='sgd', b1=0.0)
