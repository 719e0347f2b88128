"""The rank of a student's Jacobian: whether noise of all dimensions reaches the sample."""
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.types import Params, Student

DIRECTIONS = 64  # at once: all of a large image's would not fit into memory


def singular_values(student: Student, params: Params, z: np.ndarray) -> np.ndarray:
  """Singular values of dS/dz, in falling order.

  Args:
    student: any.
    params: its parameters.
    z: [N, *event].

  Returns:
    [N, T], T the number of dimensions.
  """
  size = int(np.prod(z.shape[1:]))

  @jax.jit
  def one(params, z):
    _, push = jax.linearize(lambda z: student.z_to_x(params, z[None]).x.reshape(-1), z)
    columns = jax.lax.map(lambda t: push(t.reshape(z.shape)), jnp.eye(size), batch_size=DIRECTIONS)
    return jnp.linalg.svd(columns, compute_uv=False)

  return np.stack([np.asarray(one(params, each)) for each in z])


def ranks(values: np.ndarray, relative: float = 1e-4) -> np.ndarray:
  """Numerical rank [N]: singular values [N, T] above `relative` times the largest."""
  return np.sum(values > relative * values[:, :1], axis=1)
