"""Remedies for slow reverse KL: objectives without noise, annealed teachers, preconditioned steps."""
from typing import Callable

import jax
import jax.numpy as jnp
import optax

from inverse_matching.experiments.gaussian import training
from inverse_matching.types import Array, Batch, Params


def closed_form_kl(student_params: Params, teacher_params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
  """A LossFn: KL(student || teacher) of linear Gaussians in nats, the same for every example. No noise at all."""
  inverse = teacher_params['inverse']
  ratio = jnp.matmul(inverse, student_params['matrix'], precision='highest')
  offset = jnp.matmul(inverse, student_params['mean'] - teacher_params['mean'], precision='highest')
  log_det = jnp.linalg.slogdet(student_params['matrix'])[1] + teacher_params['log_det']
  kl = 0.5 * (jnp.sum(ratio ** 2) + jnp.sum(offset ** 2) - offset.size) - log_det
  return jnp.full(batch.key.shape, kl), {}


def tempered(*, start: float, num_steps: int) -> Callable[[Params, Array], Params]:
  """teacher_at for training: p_T^beta, beta rising from `start` to 1 geometrically over num_steps updates, then 1.

  A tempered Gaussian is the Gaussian with covariance Sigma / beta.
  """

  def teacher_at(params, step):
    scale = jnp.exp(-0.5 * jnp.log(start) * jnp.maximum(0.0, 1 - step / num_steps))
    num_dims = params['mean'].shape[-1]
    return params | {'matrix': params['matrix'] * scale, 'inverse': params['inverse'] / scale,
                     'log_det': params['log_det'] - num_dims * jnp.log(scale)}

  return teacher_at


def whitened_adam(learning_rate: float | optax.Schedule) -> training.Optimizer:
  """Adam in the coordinates where the teacher is N(0, I): on R_T^-1 mu_S and R_T^-1 R_S.

  The same problem without the teacher's condition number; it needs the teacher's covariance.
  """

  def optimizer(teacher_params):
    matrix = teacher_params['matrix']
    adam = optax.adam(learning_rate)

    def update(grads, state, params):
      del params
      grads = jax.tree.map(lambda g: jnp.matmul(matrix.T, g, precision='highest'), grads)
      updates, state = adam.update(grads, state)
      return jax.tree.map(lambda u: jnp.matmul(matrix, u, precision='highest'), updates), state

    return optax.GradientTransformation(adam.init, update)

  return optimizer


def natural_gradient(learning_rate: float | optax.Schedule) -> training.Optimizer:
  """Steps along the student's own natural gradient, dmu = Sigma_S grad_mu, dR = R_S R_S^T grad_R / 2, clipped to unit length.

  The Fisher metric of N(mu, R R^T) is |R^-1 dmu|^2 + 2 |R^-1 dR|^2 for a symmetric R^-1 dR. In the student's own coordinates
  (R_S^-1 dmu, R_S^-1 dR) this is the relative gradient (Cardoso and Laheld, 1996): where it goes does not depend on the
  coordinates of x. It needs nothing of the teacher but its score.
  """

  def optimizer(teacher_params):
    del teacher_params
    schedule = learning_rate if callable(learning_rate) else lambda step: learning_rate

    def update(grads, step, params):
      matrix = params['matrix']
      relative = jax.tree.map(lambda g: jnp.matmul(matrix.T, g, precision='highest'), grads)
      relative = {**relative, 'matrix': relative['matrix'] / 2}
      size = schedule(step) / jnp.maximum(1.0, optax.tree.norm(relative))
      return jax.tree.map(lambda g: -size * jnp.matmul(matrix, g, precision='highest'), relative), step + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)

  return optimizer
