"""Training of linear students on Gaussian teachers: all updates in one scan, all seeds in one compiled program."""
import math
from typing import Any, Callable, Mapping, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg  # noqa: F401  the LAPACK that jax calls: loaded before its threads are limited
import threadpoolctl

from inverse_matching import losses, random
from inverse_matching.errors import InputError
from inverse_matching.experiments.gaussian.lanes import Models
from inverse_matching.types import Array, Batch, LossFn, Params, Teacher

# Updates whose samples are drawn in one call. The generator's fixed cost per call is most of a small update.
_DRAWN = 50

Optimizer = Callable[[Params], optax.GradientTransformation]  # from the teacher's parameters


class Trained(NamedTuple):
  """What training leaves, with one leading entry per lane (a seed, or a seed and an initial R)."""
  params: Params  # leaves [L, ...]
  loss: np.ndarray  # [L, num_steps], mean over the batch before each update
  snapshots: Params  # leaves [L, 1 + num_steps // snapshot_every, ...], from before the first update on; None if not asked


def adam(learning_rate: float | optax.Schedule) -> Optimizer:
  """Adam with the same steps for every teacher."""
  return lambda teacher_params: optax.adam(learning_rate)


def limit_lapack() -> None:
  """Keeps LAPACK to one thread, for the rest of the process.

  At T = 64 and below several threads only wait for each other: 15 times slower on a machine that has other work.
  """
  threadpoolctl.threadpool_limits(1, user_api='blas')


def train(models: Models, loss: str | LossFn, settings: Mapping[str, Any], **changes: Any) -> Trained:
  """Trains the student of every lane in one compiled program.

  Args:
    models: the teachers, and the students at their start.
    loss: the name of a loss, or one itself.
    settings: num_steps, batch_size, and the learning_rate of Adam.
    **changes: arguments of make_lane that differ from these.
  """
  # One program at a time: two that run side by side can wait for each other's threads for ever (jax 0.10 on a CPU).
  limit_lapack()
  loss_fn = losses.make(loss, models.teacher, models.student) if isinstance(loss, str) else loss
  arguments = {'num_steps': settings['num_steps'], 'batch_size': settings['batch_size'],
               'optimizer': adam(settings['learning_rate']), 'teacher_samples': loss == 'x_reconstruction', **changes}
  program = jax.jit(jax.vmap(make_lane(loss_fn, models.teacher, **arguments)))
  return Trained(*jax.device_get(program(models.teacher_params, models.student_params, models.keys)))


def make_lane(loss_fn: LossFn, teacher: Teacher, *, num_steps: int, batch_size: int, optimizer: Optimizer,
              teacher_samples: bool = False, snapshot_every: int | None = None,
              teacher_at: Callable[[Params, Array], Params] | None = None) -> Callable[[Params, Params, Array], Trained]:
  """The training of one lane, (teacher_params, student_params, key) -> Trained, each update on fresh samples.

  Args:
    loss_fn: a loss as for images.
    teacher: a teacher of event shape (T,).
    num_steps: the number of updates.
    batch_size: the number of examples B of an update.
    optimizer: a function of the lane's teacher parameters, which preconditioners use.
    teacher_samples: whether a batch holds x from the teacher (x-reconstruction) instead of z.
    snapshot_every: the number of updates between two snapshots of the parameters; it divides num_steps. None: no snapshots.
    teacher_at: (teacher_params, step) -> the parameters that the loss sees, for annealing.

  Raises:
    InputError: there is no update or no example, or snapshot_every does not divide the updates.
  """
  if num_steps < 1 or batch_size < 1:
    raise InputError(f'Training needs one update and one example or more, got {num_steps} and {batch_size}.')
  if num_steps % (snapshot_every or 1):
    raise InputError(f'snapshot_every must divide the number of updates, got {snapshot_every} and {num_steps}.')
  every = snapshot_every or math.gcd(num_steps, _DRAWN)

  def draw(teacher_params, key, step):
    keys = jax.random.split(jax.random.fold_in(key, step), batch_size)
    if teacher_samples:
      return Batch(key=keys, x=teacher.sample(teacher_params, keys))
    return Batch(key=keys, z=teacher.prior.sample(random.stream(keys, 'prior')))

  def train_lane(teacher_params, params, key):
    transform = optimizer(teacher_params)

    def update(carry, step_and_batch):
      params, opt_state = carry
      step, batch = step_and_batch
      seen = teacher_params if teacher_at is None else teacher_at(teacher_params, step)
      loss, grads = jax.value_and_grad(lambda params: jnp.mean(loss_fn(params, seen, batch)[0]))(params)
      updates, opt_state = transform.update(grads, opt_state, params)
      return (optax.apply_updates(params, updates), opt_state), loss

    def segment(carry, first):
      steps = first + jnp.arange(every)
      batches = jax.vmap(draw, (None, None, 0))(teacher_params, key, steps)
      carry, loss = jax.lax.scan(update, carry, (steps, batches))
      return carry, (loss, carry[0] if snapshot_every else None)

    start = params
    (params, _), (loss, later) = jax.lax.scan(segment, (params, transform.init(params)), jnp.arange(0, num_steps, every))
    snapshots = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, later) if snapshot_every else None
    return Trained(params, loss.reshape(-1), snapshots)

  return train_lane
