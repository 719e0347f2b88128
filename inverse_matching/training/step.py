"""The training state and the training step, the same for teachers and students."""
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import optax

from inverse_matching.runtime.devices import Step
from inverse_matching.types import Array, Batch, LossFn, Params


class TrainState(NamedTuple):
  """All that a checkpoint holds. Randomness and data follow from the step, so there is no key and no iterator in it."""
  step: Array  # [] int32, updates made
  params: Params
  opt_state: Any
  ema: Params  # moving average of params; sampling, evaluation and a loaded teacher use it


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
  """Returns the state before the first update. The EMA starts as a copy: the step donates its arguments."""
  return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), jax.tree.map(jnp.copy, params))


def ema_update(ema: Params, params: Params, step: Array, decay: float) -> Params:
  """Returns decay_t ema + (1 - decay_t) params with decay_t = min(decay, (1 + t) / (10 + t)), t updates made."""
  decay = jnp.minimum(decay, (1 + step) / (10 + step))
  return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), ema, params)


def make_train_step(loss_fn: LossFn, optimizer: optax.GradientTransformation, *, ema_decay: float,
                    prepare: Callable[[Any], Batch], num_steps: int | None = None) -> Step:
  """Makes the training step, to be mapped by devices.map_step: (state, teacher_params, raw batch) -> (state, metrics).

  Args:
    loss_fn: per-example loss.
    optimizer: optax transformation.
    ema_decay: 0 makes the average equal to the parameters.
    prepare: raw batch (as the data pipeline yields it) -> Batch; runs on the devices.
    num_steps: updates in all, for Batch.progress; None: there is none.

  Returns:
    The step. Metrics are scalars: the loss and its parts, and l2 norms of gradients, parameters and updates. An update whose
    loss or gradient is not finite is not applied: the state stays as it was, and the metrics show it.
  """

  def measure(state: TrainState, teacher_params, raw):
    batch = prepare(raw)
    if num_steps is not None:
      batch = batch._replace(progress=jnp.full(batch.key.shape, state.step / num_steps))

    def mean_loss(params):
      loss, parts = loss_fn(params, teacher_params, batch)
      return jnp.mean(loss), {name: jnp.mean(value) for name, value in parts.items()}

    return jax.value_and_grad(mean_loss, has_aux=True)(state.params)

  def update(state: TrainState, means):
    (loss, parts), grads = means
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new = TrainState(state.step + 1, params, opt_state, ema_update(state.ema, params, state.step, ema_decay))
    metrics = {'loss': loss, **parts, 'grad_norm': optax.tree.norm(grads), 'param_norm': optax.tree.norm(params),
               'update_norm': optax.tree.norm(updates)}
    finite = jnp.isfinite(loss) & jnp.isfinite(metrics['grad_norm'])
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state), metrics

  return Step(measure, update)
