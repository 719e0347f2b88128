"""Objectives by name: pure functions of (student_params, teacher_params, batch), per example.

A factory takes the teacher and the student, refuses what they cannot serve, and returns a LossFn. All but maximum likelihood
distil a teacher that is held fixed.
"""
from collections import abc
import inspect
from typing import Callable

from inverse_matching import registry
from inverse_matching.losses.energy import energy_oracle, energy_score
from inverse_matching.losses.flow_matching import flow_matching
from inverse_matching.losses.kl import maximum_likelihood, regularized_kl, reverse_kl
from inverse_matching.losses.mixture import mixture
from inverse_matching.losses.reconstruction import oracle_prediction, x_reconstruction, z_reconstruction
from inverse_matching.types import LossFn, Student, Teacher

# name -> factory(teacher, student, **config). Maximum likelihood takes no student and is not here.
LOSSES: dict[str, Callable[..., LossFn]] = {
    'reverse_kl': reverse_kl,
    'regularized_kl': regularized_kl,
    'z_reconstruction': z_reconstruction,
    'x_reconstruction': x_reconstruction,
    'oracle_prediction': oracle_prediction,
    'mixture': mixture,
    'energy_score': energy_score,
    'energy_oracle': energy_oracle,
    'flow_matching': flow_matching,
}
FROM_PRIOR = ('reverse_kl', 'regularized_kl', 'z_reconstruction', 'mixture', 'energy_oracle')  # whose z is that of the prior
ON_PAIRS = ('oracle_prediction', 'mixture', 'energy_oracle')  # that train on pairs (z, T^-1(z)) alone
# What config.loss may hold beside the name. A setting that a loss does not have must stand at its neutral value.
SETTINGS = {'distance': 'l2', 'noise_std': 0.0, 'data_noise_std': 0.0, 'estimator': 'total'}


def make(name: str, teacher: Teacher, student: Student, **settings) -> LossFn:
  """The distillation objective of that name.

  Args:
    name: in LOSSES, or one's own as 'package.module:factory'.
    teacher: to distil.
    student: to train.
    **settings: in SETTINGS, or of the loss alone.

  Raises:
    InputError: no such loss, a setting that it does not have, or a pair that cannot serve it.
  """
  if name in LOSSES:
    own = inspect.signature(LOSSES[name]).parameters
    settings = {field: value for field, value in settings.items() if field in own or SETTINGS.get(field, ...) != value}
  return registry.build('loss', LOSSES, name, {'teacher': teacher, 'student': student}, settings, returns=abc.Callable)
