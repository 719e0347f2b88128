"""From oracle prediction to reverse KL: an objective that finds the images, then one that may sharpen them."""
import math

import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.losses import distances
from inverse_matching.losses.common import need_pairs
from inverse_matching.losses.distances import Distance
from inverse_matching.losses.kl import log_densities, reverse_kl
from inverse_matching.types import Batch, LossFn, Student, Teacher


def mixture(teacher: Teacher, student: Student, *, distance: str | Distance = 'l2', alpha_end: float = 0.5,
            estimator: str = 'total') -> LossFn:
  """alpha d(T^-1(z), S(z)) + (1 - alpha) KL(student || teacher) / T, on pairs; not in the paper.

  alpha goes from 1 to alpha_end along half a cosine of Batch.progress.

  Args:
    teacher: differentiable in x.
    student: with log_det.
    distance: a name in distances.DISTANCES, one's own, or a distance itself.
    alpha_end: in [0, 1].
    estimator: of the gradient of the KL, see `reverse_kl`. The path derivative has no noise where the student equals the
      teacher, and takes several times as long; with the total one both parts are of one pass of the student.

  Raises:
    InputError: what either part refuses, or alpha_end; when it is called, a batch without progress.
  """
  if not 0 <= alpha_end <= 1:
    raise InputError(f'alpha_end must be between 0 and 1, got {alpha_end}.')
  measure = distances.make(distance)
  kl = reverse_kl(teacher, student, estimator=estimator)
  if None in teacher.event_shape:
    raise InputError('mixture takes the KL for each dimension, and this teacher has as many as its recording: use '
                     'regularized_kl.')
  num_dims = math.prod(teacher.event_shape)

  def loss(student_params, teacher_params, batch: Batch):
    if batch.progress is None:
      raise InputError('mixture needs Batch.progress, the share of the updates that are made.')
    alpha = alpha_end + (1 - alpha_end) * 0.5 * (1 + jnp.cos(jnp.pi * batch.progress))
    need_pairs(batch, 'mixture')
    output = student.z_to_x(student_params, batch.z, batch.cond, batch.key)
    d = measure(batch.x, output.x, batch.mask)
    if estimator == 'total':
      log_student, log_teacher = log_densities(teacher, teacher_params, batch.z, output, batch)
      nats, metrics = log_student - log_teacher, {'log_student': log_student, 'log_teacher': log_teacher}
    else:
      nats, metrics = kl(student_params, teacher_params, batch)
    return alpha * d + (1 - alpha) * nats / num_dims, {**metrics, 'oracle': d, 'reverse_kl': nats, 'alpha': alpha}

  return loss
