"""What the factories of objectives share: what they refuse, and prior draws."""
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.types import Array, Batch, Student, Teacher


def check_pair(teacher: Teacher, student: Student) -> None:
  """Raises InputError unless these are a teacher and a student of the same events."""
  for value, kind in ((teacher, Teacher), (student, Student)):
    if not isinstance(value, kind):
      raise InputError(f'A {type(value).__name__} stands where the {kind.__name__.lower()} should: an objective is made of '
                       '(name, teacher, student).')
  if teacher.event_shape != student.event_shape:
    raise InputError(f'The teacher has event shape {teacher.event_shape}, the student {student.event_shape}: use one data '
                     'set for both.')


def need_x(batch: Batch, name: str) -> None:
  """Raises InputError for a batch without x."""
  if batch.x is None:
    raise InputError(f'{name} needs examples, and this batch has no x: give Batch(x=...), or take another objective.')


def need_pairs(batch: Batch, name: str) -> None:
  """Raises InputError for a batch without z or without x."""
  if batch.z is None or batch.x is None:
    missing = 'z' if batch.z is None else 'x'
    raise InputError(f'{name} takes pairs (z, x = T^-1(z)), and this batch has no {missing}: solve for x first '
                     '(inverse_matching.solve, or launch.make_pairs), or use x_reconstruction.')


def prior_draw(teacher: Teacher, batch: Batch) -> Array:
  """z [B, *event] of the batch, or drawn from its keys where it has none."""
  if batch.z is not None:
    return batch.z
  # An open time axis is as long as that of the recording.
  length = _length(batch.x, teacher.event_shape) if None in teacher.event_shape else None
  return teacher.prior.sample(random.stream(batch.key, 'prior'), length)


def num_steps(x: Array, event_shape: tuple[int | None, ...], mask: Array | None) -> Array | int:
  """How many steps of the open time axis of x [B, *event] count, [B] or one number for all; 1 where it would be 0."""
  return _length(x, event_shape) if mask is None else jnp.maximum(jnp.sum(mask, 1), 1)


def _length(x: Array, event_shape: tuple[int | None, ...]) -> int:
  return x.shape[1 + event_shape.index(None)]


def check_differentiable(name: str, teacher: Teacher) -> None:
  """Raises InputError, in the name of an objective, unless the teacher has a gradient in x."""
  if not teacher.differentiable:
    raise InputError(f'{name} needs the gradient of the teacher in x, which this teacher (a discrete head) does not have: use '
                     'x_reconstruction or oracle_prediction.')
