"""The parts of the networks, and golden parameter counts."""
import chex
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import random, teachers
from inverse_matching.errors import InputError
from inverse_matching.nets import causal_conv

KEYS = random.keys_at(0, np.arange(64, dtype=np.uint32))


@pytest.mark.parametrize('rate', [0.25, 0.5, 0.1])
def test_dropout_mean_and_scale(rate):
  """A share `rate` (rounded to 1/256) is zero, the rest is scaled so that the mean stays."""
  x = jnp.ones((64, 10, 10, 4))
  y = np.asarray(causal_conv.dropout(x, KEYS, rate, ('a',)))
  rounded = round(rate * 256) / 256
  assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - rounded))}
  error = 5 * np.sqrt(rounded * (1 - rounded) / y.size)
  assert abs(np.mean(y == 0) - rounded) < error
  assert abs(y.mean() - 1) < error / (1 - rounded)


def test_dropout_streams():
  """No key or rate 0: the identity. Layers differ by path, examples by key; the same key and path repeat."""
  x = jnp.ones((64, 8))
  np.testing.assert_array_equal(causal_conv.dropout(x, None, 0.5, ('a',)), x)
  np.testing.assert_array_equal(causal_conv.dropout(x, KEYS, 0.0, ('a',)), x)
  a, again, b = (np.asarray(causal_conv.dropout(x, KEYS, 0.5, path)) for path in (('a',), ('a',), ('b',)))
  np.testing.assert_array_equal(a, again)
  assert 0.4 < np.mean(a != b) < 0.6
  assert len(np.unique(a, axis=0)) > 30
  np.testing.assert_array_equal(causal_conv.dropout(x[:4], KEYS[10:14], 0.5, ('a',)), a[10:14])


def test_shifts():
  """Row i receives row i - 1, column j receives column j - 1; zeros come in."""
  x = jnp.arange(1.0, 7).reshape(1, 2, 3, 1)
  assert causal_conv.shift_down(x)[0, ..., 0].tolist() == [[0, 0, 0], [1, 2, 3]]
  assert causal_conv.shift_right(x)[0, ..., 0].tolist() == [[0, 1, 2], [0, 4, 5]]


@pytest.mark.parametrize('direction,width', [('down', 3), ('right', 2)])
def test_causal_conv_sees_only_what_it_may(direction, width):
  """A unit at (2, 2) reaches the outputs below, and in its row those that `direction` allows."""
  conv = causal_conv.CausalConv(1, direction)
  params = {'params': {'kernel': jnp.ones((2, width, 1, 1)), 'bias': jnp.zeros(1)}}
  seen = np.asarray(conv.apply(params, jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)))[0, ..., 0]
  expected = np.zeros((5, 5))
  expected[2:4, (slice(1, 4) if direction == 'down' else slice(2, 4))] = 1
  np.testing.assert_array_equal(seen, expected)


def test_upsample_places_blocks():
  """Each position becomes its own 2 x 2 block, cropped to the size asked for."""
  up = causal_conv.Upsample(1)
  params = {'params': {'Dense_0': {'kernel': jnp.ones((1, 4)), 'bias': jnp.array([0.0, 0.1, 0.2, 0.3])}}}
  y = np.asarray(up.apply(params, jnp.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1), 3, 4))[0, ..., 0]
  block = np.array([[0, 0.1], [0.2, 0.3]])
  expected = np.block([[1 + block, 2 + block], [3 + block, 4 + block]])[:3]
  np.testing.assert_allclose(y, expected, rtol=1e-6)


def count(blocks, f, channels, levels, outputs):
  """Parameters of PixelCNN++ from its description, without the code."""
  conv = lambda h, w, i, o: h * w * i * o + o
  dense = lambda i, o: i * o + o
  gated = lambda h, w, skip: conv(h, w, 2 * f, f) + (dense(2 * skip, f) if skip else 0) + conv(h, w, 2 * f, 2 * f)
  pair = lambda skips: gated(2, 3, f * skips) + gated(2, 2, f * (1 + skips))  # `right` sees `down` as well
  total = conv(2, 3, channels + 1, f) + conv(1, 3, channels + 1, f) + conv(2, 1, channels + 1, f)
  total += levels * blocks * pair(0) + (levels - 1) * (conv(2, 3, f, f) + conv(2, 2, f, f))
  total += (levels * blocks + levels - 1) * pair(1) + (levels - 1) * 2 * dense(f, 4 * f)
  return total + dense(f, outputs)


