"""The WaveNet student: flows that compose, causal in z, begun at the scale of waveforms."""
import functools

import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import students
from inverse_matching.errors import InputError

HOP, FRAMES, FEATURES = 4, 4, 3
LENGTH = HOP * FRAMES
TINY = dict(num_features=FEATURES, num_flows=2, num_layers=2, width=4, feature_width=5, initial_scale=0.1)
SEEN = 2 * 2**2  # samples of z before it that a sample depends on


@functools.cache
def tiny(**settings):
  """(student of open length, sharp parameters, z [2, T], cond)."""
  student = students.make('wavenet', (None,), **{**TINY, **settings})
  z, cond = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(2, LENGTH), (2, FRAMES, FEATURES)]))
  return student, constructors.random_params(student.init, 1.3), z, cond


@functools.cache
def generate():
  return jax.jit(tiny()[0].z_to_x)


@functools.cache
def jacobians():
  """Of (x, mean, log_scale) in z and in cond, of the first example; as [T, T] and [T, F, D]."""
  _, params, z, cond = tiny()

  def outputs(z, cond):
    output = generate()(params, z[None], cond[None])
    return output.x[0], output.conditional.mean[0], output.conditional.log_scale[0]

  return jax.tree.map(np.asarray, jax.jit(jax.jacfwd(outputs, (0, 1)))(z[0], cond[0]))


def test_a_sample_sees_its_z_and_those_before():
  """As many as the dilations of the flows reach, and none other; mean and scale do not see the z of their own sample."""
  x, mean, log_scale = (of_z for of_z, _ in jacobians())
  place = np.arange(LENGTH)
  back = place[:, None] - place
  np.testing.assert_array_equal(x != 0, (0 <= back) & (back <= SEEN))
  for leaf in (mean, log_scale):
    np.testing.assert_array_equal(leaf[(back <= 0) | (back > SEEN)], 0.0)
  np.testing.assert_array_equal(mean != 0, (0 < back) & (back <= SEEN))


def test_log_det_is_that_of_the_jacobian():
  """And the diagonal of the Jacobian is the scale of the composition."""
  _, params, z, cond = tiny()
  output = generate()(params, z, cond)
  jacobian = jacobians()[0][0].astype(np.float64)
  np.testing.assert_allclose(np.diagonal(jacobian), np.exp(output.conditional.log_scale[0]), rtol=1e-5)
  np.testing.assert_allclose(output.log_det[0], np.linalg.slogdet(jacobian)[1], rtol=1e-5)
  assert np.std(output.conditional.log_scale) > 0.1, 'the scale is constant: no proof'


def test_the_conditional_gives_the_sample():
  """x = mean + exp(log_scale) z, where z is that of the prior."""
  _, params, z, cond = tiny()
  output = generate()(params, z, cond)
  np.testing.assert_allclose(output.x, output.conditional.mean + np.exp(output.conditional.log_scale) * z, rtol=1e-6, atol=1e-7)


def test_flows_compose():
  """Two flows are one after the other, each taken for itself."""
  both, one = (students.make('wavenet', (LENGTH,), **{**TINY, 'num_features': 0, 'num_flows': n, 'initial_scale': s})
               for n, s in ((2, 0.1), (1, 1.0)))
  params, z = constructors.random_params(both.init, 1.0), tiny()[2]
  step = jax.jit(one.z_to_x)
  first, second = ({'flows': jax.tree.map(lambda leaf, i=i: leaf[i:i + 1], params['flows'])} for i in (0, 1))
  between = step(first, z)
  end = step(second, between.x)
  got = jax.jit(both.z_to_x)(params, z)
  np.testing.assert_allclose(got.x, 0.1 * end.x, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(got.log_det, between.log_det + end.log_det + LENGTH * np.log(0.1), rtol=1e-5)
  assert np.abs(end.x - z).max() > 0.1


def test_features_reach_their_frame_the_one_before_and_the_later_ones():
  """What comes behind the next frame is not seen; so frames of zeros behind the end of an utterance change nothing."""
  _, params, z, cond = tiny()
  for _, of_cond in jacobians():
    moved = np.any(of_cond != 0, axis=-1)
    frame = np.arange(LENGTH)[:, None] // HOP
    np.testing.assert_array_equal(moved[frame[:, 0] < FRAMES - 2, -1], False)
    assert np.all(moved[np.abs(frame - np.arange(FRAMES)) <= 1])
  pad = lambda value, length: jnp.pad(value[:, :length], ((0, 0), (0, value.shape[1] - length), *((0, 0),) * (value.ndim - 2)))
  whole = generate()(params, pad(z, 2 * HOP), pad(cond, 2)).x
  part = generate()(params, z[:, :2 * HOP], cond[:, :2]).x
  np.testing.assert_allclose(whole[:, :2 * HOP], part, rtol=1e-5, atol=1e-6)


def test_it_begins_as_scaled_noise():
  """x = initial_scale z, whatever the features."""
  student, _, z, cond = tiny()
  output = generate()(jax.jit(student.init)(jax.random.key(0)), z, cond)
  np.testing.assert_allclose(output.x, TINY['initial_scale'] * z, rtol=1e-6)
  np.testing.assert_array_equal(output.conditional.mean, 0.0)
  np.testing.assert_allclose(output.log_det, LENGTH * np.log(TINY['initial_scale']), rtol=1e-6)


def test_remat_changes_nothing():
  """Neither the sample nor the gradient."""
  _, params, z, cond = tiny()

  def loss(params, student):
    output = student.z_to_x(params, z, cond)
    return jnp.mean(jnp.abs(output.x)) + jnp.mean(output.log_det)

  plain, remat = (jax.jit(jax.value_and_grad(functools.partial(loss, student=tiny(**settings)[0])))(params)
                  for settings in ({}, dict(remat=True)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain, remat)


def test_parameter_counts():
  """From the description of the layers; the paper's six flows of ten layers of 64 channels have a golden number."""
  for flows, layers, width, features, between, golden in ((2, 3, 4, 0, 8, None), (6, 7, 24, 26, 64, 262_252),
                                                          (6, 10, 64, 63, 64, 1_770_508)):
    student = students.make('wavenet', (None,), num_features=features, num_flows=flows, num_layers=layers, width=width,
                            feature_width=between)
    layer = 2 * width * 2 * width + 2 * width + width * width + width
    expected = flows * (2 * width + layers * layer + width * width + width + 2 * width + 2)
    if features:
      expected += 3 * features * between + between + between * flows * layers * 2 * width
    assert constructors.num_params(student.init) == expected == (golden or expected)


@pytest.mark.parametrize('event,settings,words', [
    ((4, 4, 1), {}, r'waveforms of shape \(T,\), got event shape \(4, 4, 1\)'),
    ((None,), dict(num_flows=0), 'num_flows must be at least 1, got 0'),
    ((None,), dict(initial_scale=0.0), 'initial_scale must be positive, got 0.0')])
def test_settings_that_do_not_fit(event, settings, words):
  """One sentence."""
  with pytest.raises(InputError, match=words):
    students.make('wavenet', event, **{**TINY, **settings})


def test_features_that_do_not_fit():
  """Missing, of another number, or not whole frames."""
  student, params, z, cond = tiny()
  with pytest.raises(InputError, match=r'cond is missing: 16 samples take features \[B, F, 3\], where F divides that number'):
    student.z_to_x(params, z)
  for wrong in (cond[:, :3], cond[..., :2]):
    with pytest.raises(InputError, match=r'cond has shape \[.*\]: 16 samples take features \[B, F, 3\]'):
      student.z_to_x(params, z, wrong)
