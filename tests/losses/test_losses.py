"""Objectives where the answer is known in closed form."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses, random, students, teachers
from inverse_matching.errors import InputError
from inverse_matching.losses import spectral
from inverse_matching.teachers import build
from inverse_matching.types import Batch, Gaussian, deterministic

T = 4
TEACHER, STUDENT = teachers.gaussian((T,)), students.linear((T,))
PARAMS = TEACHER.init(jax.random.key(0))


def triangular(params, value, cond=None, key=None):
  """The Gaussian of every step: linear in the steps before it, with a constant scale."""
  return Gaussian(params['mean'] + value @ jnp.tril(params['matrix'], -1).T,
                  jnp.broadcast_to(jnp.log(jnp.abs(jnp.diag(params['matrix']))), value.shape))


AR = build.autoregressive((T,), TEACHER.init, triangular)
FLOW = students.flow((T,), TEACHER.init, triangular)
MANY = random.keys_at(0, np.arange(100_000, dtype=np.uint32))


def assert_mean(values, expected):
  """The mean of independent values is within five standard errors of what it should be."""
  values = np.asarray(values, np.float64)
  error = 5 * values.std() / np.sqrt(len(values))
  assert abs(values.mean() - expected) < error, (values.mean(), expected, error)
  assert error < 0.05 * expected, 'too few draws to tell'


def test_maximum_likelihood_is_minus_log_prob():
  """In nats, with the dropout of the batch's keys."""
  case = constructors.teacher_case('pixelcnn_permuted')
  keys = jax.random.split(jax.random.key(0), constructors.BATCH)
  loss = losses.maximum_likelihood(case.model)
  value = jax.jit(lambda p, x, k: loss(p, None, Batch(x=x, key=k))[0])(case.params, case.events, keys)
  noisy = constructors.noisy_log_prob('pixelcnn_permuted')(case.params, case.events, keys)
  np.testing.assert_allclose(value, -noisy, rtol=1e-5)


def test_maximum_likelihood_of_an_open_time_axis_is_one_of_a_step():
  """-log p over the number of steps that count, and without a mask over all."""
  teacher = teachers.make('samplernn', (None,), num_features=0, frame_sizes=(4, 2), width=3)
  params, x = teacher.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (3, 12))
  mask = jnp.asarray([[1] * 12, [0] * 4 + [1] * 3 + [0] * 5, [0] * 12], jnp.float32)
  loss = losses.maximum_likelihood(teacher)
  np.testing.assert_allclose(loss(params, None, Batch(x=x))[0], -teacher.log_prob(params, x) / 12, rtol=1e-6)
  found = loss(params, None, Batch(x=x, mask=mask))[0]
  np.testing.assert_allclose(found, -teacher.log_prob(params, x, mask=mask) / np.array([12, 3, 1]), rtol=1e-6)
  assert found[2] == 0


@pytest.mark.parametrize('name', ['l1', 'l2', 'l1_l2', 'euclidean'])
def test_x_reconstruction_is_zero_at_the_inverse(name):
  """S = T^-1 gives back every x."""
  x = 2 + jax.random.normal(jax.random.key(1), (16, T))
  loss, parts = losses.make('x_reconstruction', TEACHER, STUDENT, distance=name)(PARAMS, PARAMS, Batch(x=x))
  np.testing.assert_allclose(loss, 0, atol=1e-5)
  off = {**PARAMS, 'mean': PARAMS['mean'] + 1}
  off_by_one, _ = losses.make('x_reconstruction', TEACHER, STUDENT, distance=name)(off, PARAMS, Batch(x=x))
  np.testing.assert_allclose(off_by_one, 1, atol=1e-4)  # every distance of a constant 1 is 1
  assert parts == {}


@pytest.mark.parametrize('noise_std', [0.1, 0.5])
def test_x_reconstruction_with_noise(noise_std):
  """At S = T^-1 the expected squared error is noise_std^2 |R|_F^2 / T: the noise goes through the student."""
  loss = losses.make('x_reconstruction', TEACHER, STUDENT, noise_std=noise_std)
  x = jnp.broadcast_to(jnp.arange(T, dtype=jnp.float32), (len(MANY), T))
  value, _ = jax.jit(loss)(PARAMS, PARAMS, Batch(x=x, key=MANY))
  assert_mean(value, noise_std**2 * np.square(PARAMS['matrix']).sum() / T)


