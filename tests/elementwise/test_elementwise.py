"""The elementwise maps against float64, over ranges."""
import functools

import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from inverse_matching import elementwise
from inverse_matching.elementwise import gaussian, links, mixtures, priors
from inverse_matching.errors import InputError
from inverse_matching.losses import common
from inverse_matching.types import Gaussian

value = strategies.floats(-100, 100, width=32)
log_scale = strategies.floats(-7, 7, width=32)
EPS = float(np.finfo(np.float32).eps)


@hypothesis.given(value, value, log_scale)
def test_gaussian_matches_float64(x, mean, scale):
  """z and log |dz/dx| to a few units in the last place; z_to_x gives x back to the precision of x and mean."""
  theta = Gaussian(jnp.float32(mean), jnp.float32(scale))
  z, log_det = gaussian.x_to_z(jnp.float32(x), theta)
  exact = (x - mean) * np.exp(-scale)
  np.testing.assert_allclose(z, exact, rtol=20 * EPS, atol=1e-37)
  assert float(log_det) == -scale
  back = gaussian.z_to_x(z, theta)
  np.testing.assert_allclose(back, x, rtol=0, atol=30 * EPS * (abs(x) + abs(mean) + 1e-30))


@hypothesis.given(value, value, log_scale)
def test_gaussian_log_det_is_its_derivative(x, mean, scale):
  """log_det = log |dz/dx| by autodiff."""
  theta = Gaussian(jnp.float32(mean), jnp.float32(scale))
  slope = jax.grad(lambda x: gaussian.x_to_z(x, theta)[0])(jnp.float32(x))
  np.testing.assert_allclose(np.log(slope), gaussian.x_to_z(jnp.float32(x), theta)[1], rtol=1e-5, atol=1e-6)


def test_split_reads_the_last_axis():
  """Raw network outputs [..., 2] become mean and log_scale."""
  raw = jnp.arange(12.0).reshape(2, 3, 2)
  theta = gaussian.split(raw)
  assert gaussian.num_params == raw.shape[-1]
  np.testing.assert_array_equal(theta.mean, raw[..., 0])
  np.testing.assert_array_equal(theta.log_scale, raw[..., 1])


# Maps made from a distribution function. N scalars at a time.

N, K, LEVELS = 64, 3, 11
MAPS = {
    'logistic': lambda: elementwise.make('logistic'),
    'mixture': lambda: elementwise.make('mixture_of_logistics', num_mixtures=K),
    'mixture_uniform': lambda: elementwise.make('mixture_of_logistics', num_mixtures=K, prior='uniform'),
    'neural': lambda: elementwise.make('neural', num_units=K, num_layers=2),
    'categorical': lambda: elementwise.make('categorical', levels=LEVELS),
    'discretized': lambda: elementwise.make('discretized_mixture_of_logistics', levels=LEVELS, num_mixtures=K),
    'discretized_uniform': lambda: elementwise.make('discretized_mixture_of_logistics', levels=LEVELS, num_mixtures=K,
                                                    prior='uniform'),
}
names = pytest.mark.parametrize('name', MAPS)
seeds = strategies.integers(0, 2**32 - 1)
spreads = strategies.floats(0.1, 2.5)  # of theta: at 2.5 scales reach from 1e-3 to 1e3
few = hypothesis.settings(max_examples=10)


@functools.cache
def compiled(name):
  """(map, x_to_z with autodiff's dz/dx, z_to_x)."""
  scalar_map = MAPS[name]()
  slope = jax.vmap(jax.grad(lambda x, theta: scalar_map.x_to_z(x, theta)[0]))
  return scalar_map, jax.jit(lambda x, theta: (*scalar_map.x_to_z(x, theta), slope(x, theta))), jax.jit(scalar_map.z_to_x)


def draw_theta(scalar_map, rng, spread):
  return scalar_map.split(jnp.asarray(np.clip(spread * rng.normal(size=(N, scalar_map.num_params)), -7, 7), jnp.float32))


def draw_x(scalar_map, theta, rng):
  """Within the levels, or from the middle to 1e3 scales away from a component."""
  if scalar_map.levels:
    return jnp.asarray(rng.integers(0, LEVELS, N) + rng.uniform(1e-3, 1 - 1e-3, N), jnp.float32)
  mean, scale = (np.asarray(v, np.float64).reshape(N, -1)[:, 0] for v in (theta.mean, np.exp(theta.log_scale)))
  return jnp.asarray(mean + scale * rng.choice([-1, 1], N) * 10.0**rng.uniform(-2, 3, N), jnp.float32)


