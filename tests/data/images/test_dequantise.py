"""The map between pixels and the teacher's space."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from inverse_matching import random
from inverse_matching.data import catalogue
from inverse_matching.data.images import dataset, dequantise
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


@pytest.mark.parametrize('end_noise', [None, 'gaussian'])
@pytest.mark.parametrize('levels,lam', [(17, 0.01), (256, 1e-6), (256, 0.05), (2, 0.2)])
def test_to_data_undoes_to_x(levels, lam, end_noise):
  """Every grey level survives, whatever the noise."""
  preprocess = dequantise.dequantise_logit(levels, lam, end_noise)
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
def test_uniform_noise_has_the_density_of_the_derivative(lam):
  """log q = log levels - log |dx/dv|, against autodiff of the map and against float64, up to both ends of the range."""
  preprocess = dequantise.dequantise_logit(256, lam)
  v = np.concatenate([np.geomspace(1e-7, 0.5, 50), 1 - np.geomspace(1e-7, 0.4, 50)])
  x = logit64(v, lam)[:, None].astype(np.float32)
  np.testing.assert_allclose(preprocess.log_noise(x), np.log(256) - jacobian64(v, lam), rtol=2e-5, atol=1e-5)
  middle = (v > 0.01) & (v < 0.99)

  def to_x(v):
    p = lam + (1 - 2 * lam) * v
    return jnp.log(p) - jnp.log1p(-p)

  slopes = jax.vmap(jax.grad(to_x))(jnp.float32(v[middle]))
  np.testing.assert_allclose(preprocess.log_noise(x)[middle], np.log(256) - np.log(slopes), rtol=1e-4, atol=1e-4)


def test_log_noise_sums_over_the_event():
  """Of one number per example."""
  preprocess = dequantise.dequantise_logit(17, 0.01)
  x = np.linspace(-3, 3, 12).reshape(2, 2, 3).astype(np.float32)
  each = preprocess.log_noise(x.reshape(12, 1)).reshape(2, 6)
  np.testing.assert_allclose(preprocess.log_noise(x), each.sum(-1), rtol=1e-6)


@pytest.mark.parametrize('levels', [2, 17, 256])
def test_uniform_pixels_cost_log2_levels(levels):
  """The model under which v is uniform codes every image with exactly log2(levels) bits a dimension."""
  preprocess = dequantise.dequantise_logit(levels, 0.01)
  pixels = np.random.default_rng(0).integers(0, levels, (8, 3, 3, 1))
  x = np.asarray(preprocess.to_x(pixels, KEYS), np.float64)
  p = 1 / (1 + np.exp(-x))
  log_prob = (np.log(p * (1 - p)) - np.log(1 - 0.02)).sum((1, 2, 3))
  np.testing.assert_allclose(preprocess.bits_per_dim(log_prob, np.float32(x)), np.log2(levels), rtol=1e-5)


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


@pytest.mark.parametrize('levels,lam', [(17, 0.01), (256, 1e-6), (256, 1e-3), (2, 0.2)])
def test_gaussian_noise_of_the_end_levels(levels, lam):
  """Of the law and the density of a normal that is cut at 3.5 standard deviations, which lie between the edges of the level."""
  preprocess = dequantise.dequantise_logit(levels, lam, 'gaussian')
  first, last = logit64(np.array([0, 1 / levels]), lam)
  law = scipy.stats.truncnorm(-3.5, 3.5, (first + last) / 2, (last - first) / 7.02)
  for pixel, sign in ((0, 1), (levels - 1, -1)):
    x = np.asarray(preprocess.to_x(np.full((8, 2000), pixel), KEYS))
    assert first < (sign * x).min() and (sign * x).max() < last
    assert scipy.stats.kstest(sign * x.ravel(), law.cdf).pvalue > 0.01
    x = x[:2, :4].reshape(8, 1)
    np.testing.assert_allclose(preprocess.log_noise(x), law.logpdf(sign * x[:, 0]), rtol=1e-3, atol=1e-3)
  if levels > 2:  # of the others nothing changes
    pixels, uniform = np.tile(np.arange(1, levels - 1), (8, 1)), dequantise.dequantise_logit(levels, lam)
    x = preprocess.to_x(pixels, KEYS)
    np.testing.assert_array_equal(x, uniform.to_x(pixels, KEYS))
    np.testing.assert_array_equal(preprocess.log_noise(x), uniform.log_noise(x))


@pytest.mark.parametrize('mean,scale,lam', [(-2.0, 1.5, 0.01), (3.0, 0.7, 0.05), (0.0, 8.0, 1e-3)])
def test_bits_bound_the_discrete_model_under_gaussian_noise_too(monkeypatch, mean, scale, lam):
  """2^-bits averaged over the noise is the probability of what the noise of the level reaches."""
  levels, grid = 17, 4000
  preprocess = dequantise.dequantise_logit(levels, lam, 'gaussian')
  monkeypatch.setattr(random, 'uniform', lambda keys, shape: jnp.broadcast_to(
      (jnp.arange(grid)[:, None] + 0.5) / grid, (grid, *shape)))
  x = np.asarray(preprocess.to_x(np.tile(np.arange(levels), (grid, 1)), jnp.broadcast_to(KEYS[0], grid)), np.float64).T
  log_prob = scipy.stats.norm.logpdf(x, mean, scale)
  bits = np.asarray(preprocess.bits_per_dim(np.float32(log_prob.reshape(-1)), np.float32(x.reshape(-1, 1))), np.float64)
  edges = logit64(np.arange(levels + 1) / levels, lam)
  middle, reach = (edges[0] + edges[1]) / 2, (edges[1] - edges[0]) / 7.02 * 3.5
  low, high = edges[:-1].copy(), edges[1:].copy()
  low[0], high[0], low[-1], high[-1] = middle - reach, middle + reach, -middle - reach, -middle + reach
  probability = scipy.stats.norm.cdf(high, mean, scale) - scipy.stats.norm.cdf(low, mean, scale)
  np.testing.assert_allclose((2.0**-bits).reshape(levels, grid).mean(1), probability, rtol=1e-2, atol=1e-6)
  assert np.sum(probability > 1e-4) >= 5


@pytest.mark.parametrize('lam,wasted,distance', [(1e-6, 0.594, 0.157), (1e-3, 0.309, 0.0863)])
def test_a_gaussian_conditional_fits_black_under_gaussian_noise_alone(lam, wasted, distance):
  """The best Gaussian wastes bits on a black pixel, and its z are not normal; with end_noise it does not, and they are."""
  for end_noise, bits, ks in ((None, wasted, distance), ('gaussian', 0.0, 0.0)):
    preprocess = dequantise.dequantise_logit(256, lam, end_noise)
    x = np.asarray(preprocess.to_x(np.zeros((8, 20_000), int), KEYS), np.float64).reshape(-1, 1)
    log_prob = scipy.stats.norm.logpdf(x[:, 0], x.mean(), x.std())
    np.testing.assert_allclose(np.mean(preprocess.bits_per_dim(np.float32(log_prob), np.float32(x))), bits, atol=0.004)
    np.testing.assert_allclose(scipy.stats.kstest((x[:, 0] - x.mean()) / x.std(), 'norm').statistic, ks, atol=0.004)


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


def test_end_noise_refuses():
  """Another name, and noise in a logit that is not there."""
  with pytest.raises(InputError, match="end_noise is 'normal': use gaussian, or None"):
    dequantise.dequantise_logit(17, 0.01, 'normal')
  with pytest.raises(InputError, match='end_noise is gaussian, which is noise in the logit'):
    dataset.digits(end_noise='gaussian')


def test_end_noise_is_a_fact_of_the_space():
  """Which a model keeps; a space without it is described as before there was such a thing."""
  source = dataset.digits(logit_lambda=0.01, end_noise='gaussian')
  assert source.space.facts['end_noise'] == 'gaussian' and 'end_noise' not in dataset.digits(logit_lambda=0.01).space.facts
  black, key = np.zeros((1, 8, 8, 1), np.uint8), KEYS[:1]
  np.testing.assert_array_equal(catalogue.space(source.space.facts).codec.to_x(black, key), source.space.codec.to_x(black, key))
