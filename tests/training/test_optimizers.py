"""The optimisers, and their learning rates."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching.errors import InputError
from inverse_matching.training.optimizers import make_optimizer

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


def test_muon_evens_out_the_singular_values_of_kernels():
  """A kernel moves along the singular vectors of its gradient, by about the rate times 0.2 sqrt(rows) along each however small
  the gradient is there; a bias as by Adam with Nesterov's momentum."""
  rng = np.random.default_rng(0)
  left, right = (np.linalg.qr(rng.normal(size=(n, 5)))[0] for n in (48, 5))
  kernel = ((left * [1.0, 0.3, 0.1, 0.03, 0.01]) @ right.T).reshape(2, 3, 8, 5).astype(np.float32)
  grads = [{'kernel': jnp.asarray(kernel), 'bias': jnp.asarray([1.0, -2.0])}] * 2
  settings = dict(SETTINGS, steps_per_epoch=1, decay_rate=0.5)
  updates, by_adam = (run_updates(make_optimizer(name=name, **settings), grads) for name in ('muon', 'optax:nadam'))
  for step, update in enumerate(updates):
    along = left.T @ np.asarray(update['kernel']).reshape(48, 5) @ right / (-0.1 * 0.5**step * 0.2 * np.sqrt(48))
    np.testing.assert_allclose(along, np.diag(np.diag(along)), atol=2e-3)
    assert np.all((np.diag(along) > 0.6) & (np.diag(along) < 1.3)), np.diag(along)
    np.testing.assert_array_equal(update['bias'], by_adam[step]['bias'])


def test_clipping_is_by_global_norm():
  """A gradient (3, 4) of norm 5 clipped at 1 keeps its direction; a small one is left alone."""
  optimizer = make_optimizer(name='sgd', **{**SETTINGS, 'grad_clip': 1.0})
  grads = [{'a': jnp.float32(a), 'b': jnp.float32(b)} for a, b in ((3, 4), (0.3, 0))]
  large, small = run_updates(optimizer, grads)
  np.testing.assert_allclose([large['a'], large['b'], small['a']], [-0.06, -0.08, -0.03], rtol=1e-6)


def test_unknown_optimizer():
  """One sentence."""
  with pytest.raises(InputError, match='Unknown optimizer .adamm. .did you mean .adam...: use one of adam, muon, sgd'):
    make_optimizer(name='adamm', **SETTINGS)
  with pytest.raises(InputError, match='Unknown schedule .cosin. .did you mean .cosine...: use one of epochs, cosine'):
    make_optimizer(schedule='cosin', **SETTINGS)


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