def logit_mixture64(x, theta):
  """(t, log dt/dx) of a mixture of logistics, in float64."""
  y = (x[:, None] - theta.mean) * np.exp(-theta.log_scale)
  log_weight = scipy.special.log_softmax(theta.logits, -1)
  low, high = scipy.special.log_expit(y), scipy.special.log_expit(-y)
  total = lambda part: scipy.special.logsumexp(log_weight + part, axis=-1)
  return total(low) - total(high), total(low + high - theta.log_scale) - total(low) - total(high)


def law64(name, theta):
  """log p [N, LEVELS] of a discrete map in float64, by the definition: differences of the CDF, from the nearer tail."""
  if name.startswith('categorical'):
    return scipy.special.log_softmax(theta.logits, -1)
  edges = (2 * np.arange(LEVELS + 1) - 1) / (LEVELS - 1) - 1
  edges[0], edges[-1] = -np.inf, np.inf
  y = (edges[:, None, None] - theta.mean) * np.exp(-theta.log_scale)
  cdf, survival = scipy.special.expit(y), scipy.special.expit(-y)
  mass = np.where(y[:-1] + y[1:] < 0, np.diff(cdf, axis=0), -np.diff(survival, axis=0))
  return np.log(np.sum(scipy.special.softmax(theta.logits, -1) * mass, -1)).T


def t_and_slope64(name, x, theta):
  """(t, log dt/dx) in float64."""
  if name == 'logistic':
    return (x - theta.mean) * np.exp(-theta.log_scale), -theta.log_scale
  if name.startswith('mixture'):
    return logit_mixture64(x, theta)
  k = np.floor(x).astype(int)
  log_prob = law64(name, theta)
  masked = lambda keep: scipy.special.logsumexp(np.where(keep, log_prob, -np.inf), axis=-1)
  here, levels = log_prob[np.arange(N), k], np.arange(LEVELS)
  low = np.logaddexp(masked(levels < k[:, None]), np.log(x - k) + here)
  high = np.logaddexp(masked(levels > k[:, None]), np.log(1 - (x - k)) + here)
  return low - high, here - low - high


def exact(name, x, theta):
  """(z, log dz/dx, t) in float64 of the same float32 numbers."""
  theta = jax.tree.map(lambda a: np.asarray(a, np.float64), theta)
  x = np.asarray(x, np.float64)
  if name == 'neural':
    total = 0
    for i in range(2):
      x, slope = logit_mixture64(x, mixtures.Mixture(*(part[:, i] for part in theta)))
      total = total + slope
    return x, total, x
  t, slope = t_and_slope64(name, x, theta)
  log_logistic = scipy.special.log_expit(t) + scipy.special.log_expit(-t)
  if name.endswith('uniform'):
    return scipy.special.expit(t), slope + log_logistic, t
  z = -np.sign(t) * scipy.special.ndtri_exp(scipy.special.log_expit(-np.abs(t)))
  return z, slope + log_logistic - scipy.stats.norm.logpdf(z), t


@names
@few
@hypothesis.given(seeds, spreads)
def test_matches_float64(name, seed, spread):
  """z and log |dz/dx|, 1e3 scales into the tails; and log |dz/dx| is that of autodiff."""
  scalar_map, encode, _ = compiled(name)
  rng = np.random.default_rng(seed)
  theta = draw_theta(scalar_map, rng, spread)
  x = draw_x(scalar_map, theta, rng)
  z, log_det, slope = (np.asarray(v, np.float64) for v in encode(x, theta))
  want_z, want_log_det, t = exact(name, x, theta)
  size = 1 + np.abs(t)
  if name.startswith('discretized'):  # of what is rounded away in the difference between two edges
    size = size + np.exp(-np.asarray(theta.log_scale).min(-1))
  if name == 'neural':
    size = size * np.exp(np.maximum(0, -np.asarray(theta.log_scale[:, 1]).min(-1)))  # what the second layer magnifies
  np.testing.assert_array_less(np.abs(z - want_z), 4e-6 * (size if name != 'mixture' else 1 + np.abs(want_z)))
  np.testing.assert_array_less(np.abs(log_det - want_log_det), 4e-6 * size)
  seen = np.abs(log_det) < 60  # elsewhere dz/dx is not a float32
  np.testing.assert_array_less(np.abs(np.log(slope[seen]) - log_det[seen]), 2e-5 * size[seen])


