"""The energy score against its closed form for Gaussians, and learned denoising."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from inverse_matching import losses, random, students, teachers
from inverse_matching.errors import InputError
from inverse_matching.types import Batch

TEACHER, STUDENT = teachers.gaussian((1,)), students.linear((1,))
N = 40_000
KEYS = random.keys_at(3, np.arange(N, dtype=np.uint32))
X = np.random.default_rng(0).normal(0.5, 2.0, (N, 1)).astype(np.float32)  # the law of the data


def params(mean, scale):
  return {'mean': jnp.full(1, mean), 'matrix': jnp.full((1, 1), scale)}


def mean_absolute(mean, std):
  """E |N(mean, std^2)|."""
  return std * np.sqrt(2 / np.pi) * np.exp(-mean**2 / (2 * std**2)) + mean * special.erf(mean / (std * np.sqrt(2)))


def exact(mean, scale):
  """E |x - y| - E |y - y'| / 2 of x ~ N(1/2, 4) and y, y' ~ N(mean, scale^2)."""
  return mean_absolute(0.5 - mean, np.hypot(2.0, scale)) - 0.5 * mean_absolute(0, np.sqrt(2) * scale)


@pytest.mark.parametrize('num_draws', [2, 4])
@pytest.mark.parametrize('mean,scale', [(0.5, 2.0), (-1.0, 0.7)])
def test_the_mean_and_its_gradient_have_a_closed_form(num_draws, mean, scale):
  """Within four standard errors, for any number of draws."""
  loss_fn = losses.make('energy_score', TEACHER, STUDENT, num_draws=num_draws)
  batch = Batch(x=X, key=KEYS)
  value, _ = loss_fn(params(mean, scale), None, batch)
  assert abs(value.mean() - exact(mean, scale)) < 4 * value.std() / np.sqrt(N)
  h = 1e-4
  for field, gradient in (('mean', exact(mean + h, scale) - exact(mean - h, scale)),
                          ('matrix', exact(mean, scale + h) - exact(mean, scale - h))):
    own = params(mean, scale)
    slope = lambda shift, own=own, field=field: loss_fn({**own, field: own[field] + shift}, None, batch)[0]
    each = np.asarray(jax.jvp(slope, (0.0,), (1.0,))[1])
    assert abs(each.mean() - gradient / (2 * h)) < 4 * each.std() / np.sqrt(N), field


def test_the_law_of_the_data_has_the_least():
  """Estimated from the same draws, by more than four standard errors of the difference."""
  loss_fn = losses.make('energy_score', TEACHER, STUDENT)
  value = lambda mean, scale: np.asarray(loss_fn(params(mean, scale), None, Batch(x=X, key=KEYS))[0], np.float64)
  least = value(0.5, 2.0)
  for a, b in ((a, b) for a in (-0.5, 0, 0.5) for b in (-0.5, 0, 0.5) if a or b):
    more = value(0.5 + a, 2.0 + b) - least
    assert more.mean() > 4 * more.std() / np.sqrt(N), (a, b, more.mean(), more.std() / np.sqrt(N))


@pytest.mark.parametrize('mask', [None, [[1, 0], [1, 1], [0, 1], [0, 1], [1, 0]]])
def test_a_value_by_hand(mask):
  """Of draws that are known, each under the cond of its x: the root mean square over what counts of the event, its powers."""
  teacher, student = constructors.dense_teacher((2, 3)), constructors.dense_flow((2, 3))
  own, x = student.init(jax.random.key(0)), jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, 3)), jnp.float32)
  keys = random.keys_at(0, np.arange(5, dtype=np.uint32))
  cond = jnp.linspace(-1, 1, 5)
  y = [np.asarray(student.z_to_x(own, teacher.prior.sample(random.stream(random.fold(keys, k), 'prior')), cond).x, np.float64)
       for k in range(3)]
  counts = np.ones((5, 2)) if mask is None else np.asarray(mask)
  norm = lambda a, b: np.sqrt((np.square(a - b) * counts[..., None]).sum((1, 2)) / (3 * counts.sum(1)))**1.5
  expected = sum(norm(np.asarray(x), each) for each in y) / 3 - 0.5 * sum(
      norm(y[k], y[m]) for k in range(3) for m in range(3) if k != m) / 6
  value, _ = losses.make('energy_score', teacher, student, num_draws=3, beta=1.5)(own, None, Batch(
      x=x, cond=cond, key=keys, mask=None if mask is None else jnp.asarray(mask, jnp.float32)))
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_with_oracle_prediction():
  """The sum, on pairs."""
  z = jnp.asarray(np.random.default_rng(1).normal(size=(N, 1)), jnp.float32)
  batch, own = Batch(x=X, z=z, key=KEYS), params(-1.0, 0.7)
  value = lambda name, **settings: np.asarray(losses.make(name, TEACHER, STUDENT, **settings)(own, None, batch)[0])
  np.testing.assert_allclose(value('energy_oracle', weight=0.3), value('energy_score') + 0.3 * value('oracle_prediction'),
                             rtol=1e-5, atol=1e-6)
  with pytest.raises(InputError, match='this batch has no z'):
    losses.make('energy_oracle', TEACHER, STUDENT)(own, None, batch._replace(z=None))


@pytest.mark.parametrize('name', ['energy_score', 'x_reconstruction'])
def test_no_example_knows_the_others(name):
  """However a batch is spread over devices, the values are the same."""
  loss_fn = losses.make(name, TEACHER, STUDENT, **({'data_noise_std': 0.5} if name == 'x_reconstruction' else {}))
  own, teacher_params = params(0.3, 1.2), params(0.5, 2.0)
  whole = loss_fn(own, teacher_params, Batch(x=X[:8], key=KEYS[:8]))[0]
  parts = [loss_fn(own, teacher_params, Batch(x=X[i:i + 1], key=KEYS[i:i + 1]))[0] for i in range(8)]
  np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)


@pytest.mark.parametrize('std', [0.0, 0.5])
def test_learned_denoising_has_a_closed_form(std):
  """d(x, S(T(x + std e))) of x ~ N(1/2, 4) and a student that is T^-1: e^2 std^2; of the best linear student, what is left of
  x given x + std e."""
  loss_fn = losses.make('x_reconstruction', TEACHER, STUDENT, data_noise_std=std)
  batch, teacher_params = Batch(x=X, key=KEYS), params(0.5, 2.0)
  value, _ = loss_fn(params(0.5, 2.0), teacher_params, batch)
  assert abs(value.mean() - std**2) <= 4 * value.std() / np.sqrt(N) + 1e-6
  shrink = 4 / (4 + std**2)
  value, _ = loss_fn(params(0.5, 2.0 * shrink), teacher_params, batch)
  assert abs(value.mean() - 4 * std**2 / (4 + std**2)) <= 4 * value.std() / np.sqrt(N) + 1e-6


@pytest.mark.parametrize('name,settings,message', [
    ('energy_score', {'num_draws': 1}, 'num_draws must be at least 2, got 1'),
    ('energy_score', {'beta': 2.0}, 'beta must be above 0 and below 2, got 2.0'),
    ('energy_oracle', {'weight': -1.0}, 'weight must be 0 or more'),
    ('x_reconstruction', {'data_noise_std': -1.0}, 'data_noise_std must be 0 or more'),
])
def test_refused_when_built(name, settings, message):
  """In one sentence."""
  with pytest.raises(InputError, match=message):
    losses.make(name, TEACHER, STUDENT, **settings)


def test_noise_comes_before_the_encoding():
  """So that data which are encoded, or discrete, cannot have it."""
  loss_fn = losses.make('x_reconstruction', TEACHER, STUDENT, data_noise_std=0.1)
  with pytest.raises(InputError, match='this batch is encoded already'):
    loss_fn(params(0, 1), params(0, 1), Batch(x=X, z=X, key=KEYS))
  discrete = constructors.teacher_case('categorical').model
  with pytest.raises(InputError, match='data_noise_std is for continuous data'):
    losses.make('x_reconstruction', discrete, constructors.dense_flow((4,)), data_noise_std=0.1)
