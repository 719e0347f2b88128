"""The Gaussian teacher of sections 3.2 and 4.1.1: x = mean + R z."""
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.elementwise import priors
from inverse_matching.teachers import build
from inverse_matching.types import Teacher, check_vector


def gaussian(event_shape: tuple[int], *, mean: float = 2.0) -> Teacher:
  """A full-covariance Gaussian with parameters {'mean' [T], 'matrix' [T, T]}, R_ij ~ N(0, 1) drawn by init.

  T(x) = R^-1 (x - mean), so the covariance is R R^T. Parameters that went through `precompute` are used without solving for
  R^-1 again, which is most of the work of a training step at T = 64.

  Args:
    event_shape: (T,).
    mean: of every dimension at the start.

  Raises:
    InputError: the event is no vector.
  """
  num_dims, = check_vector('gaussian', event_shape)

  def init(key):
    return {'mean': jnp.full(num_dims, mean), 'matrix': jax.random.normal(key, (num_dims, num_dims))}

  def x_to_z(params, x, cond=None):
    del cond
    if 'inverse' in params:
      z = jnp.matmul(x - params['mean'], params['inverse'].T, precision='highest')
      return z, jnp.full(x.shape[0], params['log_det'])
    z = jnp.linalg.solve(params['matrix'], (x - params['mean']).T).T
    return z, jnp.full(x.shape[0], -jnp.linalg.slogdet(params['matrix'])[1])

  def z_to_x(params, z, cond=None):
    del cond
    return params['mean'] + jnp.matmul(z, params['matrix'].T, precision='highest')

  return build.from_transform((num_dims,), priors.standard_normal((num_dims,)), init, x_to_z, z_to_x)


def precompute(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Parameters of the teacher above with 'inverse' = R^-1 and 'log_det' = -log |det R| added, formed in float64.

  Any leading axes; not within jit.
  """
  matrix = np.asarray(params['matrix'], np.float64)
  return params | {'inverse': jnp.asarray(np.linalg.inv(matrix), jnp.float32),
                   'log_det': jnp.asarray(-np.linalg.slogdet(matrix)[1], jnp.float32)}
