"""The energy score: an objective that compares samples with samples, and asks nothing of the teacher."""
import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.losses import distances
from inverse_matching.losses.common import check_pair, need_x, prior_draw
from inverse_matching.losses.distances import Distance
from inverse_matching.losses.reconstruction import oracle_prediction
from inverse_matching.types import Array, Batch, LossFn, Params, Student, Teacher


def energy_score(teacher: Teacher, student: Student, *, num_draws: int = 2, beta: float = 1.0) -> LossFn:
  """E |x - S(z)|^beta - E |S(z) - S(z')|^beta / 2, x from the data or the teacher, z and z' from the prior; not in the paper.

  Its mean is least where S(z) has the law of x (Gneiting and Raftery, 2007, section 4.2). For each x the student draws
  num_draws samples; both means over them are unbiased. |.| is the root mean square over the event, so that sizes compare.

  Args:
    teacher: whose prior z comes from; it is not evaluated.
    student: any student.
    num_draws: of the student for each x, 2 or more.
    beta: above 0 and below 2.

  Raises:
    InputError: event shapes differ, too few draws, another beta.
  """
  check_pair(teacher, student)
  check_at_least(2, num_draws=num_draws)
  if not 0 < beta < 2:
    raise InputError(f'beta must be above 0 and below 2, got {beta}.')

  def draws(params: Params, batch: Batch) -> Array:
    """[num_draws, B, *event]."""
    keys = jnp.concatenate([random.fold(batch.key, k) for k in range(num_draws)])
    again = lambda value: None if value is None else jnp.concatenate([value] * num_draws)
    many = Batch(x=again(batch.x), cond=None if batch.cond is None else jax.tree.map(again, batch.cond), key=keys)
    x = student.z_to_x(params, prior_draw(teacher, many), many.cond, keys).x
    return x.reshape(num_draws, *batch.x.shape)

  def distance(a: Array, b: Array, mask: Array | None) -> Array:
    return distances.power(distances.l2(a, b, mask), beta / 2)

  def loss(student_params, teacher_params, batch: Batch):
    del teacher_params
    need_x(batch, 'energy_score')
    x = draws(student_params, batch)
    to_data = sum(distance(batch.x, one, batch.mask) for one in x) / num_draws
    pairs = [(k, m) for k in range(num_draws) for m in range(k)]
    between = sum(distance(x[k], x[m], batch.mask) for k, m in pairs) / len(pairs)
    return to_data - 0.5 * between, {'to_data': to_data, 'between': between}

  return loss


def energy_oracle(teacher: Teacher, student: Student, *, num_draws: int = 2, beta: float = 1.0, weight: float = 1.0,
                  distance: str | Distance = 'l2') -> LossFn:
  """The energy score plus weight times oracle prediction, on pairs: the former alone forgets which z belongs to an x.

  Args:
    teacher, student, num_draws, beta: see energy_score.
    weight: of oracle prediction, 0 or more.
    distance: of oracle prediction, a name in distances.DISTANCES, one's own, or a distance itself.

  Raises:
    InputError: what either part refuses, or a negative weight.
  """
  if weight < 0:
    raise InputError(f'weight must be 0 or more, got {weight}.')
  energy = energy_score(teacher, student, num_draws=num_draws, beta=beta)
  oracle = oracle_prediction(teacher, student, distance=distance)

  def loss(student_params, teacher_params, batch: Batch):
    score, parts = energy(student_params, teacher_params, batch)
    d, _ = oracle(student_params, teacher_params, batch)
    return score + weight * d, {**parts, 'energy_score': score, 'oracle': d}

  return loss
