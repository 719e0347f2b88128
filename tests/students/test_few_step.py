"""Students of a few steps: the integrator against exact solutions, and flow matching against what it is made of."""
import importlib

import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses, random, students
from inverse_matching.errors import InputError
from inverse_matching.students.few_step import MOST_EULER, integrate
from inverse_matching.types import Batch

EVENT = (4, 4, 1)
Z = np.random.default_rng(0).normal(size=(5, 3))
TEACHER = constructors.dense_teacher(EVENT, scale=0.5)
STUDENT = students.make('few_step', EVENT, num_blocks=2, num_filters=4, dilations=(1, 2))
KEYS = random.keys_at(0, np.arange(6, dtype=np.uint32))
X = jax.random.normal(jax.random.key(0), (6, *EVENT))


@pytest.fixture(scope='module')
def params():
  """(of the teacher, of the student), not those of init, whose output is nearly zero."""
  return TEACHER.init(jax.random.key(1)), constructors.random_params(STUDENT.init, 0.7)


@pytest.mark.parametrize('num_steps', [1, 2, 5, 6, 9])
def test_straight_paths_are_exact(num_steps):
  """A constant velocity, and that of paths from z to one point."""
  np.testing.assert_allclose(integrate(lambda x, t, call: 0 * x + 2, Z, num_steps), Z - 2, atol=1e-12)
  if num_steps <= MOST_EULER:  # Heun's method asks at time 0, where this one has no value
    np.testing.assert_allclose(integrate(lambda x, t, call: (x - 3) / t, Z, num_steps), np.full_like(Z, 3), atol=1e-9)


@pytest.mark.parametrize('settings', [{'data_noise_std': 0.1}, {'encoding_std': 2.0}])
def test_what_is_encoded_already_is_not_encoded_otherwise(params, settings):
  """Settings of the encoding are refused for pairs, which they would not touch."""
  loss = losses.make('flow_matching', TEACHER, STUDENT, **settings)
  with pytest.raises(InputError, match='this batch is encoded already'):
    loss(params[1], params[0], Batch(x=X, z=X, key=KEYS))
  loss(params[1], params[0], Batch(x=X, key=KEYS))


def error(num_steps):
  """Of dx/dt = x."""
  return np.abs(integrate(lambda x, t, call: x, Z, num_steps) - Z * np.exp(-1)).max()


def test_the_order_of_the_method():
  """Twice the steps: half the error of Euler's, a quarter of Heun's; so few evaluations of the one, twice of the other."""
  assert 1.5 < error(2) / error(4) < 2.5 and 3.5 < error(20) / error(40) < 4.5
  for num_steps, expected in ((5, 5), (6, 12)):
    calls = []
    integrate(lambda x, t, call, calls=calls: calls.append(call) or x, Z, num_steps)
    assert len(calls) == len(set(calls)) == expected


def test_the_times_of_the_steps():
  """Squares of even ones; Heun's second evaluation is at the end of the step, so that a slope linear in t is exact."""
  times = []
  integrate(lambda x, t, call: times.append(t) or x, Z, 3)
  np.testing.assert_allclose(times, [1, 4 / 9, 1 / 9], rtol=1e-12)
  np.testing.assert_allclose(integrate(lambda x, t, call: 2 * t + 0 * x, Z, 8), Z - 1, atol=1e-12)


def test_the_network_sees_the_time_as_waves(monkeypatch):
  """cos(pi t f) of f = 1/2, 1, 2, 4, each a plane beside the image; t of each example its own."""
  module = importlib.import_module('inverse_matching.students.few_step')
  monkeypatch.setattr(module, 'functions', lambda *args, **settings: (None, lambda params, x, key: x))
  seen = module.few_step(EVENT, num_blocks=2, num_filters=4, dilations=(1, 2)).velocity(None, X[:2], jnp.array([0.5, 1.0]))
  np.testing.assert_array_equal(seen[..., :1], X[:2])
  waves = np.array([[np.sqrt(0.5), 0, -1, 1], [0, -1, 1, 1]])
  np.testing.assert_allclose(seen[..., 1:], np.broadcast_to(waves[:, None, None], (2, 4, 4, 4)), atol=1e-5)


def test_one_step_is_the_velocity_at_the_end(params):
  """x = z - velocity(z, 1)."""
  np.testing.assert_allclose(STUDENT.z_to_x(params[1], X).x, X - STUDENT.velocity(params[1], X, jnp.ones(6)), atol=1e-6)
  other = STUDENT.velocity(params[1], X, jnp.full(6, 0.3))
  assert np.abs(STUDENT.velocity(params[1], X, jnp.ones(6)) - other).max() > 1e-2, 'the time is seen'


