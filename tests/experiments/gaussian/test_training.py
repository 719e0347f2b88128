"""Training of Gaussian students: what the losses do where the answer is known."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inverse_matching import losses, students, teachers
from inverse_matching.analysis import expansion, kl_gaussians
from inverse_matching.errors import InputError
from inverse_matching.experiments.gaussian import figure2, figure3, lanes, remedies, training
from inverse_matching.teachers.gaussian import precompute
from inverse_matching.types import Batch

SHORT = dict(num_steps=1000, batch_size=64, learning_rate=0.01)


def _batch(num=16):
  return Batch(key=jax.random.split(jax.random.key(5), num))


def _optimum(num_dims):
  """A pair with the student at S = T^-1."""
  pair = lanes.make(num_dims, ['I'], 1, seed=0)
  teacher_params = jax.tree.map(lambda leaf: leaf[0], pair.teacher_params)
  return pair, teacher_params, {name: teacher_params[name] for name in ('mean', 'matrix')}


def test_precomputed_teacher_is_the_same_teacher():
  teacher = teachers.gaussian((5,))
  params = teacher.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (7, 5))
  for name in ('x_to_z', 'log_prob'):
    plain, fast = (getattr(teacher, name)(p, x) for p in (params, precompute(params)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), plain, fast)


@pytest.mark.slow
def test_x_reconstruction_beats_the_others_in_64_dimensions():
  pair = lanes.make(64, ['I'], 2, seed=1)
  kl = {loss: np.median(lanes.kl(pair.teacher_params, training.train(pair, loss, SHORT).params))
        for loss in figure2.LOSSES}
  assert kl['x_reconstruction'] < 0.1 * min(kl['reverse_kl'], kl['z_reconstruction'])


def test_a_lane_does_not_depend_on_the_others_and_snapshots_are_its_way():
  pair = lanes.make(3, ['I', '0.1 I'], 2, seed=0)
  settings = dict(num_steps=20, batch_size=8, learning_rate=0.01)
  every = training.train(pair, 'reverse_kl', settings, snapshot_every=5)
  alone = lanes.make(3, ['I'], 1, seed=0)
  single = training.train(alone, 'reverse_kl', settings)
  assert every.loss.shape == (4, 20) and every.snapshots['matrix'].shape == (4, 5, 3, 3) and single.snapshots is None
  np.testing.assert_allclose(every.params['matrix'][0], single.params['matrix'][0], rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(every.snapshots['matrix'][:, 0], pair.student_params['matrix'])
  np.testing.assert_array_equal(every.snapshots['matrix'][:, -1], every.params['matrix'])
  assert not np.array_equal(every.params['matrix'][0], every.params['matrix'][1])
  assert np.all(np.mean(every.loss[:, -5:], axis=1) < np.mean(every.loss[:, :5], axis=1))


def test_kl_of_snapshots_is_that_of_each():
  pair = lanes.make(3, ['I'], 2, seed=0)
  snapshots = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf], axis=1), jax.device_get(pair.student_params))
  found = lanes.kl(pair.teacher_params, snapshots)
  expected = kl_gaussians(np.full(3, -2.0), 2 * np.eye(3), np.asarray(pair.teacher_params['matrix'])[1])
  assert found.shape == (2, 2) and found[1, 1] == pytest.approx(expected)


def test_rows_tell_how_much_likelier_the_student_s_samples_are():
  """A student whose log p_T is higher by a constant has it as its shift; KS and Wasserstein distance have no sign."""
  pair = lanes.make(2, ['I', '0.1 I'], 2, seed=0)
  teacher = np.random.default_rng(0).normal(size=(4, 500))
  shift = np.array([0.5, -0.25, 2.0, 0.0])
  rows = lanes.rows(pair, pair.student_params, lanes.Samples(teacher, teacher + shift[:, None]))
  np.testing.assert_allclose([row['mean_shift'] for row in rows], shift, atol=1e-9)
  np.testing.assert_allclose([row['wasserstein'] for row in rows], np.abs(shift), atol=1e-9)
  assert [(row['init'], row['seed']) for row in rows] == [('I', 0), ('I', 1), ('0.1 I', 0), ('0.1 I', 1)]
  np.testing.assert_allclose([row['kl'] for row in rows], lanes.kl(pair.teacher_params, pair.student_params))


def test_expansion_signal_is_counted_as_often_as_it_is_probable():
  pair = lanes.make(4, ['I'], 3, seed=2)
  snapshots = jax.tree.map(lambda leaf: np.asarray(leaf)[:, None] * 0.5 + 0.3, pair.student_params)
  found = figure3.signal_frequency(pair.teacher_params, snapshots, 20_000, seed=0)
  for i in range(3):
    exact = expansion.expansion_probability_factors(snapshots['mean'][i, 0] - 2.0, snapshots['matrix'][i, 0],
                                                    np.asarray(pair.teacher_params['matrix'])[i])
    assert found[i, 0] == pytest.approx(exact, abs=5 * 0.5 / np.sqrt(20_000))


def test_initial_factors():
  normal, scaled = (students.linear((200,), **lanes.INITS[name](200)).init(jax.random.key(0))['matrix']
                    for name in ('N(0,1)', 'N(0,1)/sqrt(T)'))
  assert float(jnp.std(normal)) == pytest.approx(1, abs=0.02)
  np.testing.assert_allclose(scaled, normal / np.sqrt(200), rtol=1e-6)
  tenth = students.linear((2,), **lanes.INITS['0.1 I'](2)).init(jax.random.key(0))['matrix']
  np.testing.assert_allclose(tenth, 0.1 * np.eye(2))


@pytest.mark.parametrize('call,message', [
    (lambda: lanes.make(0, ['I'], 1, seed=0), 'one dimension'),
    (lambda: lanes.make(2, ['N(0,2)'], 1, seed=0), 'Unknown initial R'),
    (lambda: students.linear((2,), initial='zeros'), 'Unknown initial'),
    (lambda: training.train(lanes.make(2, ['I'], 1, seed=0), 'reverse_kl', SHORT, snapshot_every=7), 'must divide'),
    (lambda: training.train(lanes.make(2, ['I'], 1, seed=0), 'reverse_kl', SHORT, num_steps=0), 'one update'),
])
def test_refuses(call, message):
  with pytest.raises(InputError, match=message):
    call()


def test_closed_form_kl_is_the_mean_of_the_sampled_one():
  pair, teacher_params, params = _optimum(3)
  params = jax.tree.map(lambda leaf: 0.7 * leaf + 0.1, params)
  closed = remedies.closed_form_kl(params, teacher_params, _batch())[0]
  expected = kl_gaussians(params['mean'] - teacher_params['mean'], params['matrix'], teacher_params['matrix'])
  np.testing.assert_allclose(closed, expected, rtol=1e-4)
  sampled = losses.make('reverse_kl', pair.teacher, pair.student)(params, teacher_params, _batch(20_000))[0]
  assert float(jnp.mean(sampled)) == pytest.approx(float(expected), abs=5 * float(jnp.std(sampled)) / np.sqrt(20_000))


def test_annealed_teacher_is_wide_first_and_itself_at_last():
  teacher = teachers.gaussian((3,))
  params = precompute(teacher.init(jax.random.key(0)))
  teacher_at = remedies.tempered(start=0.25, num_steps=10)
  np.testing.assert_allclose(teacher_at(params, 0)['matrix'], 2 * params['matrix'], rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), teacher_at(params, 10), params)
  # The precomputed parts belong to the same Gaussian.
  wide = teacher_at(params, 4)
  x = jax.random.normal(jax.random.key(1), (5, 3))
  plain = {name: wide[name] for name in ('mean', 'matrix')}
  np.testing.assert_allclose(teacher.log_prob(wide, x), teacher.log_prob(plain, x), rtol=1e-3)


def _steps(optimizer, teacher_params, params, count=5):
  transform = optimizer(teacher_params)
  state = transform.init(params)
  for _ in range(count):
    grads = jax.grad(lambda p: remedies.closed_form_kl(p, teacher_params, _batch())[0][0])(params)
    updates, state = transform.update(grads, state, params)
    params = optax.apply_updates(params, updates)
  return params


@pytest.mark.parametrize('optimizer,invariant', [(remedies.natural_gradient(0.1), True), (remedies.whitened_adam(0.1), True),
                                                 (training.adam(0.1), False)])
def test_preconditioned_steps_do_not_depend_on_the_coordinates_of_x(optimizer, invariant):
  """x -> A x on both sides moves the student along with its teacher; plain Adam goes elsewhere."""
  rng = np.random.default_rng(0)
  teacher_matrix, matrix, a = np.eye(3) + 0.3 * rng.standard_normal((3, 3, 3))
  moved = {}
  for name, change in (('plain', np.eye(3)), ('changed', a)):
    teacher_params = precompute({'mean': jnp.asarray(change @ np.full(3, 2.0), jnp.float32),
                                 'matrix': jnp.asarray(change @ teacher_matrix, jnp.float32)})
    params = {'mean': jnp.zeros(3), 'matrix': jnp.asarray(change @ matrix, jnp.float32)}
    moved[name] = _steps(optimizer, teacher_params, params)
  close = np.allclose(moved['changed']['matrix'], a @ moved['plain']['matrix'], atol=1e-3)
  assert close == invariant


def test_natural_gradient_reaches_an_ill_conditioned_teacher_that_adam_does_not():
  pair = lanes.make(4, ['I'], 1, seed=0)
  matrix = jnp.asarray(np.diag([0.003, 0.1, 1.0, 3.0])[None], jnp.float32)
  pair = pair._replace(teacher_params=precompute({'mean': pair.teacher_params['mean'], 'matrix': matrix}))
  settings = dict(num_steps=800, batch_size=64, learning_rate=0.005)
  schedule = optax.cosine_decay_schedule(0.2, 800)
  natural = training.train(pair, 'reverse_kl', settings, optimizer=remedies.natural_gradient(schedule))
  adam = training.train(pair, 'reverse_kl', settings)
  kl = [float(lanes.kl(pair.teacher_params, trained.params)[0]) for trained in (natural, adam)]
  assert kl[0] < 0.05 < 1 < kl[1]


def test_natural_gradient_is_that_of_the_fisher_metric():
  """The step solves F step = -gradient of the KL, F the expected outer product of scores, for a symmetric R."""
  rng = np.random.default_rng(0)
  pair = lanes.make(3, ['I'], 1, seed=0)
  teacher_params = jax.tree.map(lambda leaf: leaf[0], pair.teacher_params)
  root = rng.normal(size=(3, 3))
  params = {'mean': jnp.asarray([0.5, -1.0, 2.0]), 'matrix': jnp.asarray(root @ root.T + np.eye(3), jnp.float32)}
  grads = jax.grad(lambda p: remedies.closed_form_kl(p, teacher_params, _batch(1))[0][0])(params)
  optimizer = remedies.natural_gradient(1e-6)(teacher_params)
  step, _ = optimizer.update(grads, optimizer.init(params), params)
  flat = lambda tree: np.concatenate([np.ravel(tree['mean']), np.ravel(tree['matrix'])]).astype(np.float64)

  def log_density(p, x):
    return jax.scipy.stats.multivariate_normal.logpdf(x, p['mean'], p['matrix'] @ p['matrix'].T)

  x = params['mean'] + jax.random.normal(jax.random.key(0), (100_000, 3)) @ params['matrix'].T
  scores = jax.vmap(lambda x: jax.grad(log_density)(params, x))(x)
  scores = np.concatenate([np.asarray(scores['mean']), np.asarray(scores['matrix']).reshape(-1, 9)], axis=1).astype(np.float64)
  fisher = scores.T @ scores / len(scores)
  # Only what changes the covariance counts: both sides as changes of the log density, which the Fisher matrix measures.
  got, want = fisher @ flat(step), -flat(grads)
  scale = (got @ want) / (want @ want)
  np.testing.assert_allclose(got / scale, want, atol=0.03 * np.abs(want).max())
