"""Orders, chains, and the map between pixels and the teacher's space."""
import constructors
import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from inverse_matching import random
from inverse_matching.data.images import dequantise
from inverse_matching.elementwise import gaussian, priors
from inverse_matching.errors import InputError
from inverse_matching.teachers import build, orders
from inverse_matching.types import Gaussian, sum_event

KEYS = random.keys_at(0, np.arange(8, dtype=np.uint32))


def logit64(v, lam):
  """The map in float64, v in (0, 1)."""
  p = lam + (1 - 2 * lam) * v
  return np.log(p) - np.log1p(-p)


def jacobian64(v, lam):
  """log |dx/dv| of one dimension in float64."""
  p = lam + (1 - 2 * lam) * v
  return np.log(1 - 2 * lam) - np.log(p) - np.log1p(-p)


# Orders and compositions.


@hypothesis.given(strategies.permutations(range(6)))
def test_permute(order):
  """`to` puts dimension order[k] at place k, `back` undoes it, with and without trailing parameters."""
  to, back = orders.permute(order)
  x = np.arange(12.0).reshape(2, 2, 3)
  np.testing.assert_array_equal(to(x).reshape(2, 6), x.reshape(2, 6)[:, order])
  np.testing.assert_array_equal(back(to(x)), x)
  raw = np.arange(24.0).reshape(2, 2, 3, 2)
  np.testing.assert_array_equal(to(raw)[..., 1].reshape(2, 6), raw[..., 1].reshape(2, 6)[:, order])