@pytest.mark.parametrize('encoding_std', [1.0, 1.5])
def test_at_time_one_it_is_x_reconstruction(params, encoding_std):
  """By the student of one step that sees z over its standard deviation."""
  loss_fn = losses.make('flow_matching', TEACHER, STUDENT, time=1.0, data_noise_std=0.0, encoding_std=encoding_std)
  scaled = STUDENT._replace(z_to_x=lambda params, z, cond=None, key=None: STUDENT.z_to_x(params, z / encoding_std, cond, key))
  batch = Batch(x=X, key=KEYS)
  expected = losses.make('x_reconstruction', TEACHER, scaled)(params[1], params[0], batch)[0]
  np.testing.assert_allclose(loss_fn(params[1], params[0], batch)[0], expected, rtol=1e-4)


def mixed(params, z):
  """The loss at time 0.4 by hand."""
  return np.mean(np.square(STUDENT.velocity(params[1], 0.6 * X + 0.4 * z, jnp.full(6, 0.4)) - (z - X)), (1, 2, 3))


def test_noisy_data_are_encoded(params):
  """z = T(x + noise) over its width, beside the x without noise."""
  z = TEACHER.x_to_z(params[0], X + 0.3 * random.normal(random.stream(KEYS, 'noise'), EVENT))[0] / 1.5
  loss = losses.make('flow_matching', TEACHER, STUDENT, time=0.4, data_noise_std=0.3, encoding_std=1.5)
  np.testing.assert_allclose(loss(params[1], params[0], Batch(x=X, key=KEYS))[0], mixed(params, z), rtol=1e-4)


def test_pairs_and_independent_noise(params):
  """z of the batch, whatever the teacher says of x; or a prior draw, that of the keys."""
  at = lambda z, **settings: losses.make('flow_matching', TEACHER, STUDENT, time=0.4, **settings)(
      params[1], params[0], Batch(x=X, z=z, key=KEYS))[0]
  z = jax.random.normal(jax.random.key(5), X.shape)
  np.testing.assert_allclose(at(z), mixed(params, z), rtol=1e-4)
  draw = TEACHER.prior.sample(random.stream(KEYS, 'prior'))
  for given in (None, z):
    np.testing.assert_allclose(at(given, coupling='independent'), mixed(params, draw), rtol=1e-4)


def test_times_are_logistic_normal_or_one(params):
  """A tenth of them 1, of which the others know nothing. Where the loss is the time itself."""
  keys = random.keys_at(1, np.arange(20_000, dtype=np.uint32))
  x = jnp.zeros((len(keys), *EVENT))
  shown = STUDENT._replace(velocity=lambda params, x, t, cond=None, key=None: jnp.broadcast_to(t[:, None, None, None], x.shape))
  squared = losses.make('flow_matching', TEACHER, shown, data_noise_std=0.0)(params[1], params[0], Batch(x=x, z=x, key=keys))[0]
  t = np.sqrt(np.asarray(squared, np.float64))
  assert abs(np.mean(t == 1) - 0.1) < 0.01
  logit = np.log(t[t < 1] / (1 - t[t < 1]))
  assert abs(logit.mean() + 0.2) < 0.03 and abs(logit.std() - 1) < 0.03 and np.max(t[t < 1]) > 0.95


@pytest.mark.parametrize('settings,message', [
    ({'coupling': 'oracle'}, "Unknown coupling 'oracle' of flow_matching: use teacher or independent"),
    ({'encoding_std': 0.0}, 'needs data_noise_std >= 0, encoding_std > 0 and a time in'),
    ({'time': 1.5}, 'needs data_noise_std >= 0, encoding_std > 0 and a time in'),
])
def test_refused_when_built(settings, message):
  """In one sentence; a student without a velocity too, and no steps."""
  with pytest.raises(InputError, match=message):
    losses.make('flow_matching', TEACHER, STUDENT, **settings)
  with pytest.raises(InputError, match='trains a velocity, which this student does not have: use the student few_step'):
    losses.make('flow_matching', TEACHER, constructors.dense_flow(EVENT))
  with pytest.raises(InputError, match='num_steps must be at least 1, got 0'):
    students.make('few_step', EVENT, num_blocks=2, num_filters=4, dilations=(1, 2), num_steps=0)
