"""The smallest teacher of one's own: p(x_t | x_<t) is a Gaussian whose mean is linear in the dimensions before t."""
import math

import jax.numpy as jnp

from inverse_matching import Gaussian, autoregressive


def teacher(event_shape):
  size = math.prod(event_shape)

  def init(key):
    return {'weights': jnp.zeros((size, size)), 'bias': jnp.zeros(size), 'log_scale': jnp.zeros(size)}

  def conditional(params, x, cond=None, key=None):
    weights = jnp.tril(params['weights'], -1)  # row t sees the dimensions before t
    mean = jnp.matmul(x.reshape(-1, size), weights.T, precision='highest') + params['bias']
    log_scale = jnp.broadcast_to(params['log_scale'], mean.shape)
    return Gaussian(mean.reshape(x.shape), log_scale.reshape(x.shape))

  return autoregressive(event_shape, init, conditional)