def test_order_is_the_permuted_raster_teacher():
  """T with an order = permutation back . T . permutation."""
  case = constructors.teacher_case('dense_reversed')
  plain = constructors.dense_teacher((6,))
  to, back = orders.permute(case.order)
  z, log_det = plain.x_to_z(case.params, to(case.events))
  got = constructors.encode('dense_reversed')(case.params, case.events)
  np.testing.assert_allclose(got[0], back(z), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(got[1], log_det, rtol=1e-5)


@pytest.mark.parametrize('order', [(0, 1), (0, 1, 1), (1, 2, 3)])
def test_order_must_be_a_permutation(order):
  """One sentence, when the teacher is built."""
  with pytest.raises(InputError, match=r'permutation of 0\.\.2'):
    constructors.dense_teacher((3,), order=order)


def test_chain_applies_blocks_in_turn():
  """x_to_z of the chain is that of its blocks one after the other; log-determinants add."""
  case = constructors.teacher_case('chain')
  first, second = case.model.blocks
  middle, one = first.x_to_z(case.params[0], case.events)
  z, two = second.x_to_z(case.params[1], middle)
  got = constructors.encode('chain')(case.params, case.events)
  np.testing.assert_allclose(got[0], z, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(got[1], one + two, rtol=1e-5)


def test_chain_refuses_other_shapes_and_nothing():
  """One sentence with the shapes."""
  with pytest.raises(InputError, match=r'\(3,\), \(4,\)'):
    build.chain([constructors.dense_teacher((3,)), constructors.dense_teacher((4,))])
  with pytest.raises(InputError, match='one or more'):
    build.chain([])


def test_a_chain_drops_other_units_in_each_block():
  """Keys reach the blocks, and differ: two shifts of one law add up to twice its variance, not to four times."""

  def shifted(params, x, cond=None, key=None):
    shift = 0.0 if key is None else random.normal(random.stream(key, 'dropout'), (3,))
    return Gaussian(jnp.zeros_like(x) + shift, jnp.zeros_like(x))

  block = build.autoregressive((3,), lambda key: (), shifted)
  fixed = build.from_transform((3,), block.prior, lambda key: (), lambda params, x, cond: (2 * x, jnp.full(len(x), 3.0)))
  chained = build.chain([block, block, fixed])
  x = jnp.zeros((4000, 3))
  keys = random.keys_at(0, np.arange(4000, dtype=np.uint32))
  still, noisy = chained.log_prob(((), (), ()), x), chained.log_prob(((), (), ()), x, None, keys)
  np.testing.assert_allclose(still, sum_event(chained.prior.log_density(x)) + 3, rtol=1e-6)
  np.testing.assert_allclose(np.mean(still - noisy), 0.5 * 2**2 * 3 * 2, rtol=0.1)  # of a standard error of 0.013


def test_only_the_first_of_a_chain_may_be_discrete():
  """It sees whole numbers, the others what it makes of them."""
  discrete, plain = constructors.mapped_teacher((3,), 'categorical', levels=4), constructors.dense_teacher((3,))
  assert build.chain([discrete, plain]).levels == 4
  with pytest.raises(InputError, match='discrete data can only be the first of a chain'):
    build.chain([plain, discrete])


def test_chain_with_a_block_that_has_no_inverse():
  """The chain then has none either, and says so when sampled."""
  one_way = build.from_transform((3,), priors.standard_normal((3,)), lambda key: (),
                                 lambda params, x, cond: (x, jnp.zeros(len(x))))
  chained = build.chain([constructors.dense_teacher((3,)), one_way])
  assert one_way.z_to_x is None and chained.z_to_x is None
  for model in (one_way, chained):
    with pytest.raises(InputError, match='no z_to_x'):
      model.sample(None, KEYS)


def test_head_without_inverse():
  """An autoregressive teacher whose elementwise map has no inverse has a likelihood but no solver."""
  one_way = gaussian._replace(z_to_x=None, differentiable=False)
  teacher = build.autoregressive((3,), constructors.dense_params((3,)), constructors.dense_conditional((3,)),
                                 elementwise=one_way)
  assert teacher.z_to_x is None and teacher.sweep is None and not teacher.differentiable
  assert not build.chain([teacher, constructors.dense_teacher((3,))]).differentiable
  with pytest.raises(InputError, match='cannot be inverted'):
    teacher.sample(teacher.init(jax.random.key(0)), KEYS)


# Pixels.


@pytest.mark.parametrize('levels,lam', [(17, 0.01), (256, 1e-6), (256, 0.05), (2, 0.2)])
def test_to_data_undoes_to_x(levels, lam):
  """Every grey level survives, whatever the noise."""
  preprocess = dequantise.dequantise_logit(levels, lam)
  pixels = np.tile(np.arange(levels, dtype=np.uint8)[:, None], (8, 1, 1))
  x = preprocess.to_x(pixels, KEYS)
  assert x.dtype == jnp.float32 and x.shape == pixels.shape
  np.testing.assert_array_equal(preprocess.to_data(x), pixels)


@pytest.mark.parametrize('levels,lam', [(17, 0.01), (256, 1e-6), (256, 0.05)])
def test_to_x_matches_float64(levels, lam):
  """At lambda 1e-6 too, where a float32 p near one has lost its distance from one."""
  preprocess = dequantise.dequantise_logit(levels, lam)
  pixels = np.tile(np.arange(levels, dtype=np.uint8)[:, None], (8, 1, 1))
  noise = np.asarray(random.uniform(random.stream(KEYS, 'dequantise'), (levels, 1)), np.float64)
  v = (pixels + noise) / levels
  p, q = lam + (1 - 2 * lam) * v, lam + (1 - 2 * lam) * ((levels - 1 - pixels) + (1 - noise)) / levels
  np.testing.assert_allclose(preprocess.to_x(pixels, KEYS), np.log(p) - np.log(q), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize('pixel,noise', [(255, 1 - 2.0**-24), (255, 1 - 2.0**-20), (0, 2.0**-126), (0, 2.0**-20)])
def test_to_x_at_the_ends(monkeypatch, pixel, noise):
  """The last float32 before one and the first after zero, at lambda 1e-6: as exact as in the middle."""
  monkeypatch.setattr(build.random, 'uniform', lambda keys, shape: jnp.full((len(keys), *shape), noise, jnp.float32))
  x = dequantise.dequantise_logit(256, 1e-6).to_x(np.full((8, 1), pixel, np.uint8), KEYS)
  v, rest = (pixel + noise) / 256, ((255 - pixel) + (1 - noise)) / 256
  exact = np.log(1e-6 + (1 - 2e-6) * v) - np.log(1e-6 + (1 - 2e-6) * rest)
  np.testing.assert_allclose(x, exact, rtol=1e-6)


def test_noise_is_per_example_and_fresh():
  """Another key gives other noise; the same key the same, wherever it stands in the batch."""
  preprocess = dequantise.dequantise_logit(17, 0.01)
  pixels = np.full((8, 4, 4, 1), 5, np.uint8)
  x = np.asarray(preprocess.to_x(pixels, KEYS))
  assert len(np.unique(x)) == x.size
  np.testing.assert_array_equal(preprocess.to_x(pixels[:3], KEYS[2:5]), x[2:5])


@pytest.mark.parametrize('lam', [1e-6, 0.01, 0.05])
def test_log_det_is_the_derivative(lam):
  """log |dx/dv| against autodiff of the map and against float64, up to both ends of the range."""
  preprocess = dequantise.dequantise_logit(256, lam)
  v = np.concatenate([np.geomspace(1e-7, 0.5, 50), 1 - np.geomspace(1e-7, 0.4, 50)])
  x = logit64(v, lam)[:, None].astype(np.float32)
  np.testing.assert_allclose(preprocess.log_det(x), jacobian64(v, lam), rtol=2e-5, atol=1e-5)
  middle = (v > 0.01) & (v < 0.99)

  def to_x(v):
    p = lam + (1 - 2 * lam) * v
    return jnp.log(p) - jnp.log1p(-p)

  slopes = jax.vmap(jax.grad(to_x))(jnp.float32(v[middle]))
  np.testing.assert_allclose(preprocess.log_det(x)[middle], np.log(slopes), rtol=1e-4)


def test_log_det_sums_over_the_event():
  """Of one number per example."""
  preprocess = dequantise.dequantise_logit(17, 0.01)
  x = np.linspace(-3, 3, 12).reshape(2, 2, 3).astype(np.float32)
  each = preprocess.log_det(x.reshape(12, 1)).reshape(2, 6)
  np.testing.assert_allclose(preprocess.log_det(x), each.sum(-1), rtol=1e-6)


@pytest.mark.parametrize('levels', [2, 17, 256])
def test_uniform_pixels_cost_log2_levels(levels):
  """The model under which v is uniform codes every image with exactly log2(levels) bits a dimension."""
  preprocess = dequantise.dequantise_logit(levels, 0.01)
  pixels = np.random.default_rng(0).integers(0, levels, (8, 3, 3, 1))
  x = preprocess.to_x(pixels, KEYS)
  np.testing.assert_allclose(preprocess.bits_per_dim(-preprocess.log_det(x), x), np.log2(levels), rtol=1e-6)


@pytest.mark.parametrize('mean,scale,lam', [(0.3, 0.8, 0.01), (-2.0, 0.5, 0.05), (1.0, 3.0, 1e-3)])
def test_bits_per_dim_bounds_the_discrete_model(mean, scale, lam):
  """2^-bits averaged over the noise is the probability of the grey level; bits averaged over it are at least its cost."""
  levels, grid = 17, 2000
  preprocess = dequantise.dequantise_logit(levels, lam)
  v = (np.arange(levels * grid) + 0.5) / (levels * grid)  # midpoints: grid noises for each grey level
  x = logit64(v, lam)
  log_prob = scipy.stats.norm.logpdf(x, mean, scale).astype(np.float32)
  bits = np.asarray(preprocess.bits_per_dim(log_prob, x[:, None].astype(np.float32)), np.float64).reshape(levels, grid)
  edges = scipy.stats.norm.cdf(logit64(np.arange(levels + 1) / levels, lam), mean, scale)
  probability = np.diff(edges)
  np.testing.assert_allclose((2.0**-bits).mean(1), probability, rtol=2e-3, atol=1e-6)
  seen = probability > 1e-6
  assert seen.sum() >= 5 and np.all(bits.mean(1)[seen] >= -np.log2(probability[seen]) - 1e-3)


@pytest.mark.parametrize('levels', [2, 17, 256])
def test_dequantise_uniform(levels):
  """x = pixel + u below pixel + 1, whatever the rounding; uniform x cost log2(levels) bits; to_pixels undoes it."""
  preprocess = dequantise.dequantise_uniform(levels)
  pixels = np.tile(np.arange(levels, dtype=np.uint8)[:, None], (8, 1, 1))
  x = preprocess.to_x(pixels, KEYS)
  np.testing.assert_array_equal(np.floor(x), pixels)
  assert len(np.unique(x)) > 0.99 * x.size
  np.testing.assert_array_equal(preprocess.to_data(x), pixels)
  np.testing.assert_allclose(preprocess.bits_per_dim(jnp.full(8, -levels * np.log(levels)), x), np.log2(levels), rtol=1e-6)
  np.testing.assert_array_equal(preprocess.to_data(jnp.array([[-1.0, levels + 3.0]])), [[0, levels - 1]])


def test_dequantise_uniform_stays_below_the_next_level(monkeypatch):
  """255 + (1 - 2^-24) is 256 in float32."""
  monkeypatch.setattr(build.random, 'uniform', lambda keys, shape: jnp.full((len(keys), *shape), 1 - 2.0**-24))
  x = dequantise.dequantise_uniform(256).to_x(np.array([[0], [254], [255]]), KEYS[:3])
  np.testing.assert_array_equal(np.floor(x), [[0], [254], [255]])
  with pytest.raises(InputError, match='levels >= 2'):
    dequantise.dequantise_uniform(1)


def test_bits_of_a_discrete_teacher_are_those_of_its_pixels():
  """Exact: the same for any noise, and -log2 of the probability."""
  teacher = constructors.mapped_teacher((3,), 'categorical', levels=4)
  params, preprocess = teacher.init(jax.random.key(0)), dequantise.dequantise_uniform(4)
  every = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)  # all 64 events
  bits = []
  for seed in (0, 1):
    x = preprocess.to_x(every, random.keys_at(seed, np.arange(64, dtype=np.uint32)))
    bits.append(preprocess.bits_per_dim(jax.jit(teacher.log_prob)(params, x), x))
  np.testing.assert_allclose(*bits, atol=1e-4)
  np.testing.assert_allclose(np.sum(2.0**(-3 * bits[0])), 1, rtol=1e-4)


@pytest.mark.parametrize('levels,lam', [(1, 0.1), (17, 0.0), (17, 0.5), (17, -0.1)])
def test_preprocess_refuses(levels, lam):
  """Wrong settings are told when the map is built."""
  with pytest.raises(InputError, match='levels >= 2 and 0 < logit_lambda < 0.5'):
    dequantise.dequantise_logit(levels, lam)
