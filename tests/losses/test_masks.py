"""Time steps that do not count, and time axes of open length."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import elementwise, losses, random, students
from inverse_matching.elementwise import priors
from inverse_matching.errors import InputError
from inverse_matching.losses import distances
from inverse_matching.teachers import build
from inverse_matching.types import Batch, Gaussian

B, T, SHORT = 3, 12, 7
EVENT = (None,)
RECORDING = dict(kind='power', fft_size=4, window=4, hop=1, weight=0.1)


def causal(params, x, cond=None, key=None):
  """An AR(1) process whose scale moves with the step before."""
  before = jnp.pad(x, ((0, 0), (1, 0)))[:, :-1]
  return Gaussian(params['weight'] * before + params['shift'], params['spread'] * jnp.tanh(before) - 0.5)


TEACHER = build.autoregressive(EVENT, lambda key: (), causal)
STUDENT = students.flow(EVENT, lambda key: (), causal)
PARAMS = [{'weight': jnp.float32(w), 'shift': jnp.float32(0.1), 'spread': jnp.float32(s)} for w, s in ((0.3, 0.2), (0.6, 0.4))]
BATCH = Batch(x=jax.random.normal(jax.random.key(0), (B, T)), key=random.keys_at(0, np.arange(B, dtype=np.uint32)),
              z=jax.random.normal(jax.random.key(1), (B, T)))
FIRST = jnp.broadcast_to(jnp.arange(T) < SHORT, (B, T)).astype(jnp.float32)


@pytest.mark.parametrize('name, settings', [
    ('reverse_kl', {}), ('regularized_kl', {}), ('regularized_kl', {'spectrum': RECORDING}), ('z_reconstruction', {}),
    ('x_reconstruction', {'distance': 'l1'}), ('oracle_prediction', {'distance': 'euclidean'}), ('maximum_likelihood', {})])
def test_padding_that_does_not_count_changes_nothing(name, settings):
  """A loss under a mask is the loss of the examples cut to the steps that count; whatever lies beyond, even infinity."""
  loss = losses.maximum_likelihood(TEACHER) if name == 'maximum_likelihood' else losses.make(name, TEACHER, STUDENT, **settings)
  cut = BATCH._replace(x=BATCH.x[:, :SHORT], z=BATCH.z[:, :SHORT])
  expected = loss(*PARAMS, cut)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), loss(*PARAMS, BATCH._replace(mask=FIRST)), expected)
  everything = loss(*PARAMS, BATCH._replace(mask=jnp.ones((B, T))))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), everything, loss(*PARAMS, BATCH))
  if name == 'maximum_likelihood':
    wild = BATCH._replace(x=BATCH.x.at[:, SHORT + 1:].set(jnp.inf), mask=FIRST)
    np.testing.assert_allclose(loss(*PARAMS, wild)[0], expected[0], rtol=1e-5)


@pytest.mark.parametrize('prior', ['normal', 'uniform'])
def test_the_density_of_the_student_is_under_the_prior_of_the_teacher(prior):
  """Reverse KL under masks, with a prior that need not be normal: the parts add up to the whole, which needs no mask."""
  teacher = build.autoregressive(EVENT, lambda key: (), causal, elementwise=elementwise.make('logistic', prior=prior))
  loss, batch = losses.make('reverse_kl', teacher, STUDENT), BATCH._replace(z=priors.uniform((T,)).sample(BATCH.key))
  whole, before, after = (loss(*PARAMS, batch._replace(mask=mask))[0] for mask in (FIRST * 0 + 1, FIRST, 1 - FIRST))
  np.testing.assert_allclose(whole, loss(*PARAMS, batch)[0], rtol=1e-5)
  np.testing.assert_allclose(before + after, whole, rtol=1e-5)
  output = STUDENT.z_to_x(PARAMS[0], batch.z)
  if prior == 'uniform':  # whose density is one: -log |det dx/dz| - log p_T(x)
    np.testing.assert_allclose(whole, -output.log_det - teacher.log_prob(PARAMS[1], output.x), rtol=1e-5)


def test_steps_of_a_density_add_up():
  """The density of the steps before a place and of those after it: together the density of all."""
  whole, before, after = (TEACHER.log_prob(PARAMS[0], BATCH.x, mask=mask) for mask in (FIRST * 0 + 1, FIRST, 1 - FIRST))
  np.testing.assert_allclose(before + after, whole, rtol=1e-5)
  np.testing.assert_allclose(whole, TEACHER.log_prob(PARAMS[0], BATCH.x), rtol=1e-5)


def test_a_draw_is_as_long_as_the_recording():
  """An open time axis takes its length from x; a prior that is not told one says so."""
  batch = BATCH._replace(z=None)
  z = random.normal(random.stream(batch.key, 'prior'), (T,))
  for name in ('reverse_kl', 'regularized_kl', 'z_reconstruction'):
    loss = losses.make(name, TEACHER, STUDENT)
    np.testing.assert_array_equal(loss(*PARAMS, batch)[0], loss(*PARAMS, batch._replace(z=z))[0])
  with pytest.raises(InputError, match='takes a length'):
    TEACHER.prior.sample(batch.key)
  with pytest.raises(InputError, match='takes no length'):
    priors.standard_normal((T,)).sample(batch.key, 3)


def test_what_has_no_steps_refuses_a_mask():
  """A transform and a student with one density for the whole, and the path estimator."""
  plain = build.from_transform(EVENT, priors.standard_normal(EVENT), lambda key: (), lambda p, x, cond: (x, jnp.zeros(B)))
  masked = BATCH._replace(mask=FIRST)
  with pytest.raises(InputError, match='A mask counts time steps'):
    losses.maximum_likelihood(plain)(PARAMS[0], None, masked)
  blunt = STUDENT._replace(z_to_x=lambda *args: STUDENT.z_to_x(*args)._replace(conditional=None))
  with pytest.raises(InputError, match='density of every time step'):
    losses.make('reverse_kl', TEACHER, blunt)(*PARAMS, masked)
  with pytest.raises(InputError, match='whole examples'):
    losses.make('reverse_kl', TEACHER, STUDENT, estimator='path')(*PARAMS, masked)


def test_an_example_without_counted_steps_is_zero():
  """A crop that is all padding neither counts nor divides by zero."""
  assert np.all(distances.l1(BATCH.x, BATCH.z, jnp.zeros((B, T))) == 0)
