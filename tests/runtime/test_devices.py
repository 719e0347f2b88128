"""How many devices there are, and that results do not depend on it."""
import types

import chex
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inverse_matching import losses, random, students
from inverse_matching.errors import InputError
from inverse_matching.runtime import devices
from inverse_matching.runtime.devices import Step, choose_devices, map_examples, map_step, replicate
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Batch

EVENT = (3, 3, 1)


def test_there_are_eight_devices():
  """Otherwise this file proves nothing."""
  assert jax.local_device_count() == 8


def sgd_run(num_devices, num_steps=3, dtype=None, microbatch=None):
  """Losses and parameters of a few SGD steps of a network with dropout, on noisy reconstructions."""
  teacher = constructors.dense_teacher(EVENT)
  student = students.make('resnet', EVENT, num_blocks=1, num_filters=4, dropout=0.5, dtype=dtype)
  loss_fn = losses.make('x_reconstruction', teacher, student, noise_std=0.3)
  prepare = lambda raw: Batch(x=raw['x'], key=random.keys_at(0, raw['position']))
  optimizer = optax.sgd(0.1)
  step = map_step(make_train_step(loss_fn, optimizer, ema_decay=0.9, prepare=prepare), num_devices,
                  microbatch=microbatch)
  state = init_state(constructors.random_params(student.init, 1.0), optimizer)
  state, teacher_params = replicate((state, teacher.init(jax.random.key(1))), num_devices)
  rng, metrics = np.random.default_rng(0), []
  for i in range(num_steps):
    positions = np.arange(16 * i, 16 * (i + 1), dtype=np.uint32)
    batch = {'x': rng.normal(size=(16, *EVENT)).astype(np.float32), 'position': positions}
    state, values = step(state, teacher_params, batch)
    metrics.append(jax.device_get(values))
  return jax.device_get(state), metrics


def test_one_device_equals_eight():
  """The same losses, gradient norms and parameters under SGD, which a wrong scale of the gradient cannot survive."""
  (state, one), (other_state, eight) = sgd_run(1), sgd_run(8)
  for a, b in zip(one, eight):
    for name in a:
      np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=name)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state, other_state)
  assert one[0]['grad_norm'] > 1e-2 and one[0]['loss'] != one[-1]['loss']


@pytest.mark.parametrize('num_devices,microbatch', [(1, 16), (1, 4), (2, 2), (8, 1)])
def test_microbatches_add_up(num_devices, microbatch):
  """To the same losses, gradient norms and parameters; a microbatch of all examples to the same bits."""
  (state, one), (other_state, parts) = sgd_run(num_devices), sgd_run(num_devices, microbatch=microbatch)
  rtol = 0 if microbatch * num_devices == 16 else 1e-4
  for a, b in zip(one, parts):
    assert set(a) == set(b)
    for name in a:
      np.testing.assert_allclose(a[name], b[name], rtol=min(rtol, 1e-5), err_msg=name)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 100), state, other_state)


@pytest.mark.parametrize('shape,share,expected', [
    ((28, 28, 1), 64, 4), ((28, 28, 1), 36, 4), ((28, 28, 1), 17, 1), ((8, 8, 1), 64, 64), ((32, 32, 3), 64, 4),
    ((200, 200, 3), 64, 1), ((5,), 64, 64)])
def test_the_microbatch_of_a_cpu(shape, share, expected, monkeypatch):
  """The largest divisor with at most so many pixels; all on an accelerator."""
  batch = {'x': np.zeros((2 * share, *shape), np.uint8), 'position': np.zeros(2 * share)}
  assert devices.choose_microbatch(batch, 2) == expected
  assert devices.choose_microbatch(batch, 2, {'option': True}) == share
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert devices.choose_microbatch(batch, 2) == share


def test_one_device_equals_two_in_bfloat16():
  """Up to its rounding, which each device does for itself."""
  (state, one), (other_state, two) = sgd_run(1, dtype='bfloat16'), sgd_run(2, dtype='bfloat16')
  for a, b in zip(one, two):
    for name in a:
      np.testing.assert_allclose(a[name], b[name], rtol=0.02, err_msg=name)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.02, atol=2e-3), state, other_state)


def test_the_step_is_traced_once():
  """Three steps with the replicated state: one trace, and no second one for the state that comes back."""
  chex.clear_trace_counter()
  count = []

  @chex.assert_max_traces(n=1)
  def loss_fn(params, teacher_params, batch):
    count.append(1)
    return jnp.square(params['w'] - teacher_params['w'] + batch.x), {}

  optimizer = optax.adam(0.1)
  step = map_step(make_train_step(loss_fn, optimizer, ema_decay=0.9, prepare=lambda raw: Batch(**raw)), 8)
  state, teacher_params = replicate(
      (init_state({'w': jnp.zeros(())}, optimizer), {'w': jnp.ones(())}), 8)
  for i in range(3):
    state, _ = step(state, teacher_params, {'x': np.full(8, i, np.float32)})
    jax.block_until_ready(state)
  assert len(count) == 1 and int(state.step) == 3


def test_state_has_no_device_axis():
  """What comes back from a mapped step has the shapes of what went in, on any number of devices."""
  state = {'a': jnp.zeros(()), 'b': jnp.ones((3, 2))}
  for n in (1, 8):
    step = map_step(Step(lambda s, c, b: jnp.mean(b), lambda s, mean: (jax.tree.map(lambda v: v + mean, s), {})), n)
    new, _ = step(replicate(state, n), None, np.arange(8, dtype=np.float32))
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    np.testing.assert_allclose(new['b'], 4.5)


