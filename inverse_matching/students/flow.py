"""The flow student: an inverse autoregressive flow (Kingma et al., 2016; equation 3 of the paper)."""
from typing import Callable, Sequence

import jax.numpy as jnp

from inverse_matching.elementwise import gaussian
from inverse_matching.exactness import exact
from inverse_matching.nets import heads, made, pixelcnnpp
from inverse_matching.teachers import orders
from inverse_matching.types import (
  Array,
  Conditional,
  Gaussian,
  Params,
  Student,
  StudentOutput,
  check_arguments,
  check_event,
  check_image,
)


def flow(event_shape: tuple[int, ...], init: Callable[[Array], Params], conditional: Conditional, *,
         order: str | Sequence[int] | None = None) -> Student:
  """x_t = mean(z_<t) + exp(log_scale(z_<t)) z_t for all t in one pass.

  Args:
    event_shape: shape of one example.
    init: key -> params.
    conditional: (params, z [B, *event], cond, key) -> Gaussian(mean, log_scale), causal in the raster order of the event.
    order: that of the teacher, see orders.make: T^-1 is triangular in it. The conditional sees the permuted event.

  Raises:
    InputError: the conditional does not take these arguments, or there is no such order.
  """
  check_arguments('The conditional', conditional, 'params, z, cond, key')
  conditional = orders.reordered(conditional, orders.make(order, event_shape))

  def z_to_x(params, z, cond=None, key=None):
    check_event('z', z, event_shape)
    theta: Gaussian = conditional(params, z, cond, key)
    log_det = jnp.sum(theta.log_scale.reshape(z.shape[0], -1), axis=-1)
    return StudentOutput(theta.mean + jnp.exp(theta.log_scale) * z, log_det, theta)

  return Student(tuple(event_shape), init, exact(z_to_x), has_log_det=True)


def pixelcnn_flow(event_shape: tuple[int, int, int], *, num_blocks: int = 3, num_filters: int = 32, num_levels: int = 3,
                  dropout: float = 0.0, order: str | Sequence[int] | None = None,
                  dtype: str | None = None) -> Student:
  """The paper's student for images: the architecture of the teacher (section 4.1.2), applied to z.

  Args:
    event_shape: (H, W, C).
    num_blocks, num_filters, num_levels, dropout: of the network, see nets.pixelcnnpp.conditional.
    order: see `flow`.
    dtype: of the numbers inside the network, see nets.precision; None is float32.
  """
  check_image('flow', event_shape)
  init, conditional, _ = pixelcnnpp.conditional(event_shape, heads.make(gaussian, event_shape[-1]), num_blocks=num_blocks,
                                                num_filters=num_filters, num_levels=num_levels, dropout=dropout,
                                                dtype=dtype)
  return flow(event_shape, init, conditional, order=order)


def made_flow(event_shape: tuple[int, ...], *, num_units: int = 128, num_layers: int = 2,
              order: str | Sequence[int] | None = None, dtype: str | None = None) -> Student:
  """A flow student for vectors: the network of the teacher `made`, applied to z.

  Args:
    event_shape: such as (T,).
    num_units, num_layers: of the network, see nets.made.
    order: see `flow`.
    dtype: of the numbers inside the network, see nets.precision; None is float32.
  """
  init, conditional = made.conditional(event_shape, gaussian, num_units=num_units, num_layers=num_layers, dtype=dtype)
  return flow(event_shape, init, conditional, order=order)
