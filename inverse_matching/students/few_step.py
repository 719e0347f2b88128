"""A student of a few steps: a velocity that takes noise at time 1 to data at time 0 (Lipman et al., 2023; not in the paper)."""
from typing import Callable, Sequence

import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.errors import check_at_least
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.resnet import ResNet, check_receptive_field
from inverse_matching.types import Array, Student, StudentOutput, check_event, check_image

FREQUENCIES = (0.5, 1.0, 2.0, 4.0)  # of the time, as planes beside the image
MOST_EULER = 5  # steps; more of them are Heun's


def integrate(velocity: Callable[[Array, float, int], Array], z: Array, num_steps: int) -> Array:
  """x at time 0 of dx/dt = velocity(x, t), x = z at time 1, at the times (1 - i / N)^2.

  Euler's method for up to MOST_EULER steps, above that Heun's, which evaluates the velocity twice a step.

  Args:
    velocity: (x [B, *event], t, number of the evaluation) -> [B, *event].
    z: [B, *event].
    num_steps: N.
  """
  times = [(1 - i / num_steps) ** 2 for i in range(num_steps + 1)]
  x, calls = z, 0
  for now, then in zip(times, times[1:]):
    slope = velocity(x, now, calls)
    if num_steps > MOST_EULER:
      slope = 0.5 * (slope + velocity(x + (then - now) * slope, then, calls + 1))
    x, calls = x + (then - now) * slope, calls + 2
  return x


def few_step(event_shape: tuple[int, int, int], *, num_blocks: int, num_filters: int, dilations: Sequence[int] = (1, 2, 4),
             dropout: float = 0.0, num_steps: int = 1, dtype: str | None = None) -> Student:
  """x = z plus the way along a velocity, a ResNet that sees the time too; with one step, x = z - velocity(z, 1).

  Args:
    event_shape: (H, W, C).
    num_blocks, num_filters, dilations, dropout: see students.resnet.
    num_steps: of `integrate`, when samples are made; flow_matching trains all times at once.
    dtype: of the numbers inside the network, see nets.precision; None is float32.

  Raises:
    InputError: a number below 1, or an output that does not see all of the image.
  """
  check_image('few_step', event_shape)
  check_at_least(1, num_blocks=num_blocks, num_filters=num_filters, num_steps=num_steps)
  check_receptive_field(event_shape, num_blocks, dilations)
  net = ResNet(num_blocks, num_filters, tuple(dilations), dropout, None, False, num_given=len(FREQUENCIES))
  init, apply = functions(net, (*event_shape[:2], event_shape[2] + len(FREQUENCIES)), dtype, head=net.head)

  def velocity(params, x, t, cond=None, key=None):
    del cond
    check_event('x', x, event_shape)
    waves = jnp.cos(jnp.pi * t[:, None] * jnp.asarray(FREQUENCIES))
    planes = jnp.broadcast_to(waves[:, None, None], (*x.shape[:3], len(FREQUENCIES)))
    return apply(params, jnp.concatenate([x, planes], axis=-1), key)

  def z_to_x(params, z, cond=None, key=None):
    check_event('z', z, event_shape)

    def at(x, t, call):
      return velocity(params, x, jnp.full(len(x), t), cond, None if key is None else random.fold(key, call))

    return StudentOutput(integrate(at, z, num_steps))

  return Student(tuple(event_shape), init, z_to_x, has_log_det=False, velocity=velocity)
