"""Heads: what a sub-pixel may depend on within its pixel, for every elementwise map."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import elementwise, teachers
from inverse_matching.errors import InputError
from inverse_matching.nets import heads

CHANNELS = 3
SETTINGS = {'gaussian': {}, 'logistic': {}, 'mixture_of_logistics': dict(num_mixtures=2), 'neural': dict(num_units=2),
            'categorical': dict(levels=5), 'discretized_mixture_of_logistics': dict(levels=5, num_mixtures=2)}
names = pytest.mark.parametrize('name', elementwise.MAPS)


def test_every_map_is_here():
  """A new map is tested as a head too."""
  assert set(SETTINGS) == set(elementwise.MAPS)


@functools.cache
def make(name):
  scalar_map = elementwise.make(name, **SETTINGS[name])
  head = heads.make(scalar_map, CHANNELS)
  raw = jax.random.normal(jax.random.key(0), (2, 1, 2, head.num_outputs))
  x = (scalar_map.levels or 2) * jax.random.uniform(jax.random.key(1), (2, 1, 2, CHANNELS))
  return scalar_map, head, raw, x


@names
def test_channels_are_causal(name):
  """theta of a channel reads the channels before it and no other, in its means or logits alone."""
  scalar_map, head, raw, x = make(name)
  theta = jax.jit(head.theta)
  before = theta(raw, x)
  for channel in range(CHANNELS):
    moved = x.at[..., channel].set((x[..., channel] + 1.3) % (scalar_map.levels or 9))
    after = theta(raw, moved)
    for field, a, b in zip(before._fields, before, after):
      changed = np.asarray(a != b).reshape(-1, CHANNELS, a[0, 0, 0, 0].size).any((0, 2))
      is_location = field == ('mean' if hasattr(before, 'mean') else 'logits')
      assert changed.tolist() == [is_location and later > channel for later in range(CHANNELS)], field


@names
def test_every_output_is_used(name):
  """Each of num_outputs changes theta; of one channel, as many as the map has."""
  scalar_map, head, raw, x = make(name)
  x = x + 1 if scalar_map.levels is None else x
  total = lambda raw: sum(jnp.sum(leaf * (1 + jnp.arange(leaf.size).reshape(leaf.shape))) for leaf in head.theta(raw, x))
  assert np.all(np.any(jax.jit(jax.grad(total))(raw) != 0, axis=(0, 1, 2)))
  assert heads.make(scalar_map, 1).num_outputs == scalar_map.num_params


@names
def test_whatever_the_outputs_z_is_finite(name):
  """At outputs of 1e3 too: log-scales are bounded."""
  scalar_map, head, raw, x = make(name)
  z, log_det = jax.jit(lambda raw: scalar_map.x_to_z(x, head.theta(raw, x)))(1e3 * raw)
  assert np.isfinite(z).all() and np.isfinite(log_det).all()


def test_discrete_data_is_seen_without_its_noise():
  """k in -1..1, whatever u."""
  _, head, _, _ = make('categorical')
  x = jnp.array([0.0, 0.999, 1.0, 2.5, 4.0, 4.9999, 5.0, -0.1])
  np.testing.assert_allclose(head.see(x), [-1, -1, -0.5, 0, 1, 1, 1, -1], atol=1e-7)


def test_a_map_of_ones_own_needs_a_field_that_channels_can_move():
  """One sentence when it is built; one channel needs none."""
  nameless = elementwise.gaussian._replace(split=lambda raw: (raw[..., 0], raw[..., 1]))
  with pytest.raises(InputError, match='3 channels, and theta .* no field mean or logits'):
    heads.make(nameless, 3)
  assert heads.make(nameless, 1).num_outputs == 2


def test_the_teacher_says_what_a_map_does_not_have():
  """Settings of the map stand beside those of the network."""
  with pytest.raises(InputError, match="'mixture_of_logistics'.*'levels'.* num_mixtures, prior"):
    teachers.make('pixelcnn', (4, 4, 1), elementwise='mixture_of_logistics', levels=4)
  teacher = teachers.make('pixelcnn', (4, 4, 1), elementwise='categorical', levels=4, num_blocks=1, num_filters=2, num_levels=1)
  assert teacher.levels == 4 and not teacher.differentiable and teacher.cached is not None


def test_log_scales_have_the_bound_that_is_given():
  """From above, approached at large outputs; small ones are the value itself; a map without log-scales has nothing to bound."""
  head = heads.make(elementwise.gaussian, 1, max_log_scale=2.0)
  raw = jnp.array([[0.0, 1e3], [0.0, -1e3], [0.0, 0.01], [0.0, -0.01]])
  log_scale = lambda raw: head.theta(raw, jnp.zeros((*raw.shape[:-1], 1))).log_scale[..., 0]
  np.testing.assert_allclose(log_scale(raw), [2, -heads.MAX_LOG_SCALE, 0.01, -0.01], rtol=1e-4)
  slopes = jax.vmap(jax.grad(lambda value: log_scale(jnp.stack([jnp.zeros(()), value]))))(jnp.array([-1e-4, 0.0, 1e-4, 1e3]))
  np.testing.assert_allclose(slopes, [1, 1, 1, 0], atol=1e-6)
  for wrong, scalar_map in ((0.0, elementwise.gaussian), (2.0, elementwise.make('categorical', levels=4))):
    with pytest.raises(InputError, match='max_log_scale is .* positive number, for an elementwise map with log-scales'):
      heads.make(scalar_map, 1, max_log_scale=wrong)
