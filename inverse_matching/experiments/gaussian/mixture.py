"""A teacher with several modes in two dimensions, and a student that could hold them all."""
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
import numpy as np

from inverse_matching import random
from inverse_matching.elementwise import priors
from inverse_matching.exactness import exact
from inverse_matching.teachers import build
from inverse_matching.types import Array, Student, StudentOutput, Teacher, check_event, sum_event

EVENT = (2,)
_LOG_TAIL = -80.0  # of the distribution function: beyond it float32 has no quantile


def ring(num_modes: int, radius: float, scale: float) -> Teacher:
  """Equal Gaussians around a circle as an autoregressive model: x_1, then x_2 given the modes that x_1 leaves likely.

  Parameters {'mean' [K, 2], 'log_scale' []}. z = Phi^-1(F(x_t | x_<t)), F the distribution function. Samples are drawn
  through the component, so nothing is inverted.
  """

  def init(key):
    del key
    angle = 2 * np.pi * (np.arange(num_modes) + 0.5) / num_modes
    return {'mean': jnp.asarray(radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1), jnp.float32),
            'log_scale': jnp.log(jnp.asarray(scale, jnp.float32))}

  def x_to_z(params, x, cond=None):
    del cond
    first = norm.logpdf(x[:, :1], params['mean'][:, 0], jnp.exp(params['log_scale']))  # [B, K]
    log_weight = jnp.stack([jnp.full_like(first, -np.log(num_modes)), jax.nn.log_softmax(first)], axis=1)  # [B, 2, K]
    scaled = (x[..., None] - params['mean'].T) * jnp.exp(-params['log_scale'])
    log_below = jax.nn.logsumexp(log_weight + norm.logcdf(scaled), axis=-1)
    log_above = jax.nn.logsumexp(log_weight + norm.logcdf(-scaled), axis=-1)
    log_density = jax.nn.logsumexp(log_weight + norm.logpdf(scaled) - params['log_scale'], axis=-1)
    quantile = jax.scipy.special.ndtri(jnp.exp(jnp.maximum(jnp.minimum(log_below, log_above), _LOG_TAIL)))
    z = jnp.where(log_below < log_above, quantile, -quantile)
    return z, sum_event(log_density - norm.logpdf(z))

  def log_prob(params, x, cond=None, key=None, mask=None):
    del cond, key, mask
    check_event('x', x, EVENT)
    log_densities = norm.logpdf(x[:, None], params['mean'], jnp.exp(params['log_scale']))
    return jax.nn.logsumexp(jnp.sum(log_densities, axis=-1), axis=-1) - np.log(num_modes)

  def sample(params, keys, cond=None):
    del cond
    mode = jnp.floor(random.uniform(random.stream(keys, 'noise'), ()) * num_modes).astype(jnp.int32)
    mode = jnp.minimum(mode, num_modes - 1)
    return params['mean'][mode] + jnp.exp(params['log_scale']) * random.normal(random.stream(keys, 'prior'), EVENT)

  # The density is that of the mixture: through z it has no gradient beyond float32's quantiles.
  return build.from_transform(EVENT, priors.standard_normal(EVENT), init, x_to_z)._replace(log_prob=log_prob, sample=sample)


def couplings(num_layers: int, num_hidden: int) -> Student:
  """A flow of affine couplings (Dinh et al., 2017) that starts at the identity: one coordinate moves given the other."""

  def init(key):
    def layer(key):
      first, second, third = jax.random.split(key, 3)
      return {'in': jax.random.normal(first, (1, num_hidden)), 'in_bias': jax.random.normal(second, (num_hidden,)),
              'hidden': jax.random.normal(third, (num_hidden, num_hidden)) / np.sqrt(num_hidden),
              'hidden_bias': jnp.zeros(num_hidden), 'out': jnp.zeros((num_hidden, 2)), 'out_bias': jnp.zeros(2)}

    return [layer(k) for k in jax.random.split(key, num_layers)]

  def theta(layer: Any, given: Array) -> tuple[Array, Array]:
    hidden = jnp.tanh(given[:, None] @ layer['in'] + layer['in_bias'])
    hidden = jnp.tanh(hidden @ layer['hidden'] + layer['hidden_bias'])
    shift, log_scale = (hidden @ layer['out'] + layer['out_bias']).T
    return shift, 2 * jnp.tanh(0.5 * log_scale)

  def z_to_x(params, z, cond=None, key=None):
    del cond, key
    check_event('z', z, EVENT)
    given, moved = z[:, 0], z[:, 1]
    log_det = jnp.zeros(z.shape[0])
    for layer in params:
      shift, log_scale = theta(layer, given)
      given, moved = moved * jnp.exp(log_scale) + shift, given
      log_det += log_scale
    # An even number of layers ends with the coordinates in their places.
    return StudentOutput(jnp.stack([given, moved], axis=-1), log_det)

  return Student(EVENT, init, exact(z_to_x), has_log_det=True)
