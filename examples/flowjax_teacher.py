"""A masked autoregressive flow (Papamakarios et al., 2017) of another library, flowjax, as a teacher.

    pip install flowjax
    python -m launch.train_teacher --config=configs/digits.py --config.teacher.name=examples.flowjax_teacher:teacher --workdir=T

A flow of `make_flow` that flowjax has trained on the same x needs no training here: numpy.savez('weights.npz',
**weights(flow)), and

    python -m launch.import_teacher --config=configs/digits.py --config.teacher.name=examples.flowjax_teacher:teacher \\
      --weights=weights.npz --workdir=T

Any library will do whose flow has an x_to_z with a log-determinant: `from_transform` asks for no more.
"""
import math

import equinox
from flowjax import distributions, flows
import jax
import jax.numpy as jnp
import paramax

from inverse_matching import from_transform, standard_normal


def make_flow(key, size, flow_layers=4, nn_width=64):
  make = lambda key: flows.masked_autoregressive_flow(key, base_dist=distributions.Normal(jnp.zeros(size)),
                                                      flow_layers=flow_layers, nn_width=nn_width)
  # Its permutations come from the key too. They are no weights, so that they must be the same here and where it is trained.
  return equinox.combine(equinox.filter(make(key), equinox.is_inexact_array),
                         equinox.filter(make(jax.random.key(0)), equinox.is_inexact_array, inverse=True))


def weights(flow):
  arrays = jax.tree.leaves(equinox.filter(flow.bijection, equinox.is_inexact_array))
  return {str(i): array for i, array in enumerate(arrays)}


def teacher(event_shape, flow_layers=4, nn_width=64):
  size = math.prod(event_shape)

  def make(key):
    return equinox.partition(make_flow(key, size, flow_layers, nn_width).bijection, equinox.is_inexact_array)

  # The parameters are the arrays that are trained; what else the flow consists of is fixed.
  arrays, fixed = make(jax.random.key(0))

  def bijection(params):
    return paramax.unwrap(equinox.combine(jax.tree.unflatten(jax.tree.structure(arrays), params), fixed))

  def x_to_z(params, x, cond=None):
    z, log_det = jax.vmap(bijection(params).inverse_and_log_det)(x.reshape(-1, size))
    return z.reshape(x.shape), log_det

  def z_to_x(params, z, cond=None):
    return jax.vmap(bijection(params).transform)(z.reshape(-1, size)).reshape(z.shape)

  return from_transform(event_shape, standard_normal(event_shape), lambda key: jax.tree.leaves(make(key)[0]), x_to_z, z_to_x)
