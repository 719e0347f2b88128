"""Objectives from densities: maximum likelihood, the reverse KL (equation 2 of the paper), and its regularised closed form."""
from typing import Any, Mapping

import jax
import jax.numpy as jnp

from inverse_matching.elementwise import priors
from inverse_matching.errors import InputError
from inverse_matching.losses import path_score, spectral
from inverse_matching.losses.common import check_differentiable, check_pair, num_steps, prior_draw
from inverse_matching.types import (
  Array,
  Batch,
  Gaussian,
  LossFn,
  Params,
  Student,
  StudentOutput,
  Teacher,
  mean_event,
  sum_event,
)


def _log_student(teacher: Teacher, z: Array, output: StudentOutput, mask: Array | None) -> Array:
  """log p_S(x) [B] at x = S(z), of the time steps that count."""
  if mask is None:
    return sum_event(teacher.prior.log_density(z)) - output.log_det
  if not isinstance(output.conditional, Gaussian):
    raise InputError('reverse_kl with a mask needs the density of every time step, and this student gives one for the whole '
                     'event: use the wavenet student.')
  return sum_event(teacher.prior.log_density(z) - output.conditional.log_scale, mask)


def log_densities(teacher: Teacher, teacher_params: Params, z: Array, output: StudentOutput,
                  batch: Batch) -> tuple[Array, Array]:
  """(log p_S(x), log p_T(x)), each [B], at x = S(z) of z [B, *event]."""
  return (_log_student(teacher, z, output, batch.mask),
          teacher.log_prob(teacher_params, output.x, batch.cond, mask=batch.mask))


def maximum_likelihood(teacher: Teacher) -> LossFn:
  """-log p_T(x): how a teacher is trained. `student_params` are the teacher's own, `teacher_params` are not used.

  In nats; where the time axis is open, in nats a time step that counts, since examples differ in how many of them they have.
  """

  def loss(params, teacher_params, batch: Batch):
    del teacher_params
    value = -teacher.log_prob(params, batch.x, batch.cond, batch.key, batch.mask)
    if None in teacher.event_shape:
      value = value / num_steps(batch.x, teacher.event_shape, batch.mask)
    return value, {}

  return loss


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
  check_pair(teacher, student)
  check_differentiable('reverse_kl', teacher)
  if not student.has_log_det:
    raise InputError('reverse_kl needs the density of the student, and this student has no log_det: use the flow student, or '
                     'x_reconstruction, oracle_prediction or z_reconstruction.')
  if estimator not in ('total', 'path'):
    raise InputError(f'Unknown estimator {estimator!r} of reverse_kl: use total or path.')
  if estimator == 'path' and not priors.is_standard_normal(teacher.prior, teacher.event_shape):
    raise InputError('The path estimator of reverse_kl is for a standard normal prior, which this teacher does not have: use '
                     'estimator=total, or prior=normal in its elementwise map.')

  def loss(student_params, teacher_params, batch: Batch):
    if estimator == 'path' and batch.mask is not None:
      raise InputError('The path estimator of reverse_kl is for whole examples: use estimator=total with a mask.')
    z = prior_draw(teacher, batch)
    # The score belongs to the student without dropout, so the path estimator uses that student throughout.
    key = batch.key if estimator == 'total' else None
    output = student.z_to_x(student_params, z, batch.cond, key)
    log_student, log_teacher = log_densities(teacher, teacher_params, z, output, batch)
    value = log_student - log_teacher
    metrics = {'log_student': log_student, 'log_teacher': log_teacher}
    if estimator == 'path':
      v = path_score.student_score(student, student_params, z, batch.cond)
      teacher_score = jax.grad(lambda x: jnp.sum(teacher.log_prob(teacher_params, x, batch.cond)))(
          jax.lax.stop_gradient(output.x))
      through_x = sum_event(jax.lax.stop_gradient(v.x - teacher_score) * output.x)
      # The value of the KL with the gradient of `through_x`.
      value = jax.lax.stop_gradient(value - through_x) + through_x
      metrics['score_sweeps'] = v.sweeps.astype(value.dtype)
    return value, metrics

  return loss


def regularized_kl(teacher: Teacher, student: Student, *, regularization: float = 4.0, floor: float = -7.0,
                   spectrum: Mapping[str, Any] | None = None) -> LossFn:
  """The regularised KL of every time step in closed form (ClariNet, Ping et al., 2019, section 3.2), in nats a step.

  KL(q_t || p_t) + regularization |log sigma_q - log sigma_p|^2, the mean over time steps, at x = S(z), z from the prior: q_t is
  the student's Gaussian of x_t given z before t, p_t the teacher's of x_t given that x before t.

  Args:
    teacher: with Gaussian conditionals, differentiable in x.
    student: with Gaussian conditionals.
    regularization: lambda of the paper.
    floor: of both log-scales in the KL; the regulariser sees them as they are, so that a student below it has a gradient.
    spectrum: adds a spectral distance between S(z) and the recording batch.x: weight, and the arguments of spectral.distance.

  Raises:
    InputError: event shapes differ, no gradient, no Gaussian conditionals, unknown spectrum.
  """
  check_pair(teacher, student)
  check_differentiable('regularized_kl', teacher)
  if teacher.conditional is None or not student.has_log_det:
    raise InputError('regularized_kl compares Gaussian conditionals, which this '
                     f'{"student" if teacher.conditional is not None else "teacher"} does not have: use reverse_kl.')
  settings = dict(spectrum or {})
  weight = settings.pop('weight', 1.0)
  measure = spectral.distance(**settings) if spectrum else None

  def loss(student_params, teacher_params, batch: Batch):
    z = prior_draw(teacher, batch)
    output = student.z_to_x(student_params, z, batch.cond, batch.key)
    q, p = output.conditional, teacher.conditional(teacher_params, output.x, batch.cond)
    if not isinstance(q, Gaussian) or not isinstance(p, Gaussian):
      raise InputError('regularized_kl compares Gaussian conditionals, which this teacher or student does not have: use '
                       'reverse_kl.')
    log_q, log_p = jnp.maximum(q.log_scale, floor), jnp.maximum(p.log_scale, floor)
    kl = log_p - log_q + 0.5 * (jnp.exp(2 * (log_q - log_p)) - 1 + jnp.square((p.mean - q.mean) * jnp.exp(-log_p)))
    regulariser = jnp.square(q.log_scale - p.log_scale)
    mean = lambda value: mean_event(value, batch.mask)
    metrics = {'kl': mean(kl), 'regulariser': mean(regulariser)}
    value = metrics['kl'] + regularization * metrics['regulariser']
    if measure is not None:
      metrics['spectrum'] = measure(output.x, batch.x, batch.mask)
      value = value + weight * metrics['spectrum']
    return value, metrics

  return loss
