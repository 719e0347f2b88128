"""Objectives: pure functions of (student_params, teacher_params, batch), per example.

A factory takes the teacher and the student, refuses what they cannot serve, and returns a LossFn. All but maximum likelihood
distil a teacher that is held fixed.
"""
from typing import Callable

import jax

from inverse_matching import distances, random
from inverse_matching.errors import InputError
from inverse_matching.types import Batch, LossFn, Student, Teacher


def _check_pair(teacher: Teacher, student: Student) -> None:
  if teacher.event_shape != student.event_shape:
    raise InputError(f'The teacher has event shape {teacher.event_shape}, the student {student.event_shape}: use one data '
                     'set for both.')


def maximum_likelihood(teacher: Teacher) -> LossFn:
  """-log p_T(x) in nats: how a teacher is trained. `student_params` are the teacher's own, `teacher_params` are not used."""

  def loss(params, teacher_params, batch: Batch):
    del teacher_params
    return -teacher.log_prob(params, batch.x, batch.cond, batch.key), {}

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
  _check_pair(teacher, student)
  measure = distances.make(distance)
  if noise_std < 0:
    raise InputError(f'noise_std must be 0 or more, got {noise_std}.')

  def loss(student_params, teacher_params, batch: Batch):
    z = teacher.x_to_z(teacher_params, batch.x, batch.cond)[0] if batch.z is None else batch.z
    z = jax.lax.stop_gradient(z)
    if noise_std:
      z = z + noise_std * random.normal(random.stream(batch.key, 'noise'), z.shape[1:])
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(batch.x, output.x), {}

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
  _check_pair(teacher, student)
  measure = distances.make(distance)
  if teacher.z_to_x is None and not has_pairs:
    raise InputError('oracle_prediction needs T^-1(z), which this teacher cannot compute: give pairs (make_pairs '
                     '--pairs_from=sample, then distill --pairs) or use x_reconstruction.')

  def loss(student_params, teacher_params, batch: Batch):
    z = teacher.prior.sample(random.stream(batch.key, 'prior')) if batch.z is None else batch.z
    x = batch.x if has_pairs else jax.lax.stop_gradient(teacher.z_to_x(teacher_params, z, batch.cond))
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(x, output.x), {}

  return loss


# name -> factory(teacher, student, **config). Maximum likelihood takes no student and is not here.
LOSSES: dict[str, Callable[..., LossFn]] = {
    'x_reconstruction': x_reconstruction,
    'oracle_prediction': oracle_prediction,
}


def make(name: str, teacher: Teacher, student: Student, **settings) -> LossFn:
  """The distillation objective of that name; InputError if there is none or if the pair cannot serve it."""
  if name not in LOSSES:
    raise InputError(f'Unknown loss {name!r}: use one of {", ".join(LOSSES)}.')
  return LOSSES[name](teacher, student, **settings)
