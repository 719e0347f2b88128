"""Teachers and students of sections 3.2 and 4.1.1, x = mean + R z on both sides: many side by side, and how far they differ."""
import math
from typing import Any, NamedTuple, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import registry, teachers
from inverse_matching.analysis import gaussians, kl_gaussians
from inverse_matching.errors import InputError
from inverse_matching.evaluation import statistics
from inverse_matching.students import linear
from inverse_matching.teachers.gaussian import precompute
from inverse_matching.types import Array, Params, Student, Teacher

MEAN = 2.0  # of the teacher, in every dimension (section 3.2)

# Name of an initial R -> arguments of students.linear.
INITS = {
    'I': lambda num_dims: dict(),
    '0.1 I': lambda num_dims: dict(scale=0.1),
    'N(0,1)': lambda num_dims: dict(initial='normal'),
    'N(0,1)/sqrt(T)': lambda num_dims: dict(initial='normal', scale=1 / math.sqrt(num_dims)),
}


class Models(NamedTuple):
  """A teacher and a student at its start for each of L lanes."""
  teacher: Teacher
  student: Student
  teacher_params: Params  # leaves [L, ...]; of a Gaussian, with the inverse
  student_params: Params  # leaves [L, ...]
  keys: Array  # [L] typed keys for training
  inits: Sequence[str] = ()  # [L], names of the initial R: all seeds with the first one, then all with the second, ...
  seeds: Sequence[int] = ()  # [L]

  @property
  def num_dims(self) -> int:
    """The number of dimensions T."""
    return self.teacher.event_shape[0]


def lane_keys(num_lanes: int, *, seed: int) -> Array:
  """Typed keys [num_lanes]; that of lane i is the same whatever the number of lanes."""
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(num_lanes))


def make(num_dims: int, inits: Sequence[str], num_seeds: int, *, seed: int) -> Models:
  """A lane for each initial R and seed; the teachers and the keys for training are the same for every initial R.

  Raises:
    InputError: T = 0, no seeds, or an unknown initial R.
  """
  if num_dims < 1 or num_seeds < 1:
    raise InputError(f'A Gaussian pair needs one dimension and one seed or more, got {num_dims} and {num_seeds}.')
  for name in inits:
    registry.choose('initial R', INITS, name)
  teacher, student = teachers.gaussian((num_dims,), mean=MEAN), linear((num_dims,))
  teacher_keys, student_keys, keys = (lane_keys(num_seeds, seed=3 * seed + i) for i in range(3))
  teacher_params = precompute(jax.vmap(teacher.init)(teacher_keys))
  starts = [jax.vmap(linear((num_dims,), **INITS[name](num_dims)).init)(student_keys) for name in inits]
  join = lambda trees: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)
  return Models(teacher, student, join([teacher_params] * len(inits)), join(starts), jnp.tile(keys, len(inits)),
                np.repeat(inits, num_seeds).tolist(), list(range(num_seeds)) * len(inits))


class Samples(NamedTuple):
  """Samples of both sides seen by the teacher, [L, N] each."""
  teacher: np.ndarray  # log p_T(x), x from the teacher
  student: np.ndarray  # log p_T(x), x from the student


def likelihoods(teacher_params: Params, student_params: Params, num_samples: int, *, seed: int) -> Samples:
  """log p_T of num_samples samples from each side, for every lane; the two sides use different noise."""
  mean, matrix = teacher_params['mean'], teacher_params['matrix']
  rng = np.random.default_rng(seed)
  sides = [gaussians.sample(rng, num_samples, p['mean'], p['matrix']) for p in (teacher_params, student_params)]
  return Samples(*(gaussians.log_prob(x, mean, matrix) for x in sides))


def kl(teacher_params: Params, student_params: Params) -> np.ndarray:
  """Closed-form KL(student || teacher) in nats, [L, ...] for student leaves [L, ..., T]."""
  extra = np.ndim(student_params['mean']) - np.ndim(teacher_params['mean'])
  lift = lambda leaf: np.expand_dims(np.asarray(leaf, np.float64), tuple(range(1, 1 + extra)))
  return kl_gaussians(student_params['mean'] - lift(teacher_params['mean']), student_params['matrix'],
                      lift(teacher_params['matrix']))


def rows(models: Models, student_params: Params, samples: Samples) -> list[dict[str, Any]]:
  """A row for each lane: which one it is, and how far its student is from its teacher.

  Args:
    models: the lanes.
    student_params: what training left, leaves [L, ...].
    samples: of `likelihoods`.
  """
  conditions = np.linalg.cond(np.asarray(models.teacher_params['matrix'], np.float64))
  lanes = zip(models.inits, models.seeds, conditions, samples.teacher, samples.student,
              kl(models.teacher_params, student_params))
  return [{'dimension': models.num_dims, 'init': init, 'seed': seed, 'condition_number': float(condition),
           'ks': statistics.kolmogorov_smirnov(student, teacher), 'wasserstein': statistics.wasserstein(student, teacher),
           'mean_shift': statistics.mean_shift(student, teacher), 'kl': float(kl_value)}
          for init, seed, condition, teacher, student, kl_value in lanes]