def test_the_noises_of_x_reconstruction_are_independent():
  """At S = T^-1 that of the data and that of the encoding add up in variance: s^2 + n^2 |R|_F^2 / T."""
  loss = losses.make('x_reconstruction', TEACHER, STUDENT, noise_std=0.3, data_noise_std=0.5)
  x = jnp.broadcast_to(jnp.arange(T, dtype=jnp.float32), (len(MANY), T))
  value, _ = jax.jit(loss)(PARAMS, PARAMS, Batch(x=x, key=MANY))
  matrix = np.asarray(PARAMS['matrix'])
  assert_mean(value, 0.5**2 + 0.3**2 * np.square(matrix).sum() / T)
  assert abs(2 * 0.5 * 0.3 * np.trace(matrix) / T) > 0.2, 'what one draw for both would add is seen'


def other_student():
  rng = np.random.default_rng(3)
  return {'mean': jnp.asarray(rng.normal(size=T), jnp.float32), 'matrix': jnp.asarray(rng.normal(size=(T, T)), jnp.float32)}


def oracle_value(params):
  difference = {name: np.asarray(params[name] - PARAMS[name], np.float64) for name in params}
  return (np.square(difference['mean']).sum() + np.square(difference['matrix']).sum()) / T


def test_oracle_prediction_has_a_closed_form():
  """E d(T^-1(z), S(z)) = (|m - m'|^2 + |R - R'|_F^2) / T over pairs; a batch that holds none is refused."""
  params = other_student()
  z = TEACHER.prior.sample(random.stream(MANY, 'prior'))
  loss = losses.make('oracle_prediction', TEACHER, STUDENT)
  value, _ = jax.jit(loss)(params, PARAMS, Batch(x=TEACHER.z_to_x(PARAMS, z), z=z, key=MANY))
  assert_mean(value, oracle_value(params))
  for batch, missing in ((Batch(x=z, key=MANY), 'z'), (Batch(z=z, key=MANY), 'x')):
    with pytest.raises(InputError, match=f'takes pairs .*, and this batch has no {missing}: solve for x first'):
      loss(params, PARAMS, batch)


def test_x_reconstruction_and_oracle_prediction_agree_in_law():
  """Without noise and with x from the teacher both are the same expectation; x = T^-1(z) makes them equal one by one."""
  params = other_student()
  z = TEACHER.prior.sample(MANY[:100])
  x = TEACHER.z_to_x(PARAMS, z)
  one, _ = losses.make('x_reconstruction', TEACHER, STUDENT)(params, PARAMS, Batch(x=x))
  two, _ = losses.make('oracle_prediction', TEACHER, STUDENT)(params, PARAMS, Batch(x=x, z=z, key=MANY[:100]))
  np.testing.assert_allclose(one, two, rtol=1e-3)


@pytest.mark.parametrize('name', ['x_reconstruction', 'oracle_prediction'])
def test_no_gradient_reaches_the_teacher(name):
  """The gradient in the teacher's parameters is zero, exactly; in the student's it is not."""
  settings = {} if name == 'oracle_prediction' else {'noise_std': 0.1}
  loss = losses.make(name, TEACHER, STUDENT, **settings)
  batch = Batch(x=jnp.ones((4, T)), z=jnp.ones((4, T)) if name == 'oracle_prediction' else None, key=MANY[:4])
  grads = jax.grad(lambda s, t: loss(s, t, batch)[0].sum(), argnums=(0, 1))(other_student(), PARAMS)
  assert all(np.any(g != 0) for g in jax.tree.leaves(grads[0]))
  assert all(np.all(g == 0) for g in jax.tree.leaves(grads[1]))


