"""What the training of a student and a sample of it cost, counted."""
from typing import Any, Callable, Mapping

import jax
import numpy as np

from inverse_matching import losses
from inverse_matching.types import Params

PATH = 6  # passes that the path derivative takes, about: its solve pulls back through the student once a sweep (results/digits)
# Name of a loss -> forward and backward passes of the student for an example, where it is not one.
_is_path = lambda loss: loss.get('estimator') == 'path'
_PASSES = {'reverse_kl': lambda loss: PATH if _is_path(loss) else 1,
           'mixture': lambda loss: 1 + PATH if _is_path(loss) else 1,
           'energy_score': lambda loss: loss.get('num_draws', 2),
           'energy_oracle': lambda loss: 1 + loss.get('num_draws', 2)}
# Objectives that call T for each example, with a derivative.
_THROUGH_TEACHER = ('reverse_kl', 'regularized_kl', 'z_reconstruction', 'mixture')


def passes(loss: Mapping[str, Any]) -> int:
  """Forward and backward passes of the student that an example of config.loss takes, or about as many."""
  return _PASSES.get(loss['name'], lambda loss: 1)(loss)


def calls(loss: Mapping[str, Any], examples: int, stored: int | None) -> dict[str, int]:
  """Calls of S and T, and samples of T^-1, that training on so many examples takes.

  Args:
    loss: config.loss.
    examples: seen in training.
    stored: number of pairs, encodings or pairs (z, T^-1(z)), that were made for it; None: there are none. Of more than
      examples only as many count.
  """
  kind, encoded = losses.stored(loss), 0
  used = examples if stored is None else min(stored, examples)
  if loss['name'] in _THROUGH_TEACHER or losses.encodes(loss):
    encoded = used if kind == 'encodings' else examples
  return {'S': passes(loss) * examples, 'T': encoded, 'T^-1': used if kind == 'pairs' else 0}


def multiply_adds(function: Callable[[Params, jax.Array], Any], params: Params, event_shape: tuple[int, ...]) -> float:
  """Multiply-adds of (params, z [1, *event_shape]) -> anything, as XLA counts floating-point operations: half of those."""
  shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
  z = jax.ShapeDtypeStruct((1, *event_shape), np.float32)
  return jax.jit(function).lower(shapes, z).cost_analysis()['flops'] / 2
