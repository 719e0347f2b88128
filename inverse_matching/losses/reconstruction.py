"""The alternatives of the paper: z-reconstruction, x-reconstruction and oracle prediction (section 4)."""
import jax

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.losses import distances
from inverse_matching.losses.common import check_differentiable, check_pair, prior_draw
from inverse_matching.types import Batch, LossFn, Student, Teacher


def z_reconstruction(teacher: Teacher, student: Student, *, distance: str = 'l2') -> LossFn:
  """d(z, T(S(z))), z from the prior (section 4 of the paper, alternative 1).

  Args:
    teacher: differentiable in x.
    student: any student.
    distance: a name in distances.DISTANCES.

  Raises:
    InputError: event shapes differ, unknown distance, no gradient.
  """
  check_pair(teacher, student)
  check_differentiable('z_reconstruction', teacher)
  measure = distances.make(distance)

  def loss(student_params, teacher_params, batch: Batch):
    z = prior_draw(teacher, batch)
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(z, teacher.x_to_z(teacher_params, output.x, batch.cond)[0], batch.mask), {}

  return loss


def x_reconstruction(teacher: Teacher, student: Student, *, distance: str = 'l2', noise_std: float = 0.0) -> LossFn:
  """d(x, S(T(x) + noise)), x from the data or the teacher (section 4 of the paper, alternative 2; noise: section 4.1.3).

  Args:
    teacher: any teacher.
    student: any student.
    distance: a name in distances.DISTANCES.
    noise_std: standard deviation of the Gaussian noise added to the encodings.

  Raises:
    InputError: event shapes differ, unknown distance, negative noise.
  """
  check_pair(teacher, student)
  measure = distances.make(distance)
  if noise_std < 0:
    raise InputError(f'noise_std must be 0 or more, got {noise_std}.')

  def loss(student_params, teacher_params, batch: Batch):
    z = teacher.x_to_z(teacher_params, batch.x, batch.cond)[0] if batch.z is None else batch.z
    z = jax.lax.stop_gradient(z)
    if noise_std:
      z = z + noise_std * random.normal(random.stream(batch.key, 'noise'), z.shape[1:])
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(batch.x, output.x, batch.mask), {}

  return loss


def oracle_prediction(teacher: Teacher, student: Student, *, distance: str = 'l2', has_pairs: bool = True) -> LossFn:
  """d(T^-1(z), S(z)), z from the prior (section 4 of the paper).

  A batch that holds a pair (z, x = T^-1(z)) is used as it is; otherwise the teacher is solved within the loss.

  Args:
    teacher: needs z_to_x unless batches hold pairs.
    student: any student.
    distance: a name in distances.DISTANCES.
    has_pairs: whether batches hold pairs.

  Raises:
    InputError: event shapes differ, unknown distance, or neither z_to_x nor pairs.
  """
  check_pair(teacher, student)
  measure = distances.make(distance)
  if teacher.z_to_x is None and not has_pairs:
    raise InputError('oracle_prediction needs T^-1(z), which this teacher cannot compute: give pairs (make_pairs '
                     '--pairs_from=sample, then distill --pairs) or use x_reconstruction.')

  def loss(student_params, teacher_params, batch: Batch):
    z = prior_draw(teacher, batch)
    x = batch.x if has_pairs else jax.lax.stop_gradient(teacher.z_to_x(teacher_params, z, batch.cond))
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(x, output.x, batch.mask), {}

  return loss