@pytest.mark.parametrize('name', losses.LOSSES)
def test_losses_are_per_example(name):
  """Example i of the loss depends on example i of the batch alone, its key included."""
  teacher, student = (TEACHER, STUDENT) if name != 'regularized_kl' else (AR, FLOW)
  loss = jax.jit(losses.make(name, teacher, constructors.with_velocity(student)))
  x = jax.random.normal(jax.random.key(4), (8, T))
  batch = Batch(x=x, z=x[::-1] if name in losses.ON_PAIRS else None, key=MANY[:8], progress=jnp.linspace(0, 1, 8))
  whole, _ = loss(other_student(), PARAMS, batch)
  part, _ = loss(other_student(), PARAMS, jax.tree.map(lambda leaf: leaf[2:5], batch))
  np.testing.assert_allclose(whole[2:5], part, rtol=1e-4, atol=1e-4)
  other, _ = loss(other_student(), PARAMS, batch._replace(
      x=x + 1, z=None if batch.z is None else batch.z + 1, key=MANY[8:16]))
  assert np.all(other != whole)


def test_regularized_kl_is_the_reverse_kl_of_all_steps():
  """The sum over t of E KL(q_t || p_t) is the KL of the whole, and the regulariser vanishes where the scales agree."""
  closed, sampled = (losses.make(name, AR, FLOW, **settings) for name, settings in
                     (('regularized_kl', {'regularization': 0.0}), ('reverse_kl', {})))
  batch = Batch(key=MANY)
  difference = T * closed(other_student(), PARAMS, batch)[0] - sampled(other_student(), PARAMS, batch)[0]
  error = 5 * np.std(difference) / np.sqrt(len(MANY))
  value, parts = losses.make('regularized_kl', AR, FLOW)(other_student(), PARAMS, batch)
  assert abs(np.mean(difference)) < error < 0.02 * T * np.mean(parts['kl'])
  np.testing.assert_allclose(value, parts['kl'] + 4 * parts['regulariser'], rtol=1e-5)
  twice = {'mean': jnp.zeros(T), 'matrix': 2 * PARAMS['matrix']}
  np.testing.assert_allclose(losses.make('regularized_kl', AR, FLOW)(twice, PARAMS, batch)[1]['regulariser'],
                             np.log(2)**2, rtol=1e-4)


def test_regularized_kl_has_floors():
  """Below the floor the KL is that of the floor, and the gradient is that of the regulariser alone."""
  narrow = {'mean': jnp.zeros(T), 'matrix': jnp.exp(-9.0) * jnp.eye(T)}
  batch = Batch(key=MANY[:4])
  value = {floor: losses.make('regularized_kl', AR, FLOW, floor=floor)(narrow, PARAMS, batch)[1]['kl']
           for floor in (-7.0, -20.0)}
  np.testing.assert_allclose(value[-20.0] - value[-7.0], 2, rtol=1e-3)  # -log_q, from 7 to 9
  kl = lambda p, name: losses.make('regularized_kl', AR, FLOW)(p, PARAMS, batch)[1][name].sum()
  scale_grad = {name: jax.grad(lambda s, n=name: kl({**narrow, 'matrix': s * jnp.eye(T)}, n))(jnp.exp(-9.0))
                for name in ('kl', 'regulariser')}
  assert abs(scale_grad['kl']) < 1e-2 * abs(scale_grad['regulariser'])


def test_regularized_kl_has_a_floor_of_the_teacher():
  """One of log-scale -2 counts as -1 in the KL, against a student of 0 and the same mean; the regulariser sees -2."""
  still = lambda scale: {'mean': jnp.zeros(T), 'matrix': scale * jnp.eye(T)}
  loss = losses.make('regularized_kl', AR, FLOW, floor=-1.0)
  parts = loss(still(1.0), still(jnp.exp(-2.0)), Batch(key=MANY[:4]))[1]
  np.testing.assert_allclose(parts['kl'], -1 + 0.5 * (np.exp(2) - 1), rtol=1e-5)
  np.testing.assert_allclose(parts['regulariser'], 4, rtol=1e-5)


def test_regularized_kl_with_a_spectrum():
  """The KL plus weight times the distance between the spectra of S(z) and of the recording."""
  settings = dict(kind='power', fft_size=4, window=4, hop=1)
  batch = Batch(x=jax.random.normal(jax.random.key(4), (8, T)), key=MANY[:8])
  x = FLOW.z_to_x(other_student(), TEACHER.prior.sample(random.stream(batch.key, 'prior'))).x
  distance = spectral.distance(**settings)(x, batch.x)
  loss = losses.make('regularized_kl', AR, FLOW, spectrum={**settings, 'weight': 0.3})
  value, parts = jax.jit(loss)(other_student(), PARAMS, batch)
  np.testing.assert_allclose(parts['spectrum'], distance, rtol=1e-4)
  np.testing.assert_allclose(value, parts['kl'] + 4 * parts['regulariser'] + 0.3 * distance, rtol=1e-4)


