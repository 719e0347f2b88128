"""SampleRNN: exact both ways, causal, and conditioned on the right frames."""
import functools

import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from inverse_matching import solvers, teachers
from inverse_matching.errors import InputError
from inverse_matching.nets import samplernn

HOP, FRAMES, FEATURES = 4, 4, 3
LENGTH = HOP * FRAMES
TINY = dict(num_features=FEATURES, frame_sizes=(HOP, 2), width=8, initial_scale=0.1)


@functools.cache
def tiny():
  """(teacher of open length, sharp parameters, x [2, T], cond)."""
  teacher = teachers.make('samplernn', (None,), **TINY)
  x, cond = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(2, LENGTH), (2, FRAMES, FEATURES)]))
  return teacher, constructors.random_params(teacher.init, 1.0), 0.1 * x, cond


@functools.cache
def conditional():
  return jax.jit(tiny()[0].conditional)


def solve(solver):
  teacher = tiny()[0]
  return jax.jit(lambda params, z, cond: solvers.solve(teacher, params, z, cond, solver=solver).x)


def test_recurrent_matrices_begin_orthogonal():
  """Those of every gate, so that no gradient through time vanishes or explodes at first."""
  params = teachers.make('samplernn', (None,), **TINY).init(jax.random.key(0))
  for tier in ('top', 'middle'):
    for gate in np.split(np.asarray(params[tier]['recurrent']), 3, axis=-1):
      np.testing.assert_allclose(gate @ gate.T, np.eye(TINY['width']), atol=1e-5)


def test_round_trips():
  """T^-1(T(x)) = x and T(T^-1(z)) = z, sample by sample from kept states, and as ancestral passes find it."""
  teacher, params, x, cond = tiny()
  assert solvers.choose(teacher) == 'cached'
  encode, cached = jax.jit(lambda params, x, cond: teacher.x_to_z(params, x, cond)[0]), solve('cached')
  z = jax.random.normal(jax.random.key(5), x.shape)
  got = cached(params, z, cond)
  np.testing.assert_allclose(encode(params, got, cond), z, atol=1e-4)
  np.testing.assert_allclose(cached(params, encode(params, x, cond), cond), x, atol=1e-5)
  np.testing.assert_allclose(solve('ancestral')(params, z, cond), got, atol=1e-5)
  theta = conditional()(params, got, cond)
  assert np.std(theta.mean) > 0.02 and np.std(theta.log_scale) > 0.1, 'nothing depends on x: no proof'


def test_a_sample_sees_all_samples_before_it():
  """And none other."""
  _, params, x, cond = tiny()
  jacobian = jax.jit(jax.jacfwd(lambda x: conditional()(params, x[None], cond[:1])))(x[0])
  for leaf in jacobian:
    leaf = np.asarray(leaf)[0]
    np.testing.assert_array_equal(np.triu(leaf), 0.0)
    assert np.all(leaf[np.tril_indices(LENGTH, -1)] != 0)


def test_features_reach_their_own_frame_and_the_later_ones():
  """Those of frame k change the conditionals from sample k * hop on, and none before."""
  _, params, x, cond = tiny()
  jacobian = jax.jit(jax.jacfwd(lambda cond: conditional()(params, x[:1], cond[None])))(cond[0])
  for leaf in jacobian:
    moved = np.any(np.asarray(leaf)[0] != 0, axis=-1)  # [T, F]
    np.testing.assert_array_equal(moved, np.arange(LENGTH)[:, None] >= HOP * np.arange(FRAMES))


