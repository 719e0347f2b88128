"""A masked autoregressive flow of flowjax as a teacher: its own network, behind a conditional of ours."""
import math
from typing import Callable

import equinox as eqx
from flowjax.bijections import Affine, MaskedAutoregressive
import jax
import jax.numpy as jnp
import paramax

from inverse_matching import Gaussian, autoregressive
from inverse_matching.types import Array, Params, Teacher


def bijection(num_dims: int, width: int, depth: int) -> MaskedAutoregressive:
  """Returns an untrained one from x [T] to z [T]; their sampling of a flow is its inverse."""
  return MaskedAutoregressive(jax.random.key(0), transformer=Affine(), dim=num_dims, nn_width=width, nn_depth=depth)


def inverse(of: MaskedAutoregressive) -> Callable[[Array], Array]:
  """Returns z [B, T] -> x [B, T] as flowjax samples, compiled."""
  return eqx.filter_jit(eqx.filter_vmap(of.inverse))


def with_params(of: MaskedAutoregressive, params: Params) -> MaskedAutoregressive:
  """Returns the bijection with other parameters, and its weights masked once and for all."""
  return paramax.unwrap(eqx.combine(params, eqx.filter(of, eqx.is_inexact_array, inverse=True)))


def teacher(event_shape: tuple[int, ...], of: MaskedAutoregressive) -> Teacher:
  """Returns the teacher with the network of a bijection, and with its parameters at first."""
  num_dims = math.prod(event_shape)

  def init(key):
    del key
    return eqx.filter(of, eqx.is_inexact_array)

  def loc_and_scale(raw):
    affine = paramax.unwrap(of.transformer_constructor(raw))  # z = scale x + loc
    return affine.loc, affine.scale

  def conditional(params, x, cond=None, key=None):
    del cond, key
    raw = jax.vmap(with_params(of, params).masked_autoregressive_mlp)(x.reshape(-1, num_dims))
    loc, scale = jax.vmap(loc_and_scale)(raw.reshape(x.size, -1))
    return Gaussian((-loc / scale).reshape(x.shape), -jnp.log(scale).reshape(x.shape))

  return autoregressive(event_shape, init, conditional)