def test_dropout_of_the_student_uses_the_batch_keys():
  """Another key, another loss; `deterministic` switches it off."""
  case = constructors.student_case('resnet')
  teacher = constructors.dense_teacher((4, 4, 1))
  loss = losses.make('oracle_prediction', teacher, case.model)
  run = jax.jit(lambda p, x, z, k: loss(p, None, Batch(x=x, z=z, key=k))[0])
  keys = jax.random.split(jax.random.key(0), (2, constructors.BATCH))
  one, two = (run(case.params, case.events, case.events, k) for k in keys)
  assert np.all(one != two)


@pytest.mark.parametrize('name', losses.LOSSES)
def test_every_loss_trains_the_student_with_dropout(name):
  """The student gets a key for each of its samples, all different, and so the loss of every example is another one."""
  keep = lambda x, key: x if key is None else x * random.uniform(random.stream(key, 'dropout'), x.shape[1:])
  noisy = students.flow((T,), TEACHER.init, lambda params, value, cond=None, key=None: triangular(params, keep(value, key)))
  velocity = lambda params, x, t, cond=None, key=None: keep(x, key) @ params['matrix'] * t[:, None]
  noisy = noisy._replace(velocity=velocity)
  keys = random.keys_at(0, np.arange(6, dtype=np.uint32))
  batch = Batch(x=random.normal(keys, (T,)), z=random.normal(random.fold(keys, 1), (T,)), key=keys, progress=jnp.full(6, 0.5))
  other = {**PARAMS, 'matrix': PARAMS['matrix'] + jnp.tril(jnp.ones((T, T)), -1)}
  values = [losses.make(name, AR, student)(other, PARAMS, batch) for student in (noisy, deterministic(noisy))]
  assert np.all(values[0][0] != values[1][0])
  one_input = Batch(x=batch.x, z=jnp.ones((6, T)), key=keys, progress=batch.progress)
  if name in losses.ON_PAIRS or name in losses.FROM_PRIOR:  # z is that of the batch, so that the keys are all that differs
    value = losses.make(name, AR, noisy)(other, PARAMS, one_input._replace(x=jnp.ones((6, T))))[0]
    assert len(np.unique(value)) == 6
  if 'energy' in name:  # draws of one z differ by their dropout alone
    student = noisy._replace(z_to_x=lambda params, z, cond=None, key=None: noisy.z_to_x(params, jnp.ones_like(z), cond, key))
    assert np.all(losses.make(name, AR, student)(other, PARAMS, batch)[1]['between'] > 0)


def test_what_a_pair_cannot_serve_is_refused_when_built():
  """One sentence that says what to use instead."""
  for name in losses.LOSSES:
    with pytest.raises(InputError, match=r'\(4,\).*\(5,\)'):
      losses.make(name, TEACHER, students.linear((5,)))
  with pytest.raises(InputError, match='noise_std must be 0 or more, got -1'):
    losses.make('x_reconstruction', TEACHER, STUDENT, noise_std=-1)
  with pytest.raises(InputError, match='Unknown distance'):
    losses.make('x_reconstruction', TEACHER, STUDENT, distance='l3')
  with pytest.raises(InputError, match='Unknown loss .x_reconstructon.'):
    losses.make('x_reconstructon', TEACHER, STUDENT)


def test_the_path_estimator_is_for_a_normal_prior():
  """The score of a student of a uniform z is not the one it uses; the total derivative serves any prior."""
  student = constructors.dense_flow((T,))
  normal, uniform = (constructors.mapped_teacher((T,), 'logistic', prior=prior) for prior in ('normal', 'uniform'))
  losses.make('reverse_kl', normal, student, estimator='path')
  losses.make('reverse_kl', uniform, student)
  with pytest.raises(InputError, match='path estimator of reverse_kl is for a standard normal prior.*use estimator=total'):
    losses.make('reverse_kl', uniform, student, estimator='path')