def test_the_next_frame_is_seen_if_it_is_asked_for():
  """Then features reach the frame before their own too, and nothing earlier; samples stay exact."""
  _, _, x, cond = tiny()
  teacher = teachers.make('samplernn', (None,), **TINY, next_frame=True)
  params = constructors.random_params(teacher.init, 1.0)
  jacobian = jax.jit(jax.jacfwd(lambda cond: teacher.conditional(params, x[:1], cond[None])))(cond[0])
  for leaf in jacobian:
    moved = np.any(np.asarray(leaf)[0] != 0, axis=-1)
    np.testing.assert_array_equal(moved, np.arange(LENGTH)[:, None] >= HOP * (np.arange(FRAMES) - 1))
  z = jax.random.normal(jax.random.key(5), x.shape)
  got = jax.jit(lambda params, z, cond: solvers.solve(teacher, params, z, cond, solver='cached').x)(params, z, cond)
  np.testing.assert_allclose(teacher.x_to_z(params, got, cond)[0], z, atol=1e-4)


def test_log_prob_is_that_of_gaussians():
  """The sum of Gaussian log-densities in float64; with a mask, of the steps that count."""
  teacher, params, x, cond = tiny()
  theta = conditional()(params, x, cond)
  steps = scipy.stats.norm.logpdf(np.asarray(x, np.float64), theta.mean, np.exp(np.asarray(theta.log_scale, np.float64)))
  mask = (np.arange(LENGTH) % 3 > 0) * np.ones((2, 1), np.float32)
  got = jax.jit(lambda params, x, cond: [teacher.log_prob(params, x, cond, mask=m) for m in (None, mask)])(params, x, cond)
  np.testing.assert_allclose(got, [steps.sum(-1), (steps * mask).sum(-1)], rtol=1e-4)


def test_it_begins_at_the_scale_asked_for():
  """Mean 0 and sigma as named, for any x."""
  teacher, _, x, cond = tiny()
  theta = conditional()(jax.jit(teacher.init)(jax.random.key(0)), x, cond)
  np.testing.assert_array_equal(theta.mean, 0.0)
  np.testing.assert_allclose(np.exp(theta.log_scale), TINY['initial_scale'], rtol=1e-5)


def test_the_floor_of_the_scale_keeps_a_gradient():
  """log sigma stays above the floor whatever the weights, and can rise again from near it."""
  _, params, x, cond = tiny()
  at = lambda bias: {**params, 'sample': {**params['sample'], 'outputs': jnp.zeros((8, 2)),
                                          'outputs_bias': jnp.array([0.0, bias])}}
  log_scale = lambda bias: conditional()(at(bias), x, cond).log_scale
  assert np.all(log_scale(-1e3) >= -7)
  slope = jax.grad(lambda bias: log_scale(bias).mean())(-8.0)
  assert 0.01 < slope < 1 and log_scale(-8.0).max() < -6.9


def test_it_does_not_run_away():
  """What is far out is seen as that far out and no further: T^-1 of a teacher whose mean is a hundred times what it was stays
  finite, and is the one that ancestral passes find."""
  _, params, _, cond = tiny()
  steep = {**params, 'sample': {**params['sample'], 'outputs': params['sample']['outputs'] * jnp.array([100.0, 0.0])}}
  z = jax.random.normal(jax.random.key(6), (2, LENGTH))
  x = solve('cached')(steep, z, cond)
  assert np.all(np.isfinite(x)) and np.abs(x).max() > 20 * TINY['initial_scale']
  near, far = (conditional()(steep, value * jnp.sign(x), cond) for value in (2.0, 1e6))
  np.testing.assert_array_equal(near.mean, far.mean)
  np.testing.assert_allclose(solve('ancestral')(steep, z, cond), x, rtol=1e-3)


def test_the_state_begins_at_zero_and_ends_are_open():
  """What is predicted of a prefix is what is predicted of it within the whole."""
  _, params, x, cond = tiny()
  for whole, part in zip(*(conditional()(params, x[:, :n * HOP], cond[:, :n]) for n in (FRAMES, 2))):
    np.testing.assert_allclose(whole[:, :2 * HOP], part, atol=1e-5)


