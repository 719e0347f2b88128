"""How far a trained student is from its teacher, in float64."""
from typing import Any, NamedTuple

import numpy as np

from inverse_matching.analysis import gaussians, kl_gaussians
from inverse_matching.evaluation import statistics
from inverse_matching.types import Params


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


def rows(samples: Samples, kl_values: np.ndarray) -> list[dict[str, Any]]:
  """A dictionary per lane: ks, wasserstein, mean_shift, kl."""
  return [{'ks': statistics.kolmogorov_smirnov(s, t), 'wasserstein': statistics.wasserstein(s, t),
           'mean_shift': statistics.mean_shift(s, t), 'kl': float(k)}
          for t, s, k in zip(samples.teacher, samples.student, kl_values)]
