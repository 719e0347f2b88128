"""The alternatives of the paper: z-reconstruction, x-reconstruction and oracle prediction (section 4)."""
import jax

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.losses import distances
from inverse_matching.losses.common import check_differentiable, check_pair, need_pairs, need_x, prior_draw
from inverse_matching.losses.distances import Distance
from inverse_matching.types import Batch, LossFn, Student, Teacher


def z_reconstruction(teacher: Teacher, student: Student, *, distance: str | Distance = 'l2') -> LossFn:
  """d(z, T(S(z))), z from the prior (section 4 of the paper, alternative 1).

  Args:
    teacher: differentiable in x.
    student: any student.
    distance: a name in distances.DISTANCES, one's own, or a distance itself.

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


def x_reconstruction(teacher: Teacher, student: Student, *, distance: str | Distance = 'l2', noise_std: float = 0.0,
                     data_noise_std: float = 0.0) -> LossFn:
  """d(x, S(T(x) + noise)), x from the data or the teacher (section 4 of the paper, alternative 2; noise: section 4.1.3).

  With data_noise_std it is d(x, S(T(x + data noise) + noise)): the student learns to take the noise off; not in the paper.

  Args:
    teacher: any teacher.
    student: any student.
    distance: a name in distances.DISTANCES, one's own, or a distance itself.
    noise_std: standard deviation of the Gaussian noise added to the encodings.
    data_noise_std: of the Gaussian noise added to x before it is encoded, in the units of x.

  Raises:
    InputError: event shapes differ, unknown distance, negative noise, noise on discrete data; when it is called, noise on data
      of a batch that is encoded already.
  """
  check_pair(teacher, student)
  measure = distances.make(distance)
  for name, value in (('noise_std', noise_std), ('data_noise_std', data_noise_std)):
    if value < 0:
      raise InputError(f'{name} must be 0 or more, got {value}.')
  if data_noise_std and teacher.levels is not None:
    raise InputError('data_noise_std is for continuous data, and this teacher is of discrete data: set it to 0.')

  def loss(student_params, teacher_params, batch: Batch):
    if data_noise_std and batch.z is not None:
      raise InputError('data_noise_std is added to x before it is encoded, and this batch is encoded already: train on the '
                       'data, without stored pairs or encodings.')
    need_x(batch, 'x_reconstruction')
    x = batch.x
    if data_noise_std:
      x = x + data_noise_std * random.normal(random.fold(random.stream(batch.key, 'noise'), 1), x.shape[1:])
    z = teacher.x_to_z(teacher_params, x, batch.cond)[0] if batch.z is None else batch.z
    z = jax.lax.stop_gradient(z)
    if noise_std:
      z = z + noise_std * random.normal(random.stream(batch.key, 'noise'), z.shape[1:])
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(batch.x, output.x, batch.mask), {}

  return loss


def oracle_prediction(teacher: Teacher, student: Student, *, distance: str | Distance = 'l2') -> LossFn:
  """d(T^-1(z), S(z)), z from the prior (section 4 of the paper), on batches that hold pairs (z, x = T^-1(z)).

  Args:
    teacher: whose pairs they are; it is not evaluated.
    student: any student.
    distance: a name in distances.DISTANCES, one's own, or a distance itself.

  Raises:
    InputError: event shapes differ, unknown distance; when it is called, a batch without z or x.
  """
  check_pair(teacher, student)
  measure = distances.make(distance)

  def loss(student_params, teacher_params, batch: Batch):
    del teacher_params
    need_pairs(batch, 'oracle_prediction')
    output = student.z_to_x(student_params, batch.z, batch.cond, batch.key)
    return measure(batch.x, output.x, batch.mask), {}

  return loss
