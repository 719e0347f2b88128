"""The linear student of sections 3.2 and 4.1.1: x = mean + R z."""
import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.types import Student, StudentOutput, check_event, check_vector


def linear(event_shape: tuple[int], *, mean: float = 0.0, scale: float = 1.0, initial: str = 'identity') -> Student:
  """A Gaussian student with parameters {'mean' [T], 'matrix' [T, T]}; starts at the given mean and scale times identity.

  The paper does not give the initial R, and it decides the outcome of reverse KL: identity is the default here.

  Args:
    event_shape: (T,).
    mean: of every dimension at the start.
    scale: factor of the initial R.
    initial: R / scale at the start: 'identity', or 'normal' for independent N(0, 1) entries.

  Raises:
    InputError: the event is no vector, or an unknown `initial`.
  """
  num_dims, = check_vector('linear', event_shape)
  if initial not in ('identity', 'normal'):
    raise InputError(f'Unknown initial {initial!r} of the linear student: use identity or normal.')

  def init(key):
    matrix = jnp.eye(num_dims) if initial == 'identity' else jax.random.normal(key, (num_dims, num_dims))
    return {'mean': jnp.full(num_dims, mean), 'matrix': scale * matrix}

  def z_to_x(params, z, cond=None, key=None):
    del cond, key
    check_event('z', z, (num_dims,))
    log_det = jnp.linalg.slogdet(params['matrix'])[1]
    x = params['mean'] + jnp.matmul(z, params['matrix'].T, precision='highest')
    return StudentOutput(x, jnp.full(z.shape[0], log_det))

  return Student((num_dims,), init, z_to_x, has_log_det=True)
