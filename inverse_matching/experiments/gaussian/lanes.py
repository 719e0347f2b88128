"""Teachers and students of sections 3.2 and 4.1.1: x = mean + R z on both sides."""
import math
from typing import NamedTuple, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import registry, teachers, types
from inverse_matching.errors import InputError
from inverse_matching.experiments.gaussian import training
from inverse_matching.students import linear
from inverse_matching.teachers.gaussian import precompute

MEAN = 2.0  # of the teacher, in every dimension (section 3.2)

# Name of an initial R -> arguments of students.linear.
INITS = {
    'I': lambda num_dims: dict(),
    '0.1 I': lambda num_dims: dict(scale=0.1),
    'N(0,1)': lambda num_dims: dict(initial='normal'),
    'N(0,1)/sqrt(T)': lambda num_dims: dict(initial='normal', scale=1 / math.sqrt(num_dims)),
}


class Pairs(NamedTuple):
  """One teacher and one student at its start for each lane: all seeds with the first initial R, then with the second, ..."""
  teacher: types.Teacher
  student: types.Student
  teacher_params: types.Params  # leaves [L, ...], with the inverse
  student_params: types.Params  # leaves [L, ...]
  keys: jax.Array  # [L] typed keys for training
  inits: tuple[str, ...]  # [L]
  seeds: tuple[int, ...]  # [L]

  @property
  def num_dims(self) -> int:
    """T."""
    return self.teacher.event_shape[0]

  def condition_numbers(self) -> np.ndarray:
    """Ratio of the largest to the smallest singular value of R_T, [L]."""
    return np.linalg.cond(np.asarray(self.teacher_params['matrix'], np.float64))


def make(num_dims: int, inits: Sequence[str], num_seeds: int, *, seed: int) -> Pairs:
  """The same teachers and training keys for every initial R.

  Raises:
    InputError: T = 0, no seeds, or an unknown initial R.
  """
  if num_dims < 1 or num_seeds < 1:
    raise InputError(f'A Gaussian pair needs one dimension and one seed or more, got {num_dims} and {num_seeds}.')
  for name in inits:
    registry.choose('initial R', INITS, name)
  teacher = teachers.gaussian(num_dims, mean=MEAN)
  teacher_keys, student_keys, keys = (training.lane_keys(num_seeds, seed=3 * seed + i) for i in range(3))
  teacher_params = precompute(jax.vmap(teacher.init)(teacher_keys))
  starts = [jax.vmap(linear(num_dims, **INITS[name](num_dims)).init)(student_keys) for name in inits]
  return Pairs(teacher, linear(num_dims), training.repeat(teacher_params, len(inits)),
               jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *starts), jnp.tile(keys, len(inits)),
               tuple(name for name in inits for _ in range(num_seeds)), tuple(range(num_seeds)) * len(inits))
