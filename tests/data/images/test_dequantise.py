"""The map between pixels and the teacher's space."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from inverse_matching import random
from inverse_matching.data.images import dequantise
from inverse_matching.errors import InputError

KEYS = random.keys_at(0, np.arange(8, dtype=np.uint32))


def logit64(v, lam):
  """The map in float64, v in (0, 1)."""
  p = lam + (1 - 2 * lam) * v
  return np.log(p) - np.log1p(-p)


def jacobian64(v, lam):
  """log |dx/dv| of one dimension in float64."""
  p = lam + (1 - 2 * lam) * v
  return np.log(1 - 2 * lam) - np.log(p) - np.log1p(-p)


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
  monkeypatch.setattr(random, 'uniform', lambda keys, shape: jnp.full((len(keys), *shape), noise, jnp.float32))
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
  monkeypatch.setattr(random, 'uniform', lambda keys, shape: jnp.full((len(keys), *shape), 1 - 2.0**-24))
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
  with pytest.raises(InputError, match='logit_lambda must lie between 0 and 0.5, and images have 2 levels or more'):
    dequantise.dequantise_logit(levels, lam)
