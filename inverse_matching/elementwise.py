"""Scalar bijections between x and z given the parameters of a conditional."""
import jax.numpy as jnp

from inverse_matching import priors
from inverse_matching.types import Array, Elementwise, Gaussian


def _split(raw: Array) -> Gaussian:
  return Gaussian(mean=raw[..., 0], log_scale=raw[..., 1])


def _x_to_z(x: Array, theta: Gaussian) -> tuple[Array, Array]:
  return (x - theta.mean) * jnp.exp(-theta.log_scale), -theta.log_scale


def _z_to_x(z: Array, theta: Gaussian) -> Array:
  return theta.mean + jnp.exp(theta.log_scale) * z


# z = (x - mean) / scale, standard normal under the model (section 4 of the paper).
gaussian = Elementwise(num_params=2, split=_split, prior=priors.standard_normal, x_to_z=_x_to_z, z_to_x=_z_to_x)