def test_parameter_counts():
  """The paper's network on MNIST (3 blocks, 32 filters, 28x28x1) has a golden number; others follow the description."""
  golden = {}
  for shape, blocks, filters, levels in (((28, 28, 1), 3, 32, 3), ((4, 4, 1), 1, 4, 2), ((8, 8, 3), 2, 8, 3)):
    teacher = teachers.make('pixelcnn', shape, num_blocks=blocks, num_filters=filters, num_levels=levels)
    channels = shape[-1]
    outputs = 2 * channels + channels * (channels - 1) // 2
    golden[shape] = constructors.num_params(teacher.init)
    assert golden[shape] == count(blocks, filters, channels, levels, outputs)
  assert golden[(28, 28, 1)] == 1_358_018


def test_the_paper_setting_is_the_default():
  """3 blocks, 32 filters, 3 resolutions, no dropout."""
  explicit = teachers.make('pixelcnn', (8, 8, 1), num_blocks=3, num_filters=32, num_levels=3, dropout=0.0)
  shapes = [jax.eval_shape(t.init, jax.random.key(0)) for t in (teachers.make('pixelcnn', (8, 8, 1)), explicit)]
  chex.assert_trees_all_equal_shapes_and_dtypes(*shapes)


def test_initial_conditionals_are_tame():
  """At initialisation every conditional is near N(0, 1), so that training starts at a finite likelihood."""
  teacher = teachers.make('pixelcnn', (4, 4, 1), num_blocks=1, num_filters=4, num_levels=1)
  theta = jax.jit(teacher.conditional)(teacher.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (4, 4, 4, 1)))
  assert np.abs(theta.mean).max() < 2 and np.abs(theta.log_scale).max() < 2
  assert np.std(theta.mean) > 0


def test_the_network_sees_the_intensity():
  """tanh(x / 2) in place of x; the mean of a channel is still linear in x of the channels before it."""
  settings = dict(num_blocks=1, num_filters=4, num_levels=1)
  x = 3 * jax.random.normal(jax.random.key(1), (4, 3, 3, 1))
  seen, plain = (teachers.make('pixelcnn', (3, 3, 1), network_input=name, **settings) for name in ('intensity', None))
  params = constructors.random_params(plain.init, 0.7)
  theta, expected = (jax.jit(model.conditional)(params, value) for model, value in ((seen, x), (plain, jnp.tanh(x / 2))))
  chex.assert_trees_all_close(theta, expected, rtol=1e-5, atol=1e-6)

  model = teachers.make('pixelcnn', (1, 1, 3), network_input='intensity', **settings)
  params = constructors.random_params(model.init, 0.7)
  means = jax.jit(model.conditional)(params, jnp.array([[0.0, 0, 0], [5, 0, 0], [10, 0, 0]]).reshape(3, 1, 1, 3)).mean
  np.testing.assert_allclose(means[2] - means[1], means[1] - means[0], rtol=1e-5)
  assert np.abs(means[1] - means[0]).max() > 0.1


@pytest.mark.parametrize('settings', [dict(network_input='pixels'),
                                      dict(network_input='intensity', elementwise='categorical', levels=4)])
def test_a_network_input_that_there_is_not(settings):
  """Another name, or a discrete x, which is seen as its grey level anyway."""
  with pytest.raises(InputError, match='config.teacher.network_input is .* set it to intensity'):
    teachers.make('pixelcnn', (4, 4, 1), **settings)


def test_log_scale_is_bounded():
  """Whatever the weights, |log_scale| is 7 at most, and comes there: exp neither overflows nor is held back."""
  case = constructors.teacher_case('pixelcnn_permuted')
  params = jax.tree.map(lambda a: 1e3 * a, case.params)
  theta = jax.jit(case.model.conditional)(params, case.events)
  assert np.all(np.isfinite(theta.log_scale)) and 6.9 < np.abs(theta.log_scale).max() <= 7


def test_later_channels_are_linear_in_earlier_ones():
  """Within a pixel the mean of a channel is linear in the channels before it, with slopes in (-1, 1); the scale is blind."""
  case = constructors.teacher_case('pixelcnn_3_channels')
  mean, log_scale = (constructors.teacher_jacobians('pixelcnn_3_channels')[part] for part in ('mean', 'log_scale'))
  moved = jax.tree.map(np.asarray, jax.jit(case.model.conditional)(case.params, case.events.at[:, 2, 1, 0].add(0.7)))
  still = jax.tree.map(np.asarray, jax.jit(case.model.conditional)(case.params, case.events))
  last = slice(15, 18)  # the three channels of the last pixel
  for block in (mean[:, last, last],):
    assert np.all(np.abs(block[:, [1, 2, 2], [0, 0, 1]]) > 0) and np.all(np.abs(block) < 1)
  np.testing.assert_array_equal(log_scale[:, last, last], 0.0)
  np.testing.assert_allclose((moved.mean - still.mean)[:, 2, 1], 0.7 * mean[:, last, 15], rtol=1e-3, atol=1e-5)