@names
@few
@hypothesis.given(seeds, spreads)
def test_monotone_and_undone(name, seed, spread):
  """z grows with x; x_to_z(z_to_x(z)) = z, or the x nearest to it in float32."""
  scalar_map, encode, decode = compiled(name)
  rng = np.random.default_rng(seed)
  theta = draw_theta(scalar_map, rng, spread)
  one = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), theta)
  z = np.asarray(encode(jnp.sort(draw_x(scalar_map, one, rng)), one)[0])
  assert np.all(np.diff(z) >= -1e-5 * (1 + np.abs(z[1:])))
  uniform = 10.0**rng.uniform(-6, np.log10(0.5), N)
  uniform = np.where(rng.uniform(size=N) < 0.5, uniform, 1 - uniform)
  z = jnp.asarray(uniform if name.endswith('uniform') else scipy.stats.norm.ppf(uniform), jnp.float32)
  x = decode(z, theta)
  assert np.isfinite(x).all()
  back, log_det, _ = encode(x, theta)
  spacing = np.exp(np.minimum(np.asarray(log_det, np.float64), 50)) * np.spacing(np.abs(x))
  np.testing.assert_array_less(np.abs(back - z), 3e-5 + 4 * spacing)


@names
def test_gradients_of_the_inverse(name):
  """dx/dz = exp(-log_det); as theta moves, x moves so that z stays."""
  scalar_map, encode, _ = compiled(name)
  theta = draw_theta(scalar_map, np.random.default_rng(0), 0.7)
  z = jnp.asarray(np.linspace(0.05, 0.95, N), jnp.float32)
  if not scalar_map.differentiable:
    with pytest.raises(InputError, match='discrete head'):
      common.check_differentiable('reverse_kl', scalar_map)
    return
  jvp = jax.jit(jax.jvp, static_argnums=0)
  x, dx = jvp(lambda z: scalar_map.z_to_x(z, theta), (z,), (jnp.ones(N),))
  np.testing.assert_allclose(np.log(dx), -encode(x, theta)[1], rtol=1e-4, atol=1e-4)
  tangent = jax.tree.map(jnp.ones_like, theta)._replace(log_scale=0.3 * jnp.ones_like(theta.log_scale))
  both = lambda theta: scalar_map.x_to_z(scalar_map.z_to_x(z, theta), theta)[0]
  alone = lambda theta: scalar_map.x_to_z(x, theta)[0]
  moved, still = (jvp(function, (theta,), (tangent,))[1] for function in (alone, both))
  assert np.abs(moved).min() > 1e-3
  np.testing.assert_allclose(still, 0, atol=1e-4)


@names
def test_law(name):
  """What is drawn in numpy from the model becomes its prior; `sample` has the law of what is drawn."""
  scalar_map, encode, _ = compiled(name)
  rng = np.random.default_rng(1)
  num = 64 * N
  theta = jax.tree.map(lambda leaf: leaf[:1], draw_theta(scalar_map, rng, 0.8))
  many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num, *leaf.shape[1:])), theta)
  theta64 = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), theta)
  if name == 'neural':  # no sampler in closed form: the density adds to one
    x = np.linspace(-100, 100, 200_001)
    z, log_det, _ = exact(name, x, theta)
    assert abs(scipy.integrate.trapezoid(np.exp(log_det + scipy.stats.norm.logpdf(z)), x) - 1) < 1e-4
    return
  if scalar_map.levels:
    prob = np.exp(law64(name, jax.tree.map(lambda a: a[None], theta64)))[0]
    assert abs(prob.sum() - 1) < 1e-6
    x = rng.choice(LEVELS, num, p=prob / prob.sum()) + rng.uniform(1e-6, 1 - 1e-3, num)
  else:
    mean, scale = np.atleast_1d(theta64.mean), np.atleast_1d(np.exp(theta64.log_scale))
    chosen = rng.choice(len(mean), num, p=scipy.special.softmax(theta64.logits) if len(mean) > 1 else None)
    x = mean[chosen] + scale[chosen] * rng.logistic(size=num)
  x = x.astype(np.float32)
  z, log_det = jax.jit(scalar_map.x_to_z)(x, many)
  cdf = scipy.stats.uniform.cdf if name.endswith('uniform') else scipy.stats.norm.cdf
  assert scipy.stats.kstest(np.asarray(z), cdf).pvalue > 1e-2
  if scalar_map.levels:
    log_prob = scalar_map.prior((1,)).log_density(z[:, None])[:, 0] + log_det
    np.testing.assert_allclose(log_prob, np.log(prob)[np.floor(x).astype(int)], atol=2e-5)
  if scalar_map.sample is not None:
    drawn = jax.jit(scalar_map.sample)(rng.uniform(size=num).astype(np.float32), many)
    assert scipy.stats.ks_2samp(np.asarray(drawn), x).pvalue > 1e-2


