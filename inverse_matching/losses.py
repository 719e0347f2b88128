"""Objectives: pure functions of (student_params, teacher_params, batch), per example.

A factory takes the teacher and the student, refuses what they cannot serve, and returns a LossFn. All but maximum likelihood
distil a teacher that is held fixed.
"""
import inspect
from typing import Callable

import jax
import jax.numpy as jnp

from inverse_matching import distances, priors, random, registry, score
from inverse_matching.errors import InputError
from inverse_matching.types import Array, Batch, LossFn, Student, Teacher


def _check_pair(teacher: Teacher, student: Student) -> None:
  if teacher.event_shape != student.event_shape:
    raise InputError(f'The teacher has event shape {teacher.event_shape}, the student {student.event_shape}: use one data '
                     'set for both.')


def _prior_draw(teacher: Teacher, batch: Batch) -> Array:
  return teacher.prior.sample(random.stream(batch.key, 'prior')) if batch.z is None else batch.z


def maximum_likelihood(teacher: Teacher) -> LossFn:
  """-log p_T(x) in nats: how a teacher is trained. `student_params` are the teacher's own, `teacher_params` are not used."""

  def loss(params, teacher_params, batch: Batch):
    del teacher_params
    return -teacher.log_prob(params, batch.x, batch.cond, batch.key), {}

  return loss


def _check_differentiable(name: str, teacher: Teacher) -> None:
  if not teacher.differentiable:
    raise InputError(f'{name} needs the gradient of the teacher in x, which this teacher (a discrete head) does not have: use '
                     'x_reconstruction or oracle_prediction.')


def reverse_kl(teacher: Teacher, student: Student, *, estimator: str = 'total') -> LossFn:
  """log p_S(x) - log p_T(x) at x = S(z), z from the prior: the reverse KL (equation 2 of the paper), in nats.

  Args:
    teacher: differentiable in x.
    student: with log_det.
    estimator: of the gradient. 'total' differentiates all of it. 'path' is equation 6: only what goes through x, which has
      the same mean and no variance where the student equals the teacher (Roeder et al., 2017); for a standard normal prior.

  Raises:
    InputError: event shapes differ, no log_det, no gradient, unknown estimator or one that the prior does not have.
  """
  _check_pair(teacher, student)
  _check_differentiable('reverse_kl', teacher)
  if not student.has_log_det:
    raise InputError('reverse_kl needs the density of the student, and this student has no log_det: use the flow student, or '
                     'x_reconstruction, oracle_prediction or z_reconstruction.')
  if estimator not in ('total', 'path'):
    raise InputError(f'Unknown estimator {estimator!r} of reverse_kl: use total or path.')
  if estimator == 'path' and not priors.is_standard_normal(teacher.prior, teacher.event_shape):
    raise InputError('The path estimator of reverse_kl is for a standard normal prior, which this teacher does not have: use '
                     'estimator=total, or prior=normal in its elementwise map.')

  def loss(student_params, teacher_params, batch: Batch):
    z = _prior_draw(teacher, batch)
    # The score belongs to the student without dropout, so the path estimator uses that student throughout.
    key = batch.key if estimator == 'total' else None
    output = student.z_to_x(student_params, z, batch.cond, key)
    log_student = teacher.prior.log_prob(z) - output.log_det
    log_teacher = teacher.log_prob(teacher_params, output.x, batch.cond)
    value = log_student - log_teacher
    metrics = {'log_student': log_student, 'log_teacher': log_teacher}
    if estimator == 'path':
      v = score.student_score(student, student_params, z, batch.cond)
      teacher_score = jax.grad(lambda x: jnp.sum(teacher.log_prob(teacher_params, x, batch.cond)))(
          jax.lax.stop_gradient(output.x))
      through_x = jnp.sum((jax.lax.stop_gradient(v.x - teacher_score) * output.x).reshape(z.shape[0], -1), axis=-1)
      # The value of the KL with the gradient of `through_x`.
      value = jax.lax.stop_gradient(value - through_x) + through_x
      metrics['score_sweeps'] = v.sweeps.astype(value.dtype)
    return value, metrics

  return loss


def z_reconstruction(teacher: Teacher, student: Student, *, distance: str = 'l2') -> LossFn:
  """d(z, T(S(z))), z from the prior (section 4 of the paper, alternative 1).

  Args:
    teacher: differentiable in x.
    student: any student.
    distance: a name in distances.DISTANCES.

  Raises:
    InputError: event shapes differ, unknown distance, no gradient.
  """
  _check_pair(teacher, student)
  _check_differentiable('z_reconstruction', teacher)
  measure = distances.make(distance)

  def loss(student_params, teacher_params, batch: Batch):
    z = _prior_draw(teacher, batch)
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(z, teacher.x_to_z(teacher_params, output.x, batch.cond)[0]), {}

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
    z = _prior_draw(teacher, batch)
    x = batch.x if has_pairs else jax.lax.stop_gradient(teacher.z_to_x(teacher_params, z, batch.cond))
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    return measure(x, output.x), {}

  return loss


# name -> factory(teacher, student, **config). Maximum likelihood takes no student and is not here.
LOSSES: dict[str, Callable[..., LossFn]] = {
    'reverse_kl': reverse_kl,
    'z_reconstruction': z_reconstruction,
    'x_reconstruction': x_reconstruction,
    'oracle_prediction': oracle_prediction,
}


# What config.loss may hold beside the name. A setting that a loss does not have must stand at its neutral value.
SETTINGS = {'distance': 'l2', 'noise_std': 0.0, 'estimator': 'total'}


def make(name: str, teacher: Teacher, student: Student, **settings) -> LossFn:
  """The distillation objective of that name.

  Args:
    name: in LOSSES.
    teacher: to distil.
    student: to train.
    **settings: in SETTINGS, or of the loss alone.

  Raises:
    InputError: no such loss, a setting that it does not have, or a pair that cannot serve it.
  """
  if name not in LOSSES:
    raise InputError(f'Unknown loss {name!r}{registry.nearest(name, LOSSES)}: use one of {", ".join(LOSSES)}.')
  own = inspect.signature(LOSSES[name]).parameters
  for setting, value in settings.items():
    if setting not in own and SETTINGS.get(setting) != value:
      raise InputError(f'{name} has no setting {setting!r} (given: {value!r}): it has '
                       f'{", ".join(p for p in own if p not in ("teacher", "student"))}.')
  return LOSSES[name](teacher, student, **{setting: value for setting, value in settings.items() if setting in own})
