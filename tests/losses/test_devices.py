"""Every objective takes the same step on one device and on eight: an example sees the same noise wherever it lies."""
import jax
import numpy as np
import pytest

from benchmarks import steps
from configs import digits
from inverse_matching import losses
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state

BATCH = 16
SMOKE = digits.get_config('smoke').to_dict()
ARMS = {config['loss']['name']: arm for arm, config in reversed(SMOKE['arms'].items())}  # the first of each objective
QUICK = ('energy_score', 'flow_matching')


def updated(arm, num_devices):
  """The parameters after an update by plain gradient descent."""
  config = digits.get_config(f'smoke,{arm}').to_dict()
  config['optimizer'] = dict(name='sgd', learning_rate=0.1, decay_rate=1.0)
  step, (_, _, raw) = steps.training_step(config, False, BATCH, num_devices)
  teacher, student = steps.models(config)
  optimizer = make_optimizer(steps_per_epoch=1, grad_clip=config['train']['grad_clip'], **config['optimizer'])
  rng = np.random.default_rng(0)
  batch = {name: rng.integers(0, 17, leaf.shape).astype(leaf.dtype) if name == 'pixels' else
           np.arange(BATCH, dtype=np.uint32) if name == 'position' else rng.normal(size=leaf.shape).astype(leaf.dtype)
           for name, leaf in raw.items()}
  params = jax.device_get(student.init(jax.random.key(1)))  # the step donates what it is given
  state = init_state(jax.tree.map(jax.numpy.asarray, params), optimizer)
  state, numbers = step(state, teacher.init(jax.random.key(0)), batch)
  assert np.isfinite(float(np.ravel(numbers['loss'])[0]))
  return params, jax.device_get(state.params)


@pytest.mark.parametrize('name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                  for name in losses.LOSSES if name in ARMS])
def test_the_same_step(name):
  """Up to rounding, far below the step itself."""
  before, one = updated(ARMS[name], 1)
  _, eight = updated(ARMS[name], 8)
  for start, a, b in zip(*(jax.tree.leaves(tree) for tree in (before, one, eight))):
    np.testing.assert_allclose(a, b, atol=1e-5 + 1e-3 * np.max(np.abs(a - start)))
  assert max(np.max(np.abs(a - start)) for start, a in zip(jax.tree.leaves(before), jax.tree.leaves(one))) > 1e-3