@pytest.mark.parametrize('constants', [None, (), {}])
def test_arguments_without_leaves(constants):
  """pmap does not map the first leaf after an empty argument: every leaf of the batch must still be split."""
  step = map_step(Step(lambda s, c, b: {k: jnp.mean(v) for k, v in b.items()}, lambda s, means: (s, means)), 8)
  batch = {'x': np.arange(16, dtype=np.float32), 'y': np.arange(16, 32, dtype=np.float32)}
  _, metrics = step(replicate(jnp.zeros(()), 8), constants, batch)
  assert {k: float(v) for k, v in metrics.items()} == {'x': 7.5, 'y': 23.5}
  run = map_examples(lambda _, x, y: {'sum': x + y, 'count': jnp.full(len(x), len(x))}, 8, 1)
  out = run(constants, batch['x'], batch['y'])
  np.testing.assert_array_equal(out['sum'], batch['x'] + batch['y'])
  np.testing.assert_array_equal(out['count'], 1)


def test_map_examples_has_the_same_bits_everywhere():
  """1, 2 and 8 devices, counts that do not divide: an example's result is bit for bit the same, in order."""
  case = constructors.teacher_case('dense')
  x = np.random.default_rng(0).normal(size=(53, 6)).astype(np.float32)
  function = lambda params, x, number: {'z': case.model.x_to_z(params, x)[0], 'number': number}
  results = {}
  for n in (1, 2, 8):
    run = map_examples(function, n, 4)
    for count in (53, 8, 1):
      results[n, count] = run(case.params, x[:count], np.arange(count))
  whole = results[1, 53]
  np.testing.assert_array_equal(whole['number'], np.arange(53))
  np.testing.assert_allclose(whole['z'], case.model.x_to_z(case.params, x)[0], rtol=1e-5, atol=1e-5)
  for (_, count), result in results.items():
    np.testing.assert_array_equal(result['z'], whole['z'][:count])
    np.testing.assert_array_equal(result['number'], np.arange(count))


def test_map_examples_reports_progress():
  """The counts add up to the number of examples, padding left out."""
  seen = []
  map_examples(lambda _, x: x, 2, 4)(None, np.zeros((19, 1)), progress=seen.append)
  assert seen == [8, 8, 3]


def test_map_examples_leaves_out_devices_that_would_repeat():
  """A chunk of few examples is computed once; a later call with less to do takes the program that is there."""
  traced, called = [], []

  def function(_, x):
    traced.append(len(x))
    return jax.pure_callback(lambda x: called.append(len(x)) or x, jax.typeof(x), x)

  run = map_examples(function, 8, 4)
  for num, devices_used in ((3, 1), (9, 3), (70, 8), (2, 1), (17, 8)):
    called.clear()
    np.testing.assert_array_equal(run(None, np.arange(num)), np.arange(num))
    assert called == [4] * (devices_used * -(-num // (4 * devices_used))), num
  assert len(traced) == 3


@pytest.mark.parametrize('shape,taken', [
    ((), 64), ((2,), 64), ((8, 8, 1), 64), ((28, 28, 1), 5), ((32, 32, 3), 4), ((9000,), 1)])
def test_a_cpu_takes_as_many_images_as_stay_in_its_cache(shape, taken):
  """64 of what is small, and at least one."""
  seen = []
  map_examples(lambda _, x: seen.append(x['x'].shape) or x['x'], 1)(None, {'x': np.zeros((70, *shape)), 'i': np.arange(70)})
  assert seen == [(taken, *shape)]


@pytest.mark.parametrize('backend,taken', [('cpu', devices.DEFAULT_CHUNK), ('gpu', devices.ACCELERATOR_CHUNK)])
def test_an_accelerator_takes_more_examples_at_once(monkeypatch, backend, taken):
  """Where no number is asked for; the function is called with that many."""
  monkeypatch.setattr(devices.jax, 'default_backend', lambda: backend)
  seen = []
  map_examples(lambda _, x: seen.append(len(x)) or x, 1)(None, np.zeros(3))
  assert seen == [taken]
  seen.clear()
  devices.map_chunks(lambda _, x: seen.append(len(x)) or x, 1)(None, np.zeros(3))
  assert seen == [taken]


@pytest.mark.parametrize('cores,made', [(1, 1), (2, 2), (8, 8), (64, 8)])
def test_a_device_for_each_core(monkeypatch, cores, made):
  """As many as the process may use, up to eight, unless the environment or the caller says how many."""
  monkeypatch.setattr(devices.os, 'sched_getaffinity', lambda pid: set(range(cores)), raising=False)
  monkeypatch.delenv('XLA_FLAGS', raising=False)

  def number(given=None, environment=-1):
    told = []
    config = types.SimpleNamespace(jax_num_cpu_devices=environment, update=lambda name, value: told.append((name, value)))
    monkeypatch.setattr(devices.jax, 'config', config)
    devices.make_cpu_devices(given)
    return dict(told).get('jax_num_cpu_devices')

  assert number() == made and number(given=3) == 3 and number(given=20) == 20
  assert number(environment=5) is None and number(given=2, environment=5) == 2
  monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=4')
  assert number() is None and number(given=2) == 2


def test_choose_devices():
  """The largest number that divides the batch, or the one asked for, or a sentence."""
  assert [choose_devices(b) for b in (64, 12, 7, 1)] == [8, 6, 7, 1]
  assert choose_devices(12, 4) == 4
  assert choose_devices() == 8 and choose_devices(requested=3) == 3, 'without a batch any number serves'
  with pytest.raises(InputError, match='--devices=9 .*8 local devices'):
    choose_devices(64, 9)
  with pytest.raises(InputError, match='--devices=0'):
    choose_devices(64, 0)
  with pytest.raises(InputError, match='batch of 12 does not divide over 8 devices.*config.train.batch_size'):
    choose_devices(12, 8)