def test_gru_and_its_gradient():
  """Equal to a plain scan over the equations of a GRU, its gradient by autodiff and its tangents too."""
  keys = jax.random.split(jax.random.key(0), 4)
  args = jax.random.normal(keys[0], (5, 2, 9)), jax.random.normal(keys[1], (3, 9))
  tangents = jax.random.normal(keys[2], (5, 2, 9)), jax.random.normal(keys[3], (3, 9))

  def plain(inputs, recurrent):

    def step(h, a):
      reset, update = (jax.nn.sigmoid(a[:, i:i + 3] + h @ recurrent[:, i:i + 3]) for i in (0, 3))
      h = (1 - update) * jnp.tanh(a[:, 6:] + reset * (h @ recurrent[:, 6:])) + update * h
      return h, h

    return jax.lax.scan(step, jnp.zeros((2, 3)), inputs)[1]

  @jax.jit
  def both(args, tangents):
    loss = lambda *args, function: jnp.sum(jnp.sin(3 * function(*args)))
    return [(jax.jvp(function, args, tangents), jax.grad(functools.partial(loss, function=function), (0, 1))(*args))
            for function in (samplernn.gru, plain)]

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *both(args, tangents))


def test_a_sample_is_as_long_as_its_features():
  """Where the length is open; without features there is nothing to tell it."""
  teacher, params, _, cond = tiny()
  keys = jax.random.split(jax.random.key(3), 2)
  x = jax.jit(teacher.sample)(params, keys, cond)
  assert x.shape == (2, LENGTH) and np.all(np.isfinite(x)) and np.all(x[0] != x[1])
  with pytest.raises(InputError, match='as long as its features'):
    teacher.sample(params, keys)


def test_it_passes_the_checks_of_a_teacher():
  """At a length and with features that it takes."""
  teacher, params, _, cond = tiny()
  teachers.check(teacher, params, length=2 * HOP, cond=jax.ShapeDtypeStruct(cond[0, :2].shape, cond.dtype))


def test_parameter_counts():
  """From the description of the tiers; the width of 1024 at 16 kHz has a golden number."""
  for long, short, features, width, golden in ((8, 2, 0, 4, None), (40, 8, 26, 128, 439_298), (80, 10, 63, 1024, 32_700_418)):
    teacher = teachers.make('samplernn', (None,), num_features=features, frame_sizes=(long, short), width=width)
    tiers = ((long + features, long // short), (short, short))
    expected = sum(inputs * width + 2 * width * 3 * width + 3 * width + (width + 1) * outputs * width
                   for inputs, outputs in tiers) + short * width + (width + 1) * width + (width + 1) * 2
    assert constructors.num_params(teacher.init) == expected == (golden or expected)


@pytest.mark.parametrize('event,settings,words', [
    ((None,), dict(frame_sizes=(9, 2)), r'the first a multiple of the second, got \(9, 2\)'),
    ((18,), {}, r'T a multiple of 4 samples or None, got event shape \(18,\)'),
    ((4, 4, 1), {}, r'waveforms of shape \(T,\)'),
    ((None,), dict(width=0), 'width must be at least 1, got 0'),
    ((None,), dict(initial_scale=0.0), 'initial_scale must be above exp')])
def test_settings_that_do_not_fit(event, settings, words):
  """One sentence."""
  with pytest.raises(InputError, match=words):
    teachers.make('samplernn', event, **{**TINY, **settings})


def test_inputs_that_do_not_fit():
  """Lengths and features are told with what they should be."""
  teacher, params, x, cond = tiny()
  for encode in (teacher.x_to_z, teacher.z_to_x):
    with pytest.raises(InputError, match='whole frames of 4 samples, got 15'):
      encode(params, x[:, :15], cond)
    with pytest.raises(InputError, match=r'cond is missing: 16 samples take features \[B, 4, 3\]'):
      encode(params, x)
    for wrong in (cond[:, :2], cond[..., :2], cond[0]):
      with pytest.raises(InputError, match=r'cond has shape \[.*\]: 16 samples take features \[B, 4, 3\]'):
        encode(params, x, wrong)
  silent = teachers.make('samplernn', (None,), **{**TINY, 'num_features': 0})
  with pytest.raises(InputError, match='takes no features, but cond is given'):
    silent.x_to_z(silent.init(jax.random.key(0)), x, cond)
