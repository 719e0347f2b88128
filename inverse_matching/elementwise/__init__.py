"""Scalar bijections between x and z given the parameters of a conditional, by name."""
from typing import Callable

import jax.numpy as jnp

from inverse_matching import registry
from inverse_matching.elementwise import links, priors
from inverse_matching.elementwise.discrete import categorical, discretized_mixture_of_logistics
from inverse_matching.elementwise.mixtures import mixture_of_logistics, neural
from inverse_matching.types import Array, Elementwise, Gaussian


def _split(raw: Array) -> Gaussian:
  return Gaussian(mean=raw[..., 0], log_scale=raw[..., 1])


def _x_to_z(x: Array, theta: Gaussian) -> tuple[Array, Array]:
  return (x - theta.mean) * jnp.exp(-theta.log_scale), -theta.log_scale


def _z_to_x(z: Array, theta: Gaussian) -> Array:
  return theta.mean + jnp.exp(theta.log_scale) * z


# z = (x - mean) / scale, standard normal under the model (section 4 of the paper).
gaussian = Elementwise(num_params=2, split=_split, prior=priors.standard_normal, x_to_z=_x_to_z, z_to_x=_z_to_x)


def logistic(*, prior: str = 'normal') -> Elementwise:
  """x_t ~ Logistic(mean, scale), whose CDF has the logit (x - mean) / scale; theta is Gaussian(mean, log_scale).

  Args:
    prior: see links.LINKS.
  """
  return links.through(prior, num_params=2, split=_split, x_to_t=_x_to_z, t_to_x=_z_to_x)


MAPS: dict[str, Callable[..., Elementwise]] = {
    'gaussian': lambda: gaussian,
    'logistic': logistic,
    'mixture_of_logistics': mixture_of_logistics,
    'categorical': categorical,
    'discretized_mixture_of_logistics': discretized_mixture_of_logistics,
    'neural': neural,
}


def make(name: str, **settings) -> Elementwise:
  """The map of that name, or one's own as 'package.module:factory'.

  Args:
    name: in MAPS.
    **settings: of that map. None means that it is not given.

  Raises:
    InputError: no such map, or a setting that it does not have or lacks.
  """
  given = {setting: value for setting, value in settings.items() if value is not None}
  return registry.build('elementwise map', MAPS, name, {}, given, returns=Elementwise, section='teacher')
