"""Objectives by name: pure functions of (student_params, teacher_params, batch), per example.

A factory takes the teacher and the student, refuses what they cannot serve, and returns a LossFn. All but maximum likelihood
distil a teacher that is held fixed.
"""
from collections import abc
import inspect
from typing import Any, Callable, Mapping

import jax
import jax.numpy as jnp

from inverse_matching import registry
from inverse_matching.errors import InputError
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
# Whose z is that of the prior.
FROM_PRIOR = ('reverse_kl', 'regularized_kl', 'z_reconstruction', 'oracle_prediction', 'mixture', 'energy_oracle')
ON_PAIRS = ('oracle_prediction', 'mixture', 'energy_oracle')  # that train on pairs (z, T^-1(z)) alone
# What config.loss may hold beside the name. A setting that a loss does not have must stand at its neutral value.
SETTINGS = {'distance': 'l2', 'noise_std': 0.0, 'data_noise_std': 0.0, 'estimator': 'total'}


def stored(loss: Mapping[str, Any]) -> str | None:
  """Which pairs (z, x), made once, serve an objective: "pairs" (z, T^-1(z)), "encodings" (T(x), x) of the data, or None.

  Args:
    loss: config.loss.
  """
  if loss['name'] in ON_PAIRS:
    return 'pairs'
  noise_comes_first = loss.get('data_noise_std')  # other noise each time, before x is encoded
  is_scaled = loss.get('encoding_std', 1.0) != 1.0  # which those that are stored are not
  return 'encodings' if encodes(loss) and not noise_comes_first and not is_scaled else None


def encodes(loss: Mapping[str, Any]) -> bool:
  """Whether an objective trains on z = T(x) of the data; config.loss is given."""
  return loss['name'] in ('x_reconstruction', 'flow_matching') and loss.get('coupling') != 'independent'


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
  loss = registry.build('loss', LOSSES, name, {'teacher': teacher, 'student': student}, settings, returns=abc.Callable)
  return loss if name in LOSSES else _checked(name, loss)


def _checked(name: str, loss: LossFn) -> LossFn:
  """One's own loss; what it returns must be (values [B], {name: values [B]})."""

  def checked(student_params, teacher_params, batch):
    returned = loss(student_params, teacher_params, batch)
    shape = jax.tree.leaves(batch)[0].shape[:1]
    is_pair = isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], abc.Mapping)
    values = (returned[0], *returned[1].values()) if is_pair else ()
    wrong = [jnp.shape(value) for value in values if jnp.shape(value) != shape]
    if not is_pair or wrong:
      given = f'values of shape {list(wrong[0])}' if wrong else f'a {type(returned).__name__}'
      raise InputError(f'The loss {name} returned {given} for a batch of {shape[0]}: return (values [B], '
                       '{name: values [B]}), a value for each example; the dict may be empty.')
    return returned

  return checked