def test_plateau_between_two_modes():
  """Where the density is 1e-400 the inverse still finds the x of a z, and needs no more steps than the bound."""
  theta = mixtures.Mixture(jnp.zeros((5, 2)), jnp.array([[-1.0, 1.0]] * 5), jnp.full((5, 2), -7.0))
  z = jnp.array([-3.0, -0.5, 0.0, 0.5, 3.0])
  scalar_map, _, decode = compiled('mixture')
  x = np.asarray(decode(z, theta))
  assert np.all(np.abs(x[[0, 1]] + 1) < 0.01) and np.all(np.abs(x[[3, 4]] - 1) < 0.01) and abs(x[2]) < 1
  np.testing.assert_allclose(np.delete(jax.jit(scalar_map.x_to_z)(x, theta)[0], 2), np.delete(z, 2), atol=2e-3)


def test_normal_quantile_far_out():
  """Relative precision where the CDF is 0 or 1, and back."""
  t = np.concatenate([np.geomspace(1e-3, 1e4, 200), -np.geomspace(1e-3, 1e4, 200)]).astype(np.float32)
  want = -np.sign(t) * scipy.special.ndtri_exp(scipy.special.log_expit(-np.abs(t.astype(np.float64))))
  z = jax.jit(links.normal_quantile)(t)
  np.testing.assert_allclose(z, want, rtol=4e-7, atol=4e-7)
  np.testing.assert_allclose(links.LINKS['normal'].z_to_t(z), t, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize('prior', ['normal', 'uniform'])
def test_logistic_far_out(prior):
  """At scales of e^-7, out to 1e30: z, its slope and the gradients of both are finite; normal z and its slope are right."""
  mapped = elementwise.make('logistic', prior=prior)
  x = np.concatenate([sign * np.geomspace(1e-4, 1e30, 300) for sign in (-1, 1)]).astype(np.float32)
  theta = Gaussian(jnp.zeros_like(x), jnp.full_like(x, -7.0))
  z, log_slope = jax.jit(mapped.x_to_z)(x, theta)
  assert np.isfinite(z).all() and np.isfinite(log_slope).all()
  for i in (0, 1):
    gradients = jax.jit(jax.grad(lambda x, theta, i=i: jnp.sum(mapped.x_to_z(x, theta)[i]), (0, 1)))(x, theta)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients)), i
  if prior == 'normal':
    # P(Z > z) = F(-t) is about exp(-z^2 / 2), and dz/dt about 1 / z.
    far = np.abs(x) > 1
    t = x[far].astype(np.float64) * np.exp(7.0)
    np.testing.assert_allclose(z[far], np.sign(t) * np.sqrt(2 * np.abs(t)), rtol=0.01)
    np.testing.assert_allclose(log_slope[far], 7.0 - 0.5 * np.log(2 * np.abs(t)), atol=0.01)


def test_mixture_far_out():
  """Beyond all components, the slope of the logit of its CDF is that of the widest one."""
  theta = mixtures.Mixture(*(jnp.asarray(v, jnp.float32) for v in ([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-7.0, -3.0, -1.0])))
  x = np.array([-1e20, -1e6, -1e3, 1e3, 1e6, 1e20], np.float32)
  spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(x), 3)), theta)
  t, log_slope = jax.jit(mixtures.logit_cdf)(x, spread)
  np.testing.assert_allclose(log_slope, 1.0, atol=1e-6)
  np.testing.assert_allclose(t, x * np.exp(1.0), rtol=0.01)


def test_hazard():
  """Against scipy in double precision, across the place where the series begins."""
  y = np.concatenate([np.linspace(-8, 40, 500), np.geomspace(40, 1e6, 50)]).astype(np.float32)
  want = 0.5 * np.log(2 / np.pi) - np.log(scipy.special.erfcx(y.astype(np.float64) / np.sqrt(2)))
  np.testing.assert_allclose(jax.jit(links.log_hazard)(y), want, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize('name,settings,words', [
    ('gausian', {}, r"did you mean 'gaussian'"),
    ('gaussian', {'num_mixtures': 3}, "config.teacher does not fit 'gaussian': .*'num_mixtures'; its own fields are none"),
    ('mixture_of_logistics', {'levels': 3}, 'its own fields are num_mixtures, prior'),
    ('mixture_of_logistics', {'num_mixtures': 0}, 'num_mixtures must be at least 1, got 0'),
    ('categorical', {}, "config.teacher does not fit 'categorical': .*'levels'; its own fields are "),
    ('discretized_mixture_of_logistics', {'levels': 1}, 'levels must be at least 2, got 1'),
    ('logistic', {'prior': 'gaussian'}, "Unknown prior 'gaussian': use one of normal, uniform"),
])
def test_make_refuses(name, settings, words):
  """One sentence, when the map is built."""
  with pytest.raises(InputError, match=words):
    elementwise.make(name, **settings)


def test_make_takes_one_of_ones_own():
  """'package.module:factory'; what is None is not given."""
  assert elementwise.make('constructors:own_map', num_mixtures=None) is gaussian
  assert elementwise.make('gaussian', levels=None).prior is priors.standard_normal
