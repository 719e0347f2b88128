"""The score of a student at its own samples, without inverting the student."""
from typing import Callable

import jax
import jax.numpy as jnp

from inverse_matching import solvers
from inverse_matching.types import Array, Cond, Params, Student, Swept


def _dense(z_to_x: Callable[[Array], Array], z: Array, cotangent: Array) -> Array:
  """Solves J^T v = cotangent with the whole Jacobian, example by example."""

  def one(z, u):
    jacobian = jax.jacfwd(lambda z: z_to_x(z[None])[0].reshape(-1))(z).reshape(z.size, z.size)
    return jnp.linalg.solve(jacobian.T, u.reshape(-1)).reshape(z.shape)

  return jax.vmap(one)(z, cotangent)


def student_score(student: Student, params: Params, z: Array, cond: Cond = None, *,
                  tolerance: float = solvers.TOLERANCE) -> solvers.Solution:
  """v = grad_x log p_S(x) at x = S(z), with the student's parameters held still.

  v solves J^T v = grad_z [log p(z) - log |det J|] with J = dS/dz and p(z) standard normal. For an autoregressive student J^T
  is triangular with diagonal D = exp(log_scale), so v <- D^-1 (u - (J^T - D) v) is exact after at most T sweeps, each one
  VJP, and stops early. A student without a conditional is solved with its whole Jacobian: for small T.

  Args:
    student: with log_det.
    params: its parameters.
    z: [B, *event].
    cond: pytree with leading [B], or None.
    tolerance: relative change at which an example is settled.

  Returns:
    Solution(x=v [B, *event], sweeps [B]); no gradient flows through it.
  """
  params, z = jax.lax.stop_gradient((params, z))

  def x_and_log_det(z):
    output = student.z_to_x(params, z, cond)
    return (output.x, output.log_det), output.conditional

  (_, log_det), vjp, theta = jax.vjp(x_and_log_det, z, has_aux=True)
  cotangent = -z - vjp((jnp.zeros_like(z), jnp.ones_like(log_det)))[0]
  if theta is None:
    v = _dense(lambda z: student.z_to_x(params, z, cond).x, z, cotangent)
    return solvers.exact(v, 1)
  inverse_scale = jnp.exp(-theta.log_scale)

  def sweep(v):
    # (J^T - D) v = J^T v - v / inverse_scale, so the iteration is v + D^-1 (u - J^T v).
    return Swept(v + inverse_scale * (cotangent - vjp((v, jnp.zeros_like(log_det)))[0]), jnp.zeros_like(v))

  return jax.lax.stop_gradient(solvers.fixed_point(sweep, z, tolerance=tolerance))
