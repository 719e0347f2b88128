"""Optimisers, and how their learning rate changes."""
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from inverse_matching import registry
from inverse_matching.types import Params


def muon(learning_rate: optax.Schedule, consistent_rms: float = 0.2, beta: float = 0.95,
         weight_decay: float = 0.0) -> optax.GradientTransformation:
  """Muon: the momentum of a matrix with its singular values made about one (Jordan et al., 2024), for every parameter of two
  axes or more, which is the matrix [all axes but the last, last]; Adam with Nesterov's momentum for the others.

  Args:
    learning_rate: of both, updates made -> rate. A matrix [m, n] moves by about consistent_rms times it for each number, which
      0.2 makes about as far as Adam (Liu et al., 2025).
    consistent_rms: see there.
    beta: decay of the momentum.
    weight_decay: of the matrices, a multiple of the learning rate; 0 is none.
  """

  def matrices(params: Params) -> Params:
    """How each parameter is a matrix: which axes go in and which out; None: it is none."""
    axes = lambda leaf: contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1) if leaf.ndim > 1 else None
    return jax.tree.map(axes, params)

  return contrib.muon(learning_rate, beta=beta, weight_decay=weight_decay, consistent_rms=consistent_rms,
                      muon_weight_dimension_numbers=matrices)


OPTIMIZERS = {'adam': optax.adam, 'muon': muon, 'sgd': optax.sgd}


def make_optimizer(*, learning_rate: float, steps_per_epoch: int, grad_clip: float | None, decay_rate: float = 1.0,
                   name: str = 'adam', schedule: str | None = None, warmup_epochs: float | None = None,
                   cooldown_epochs: float | None = None, num_steps: int | None = None,
                   **more: Any) -> optax.GradientTransformation:
  """Makes an optimiser with a schedule of the learning rate, by default the paper's.

  Args:
    learning_rate: the highest; the paper's is 0.0005.
    steps_per_epoch: updates in an epoch.
    grad_clip: largest global l2 norm of the gradient, or None for no clipping.
    decay_rate: of the schedule 'epochs', the paper's is 0.95; 1 keeps the rate.
    name: 'adam', 'muon' or 'sgd', or one's own as 'package.module:factory': (learning_rate, ...) ->
      optax.GradientTransformation, where learning_rate is a schedule, updates made -> rate.
    schedule: 'epochs', or None: the rate is multiplied by decay_rate after every epoch, as in the paper. 'cosine': half a
      cosine from the highest rate to zero at the last update.
    warmup_epochs: the rate rises in proportion to the updates made for so long; None is no rise.
    cooldown_epochs: the rate falls to zero in a straight line for so long at the end; None is no such fall. With a constant
      rate before it a training can be made longer from what is there.
    num_steps: updates in all, of which 'cosine' and cooldown_epochs must know.
    **more: settings of that optimiser, such as b1 of Adam.

  Raises:
    InputError: an unknown name or schedule, or a setting that is not one of the optimiser's.
  """
  schedules = {'epochs': lambda: optax.exponential_decay(learning_rate, steps_per_epoch, decay_rate, staircase=True),
               'cosine': lambda: optax.cosine_decay_schedule(learning_rate, num_steps)}
  rate = registry.choose('schedule', schedules, schedule or 'epochs')()
  rate = _rising(rate, warmup_epochs * steps_per_epoch) if warmup_epochs else rate
  rate = _falling(rate, cooldown_epochs * steps_per_epoch, num_steps) if cooldown_epochs else rate
  clip = optax.identity() if grad_clip is None else optax.clip_by_global_norm(grad_clip)
  return optax.chain(clip, registry.build('optimizer', OPTIMIZERS, name, {'learning_rate': rate}, more,
                                          returns=optax.GradientTransformation))


def _rising(rate: optax.Schedule, num_steps: float) -> optax.Schedule:
  return lambda step: rate(step) * jnp.minimum(1.0, (step + 1) / num_steps)


def _falling(rate: optax.Schedule, num_steps: float, end: int) -> optax.Schedule:
  return lambda step: rate(step) * jnp.minimum(1.0, (end - step) / num_steps)
