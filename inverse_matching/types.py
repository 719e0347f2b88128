"""The contract: batches, priors, elementwise maps, teachers, students and losses.

Everything is a NamedTuple of pure functions made by a factory. Parameters are always arguments; closures bind static
things only. Nothing here knows a network.

Axes in docstrings: B batch; T dimensions or time; H, W, C image; `event` is the shape of one example, such as (H, W, C).
X is the space of the teacher's data (for images: after dequantisation and logit), Z the space of its noise.
"""
from typing import Any, Callable, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError

Array = jax.Array
Params = Any  # a pytree of arrays
Cond = Any  # a pytree of arrays with leading axis [B], or None


class Batch(NamedTuple):
  """What every loss receives. Fields that a loss does not use are None.

  Randomness comes in with the batch, as one typed key per example, so that a result does not depend on how the batch is
  spread over devices.
  """
  x: Array | None = None  # [B, *event] in the teacher's space: data or a teacher sample
  z: Array | None = None  # [B, *event] prior draw, or the partner of x in a pair; None: drawn from key where needed
  cond: Cond = None  # pytree with leading [B]
  key: Array | None = None  # [B] typed keys
  mask: Array | None = None  # [B, T], 1 where a time step counts
  label: Array | None = None  # [B], for evaluation only


class Gaussian(NamedTuple):
  """Parameters theta of Gaussian conditionals."""
  mean: Array  # [B, *event]
  log_scale: Array  # [B, *event]


class Prior(NamedTuple):
  """A distribution over Z with independent dimensions."""
  sample: Callable[..., Array]  # (keys [n], length=None) -> z [n, *event]; length of the time axis, if it is open
  log_prob: Callable[[Array], Array]  # z [B, *event] -> [B]


class Elementwise(NamedTuple):
  """A scalar bijection between x and z given theta, applied to each dimension."""
  num_params: int  # network outputs per dimension
  split: Callable[[Array], Any]  # raw [..., num_params] -> theta
  prior: Callable[[tuple[int, ...]], Prior]  # event shape -> Prior
  x_to_z: Callable[[Array, Any], tuple[Array, Array]]  # (x, theta) -> (z, log |dz/dx|), all [B, *event]
  z_to_x: Callable[[Array, Any], Array] | None  # (z, theta) -> x [B, *event]; None if there is no inverse
  differentiable: bool = True  # in x; discrete heads are not
  levels: int | None = None  # of discrete data x = k + u, k in 0..levels - 1 and u in (0, 1); the conditional then sees k
  sample: Callable[[Array, Any], Array] | None = None  # (u uniform on (0, 1), theta) -> x: the same law as z_to_x, cheaper


class Conditional(Protocol):
  """A causal function: the parameters of every scalar conditional in one pass."""

  def __call__(self, params: Params, x: Array, cond: Cond = None, key: Array | None = None) -> Any:
    """Parameters theta of p(x_t | x_<t) for all t in one pass.

    Causal: theta_t may depend on x_s only for s before t in the teacher's order.

    Args:
      params: pytree of arrays.
      x: [B, *event].
      cond: pytree with leading [B], or None.
      key: [B] typed keys for dropout; None means deterministic.

    Returns:
      theta: pytree whose leaves begin with [B, *event], such as Gaussian(mean, log_scale).
    """


class Incremental(NamedTuple):
  """z_to_x by parts, with the activations of earlier parts kept: each position of a network is computed once.

  A block is a run of consecutive dimensions in the teacher's order (for images, some rows). The last one is padded. All but
  `z_to_x` are None where a network is evaluated dimension by dimension alone.

  Attributes:
    z_to_x: (params, z, cond=None) -> x [B, *event]. Exact, dimension by dimension.
    split: value [B, *event] -> blocks [N, B, *block], padded with zeros.
    join: blocks [N, B, *block] -> [B, *event]; undoes `split`.
    init: (params, batch size, cond=None) -> the cache before the first block.
    sweep: (params, cache, z [B, *block], x [B, *block], cond=None) -> (x, cache). Teacher.sweep on one block, given the cache
      of the blocks before; the cache returned is that of the blocks up to x, for the next one.
  """
  z_to_x: Callable[..., Array]
  split: Callable[[Array], Array] | None = None
  join: Callable[[Array], Array] | None = None
  init: Callable[..., Any] | None = None
  sweep: Callable[..., tuple[Array, Any]] | None = None


class Teacher(NamedTuple):
  """An exact density with a parallel map x_to_z and, where it exists, its inverse.

  Attributes:
    event_shape: shape of one example; a time axis of variable length is None.
    prior: p_T(z).
    init: key -> params.
    conditional: see Conditional; None if the teacher is not of this form.
    x_to_z: (params, x, cond=None) -> (z [B, *event], log_det [B]). Parallel.
    log_prob: (params, x, cond=None, key=None, mask=None) -> [B], in nats; of the time steps that mask [B, T] counts, if given.
    z_to_x: (params, z, cond=None) -> x [B, *event]. Exact; None if it cannot be inverted.
    sample: (params, keys [n], cond=None) -> x [n, *event].
    sweep: (params, z, x, cond=None) -> x. One parallel pass of the fixed-point iteration whose solution is z_to_x; after k
      passes the first k dimensions in the teacher's order are final. None if not autoregressive.
    order: order[k] is the flat index of the k-th dimension generated; None is raster order.
    blocks: the teachers of a chain in the order of x_to_z; empty for a single one.
    incremental: sweeps by parts with cached activations, or None.
    differentiable: whether x_to_z is differentiable in x.
    levels: see Elementwise; None for continuous data.
    elementwise: the scalar map that takes theta of `conditional`; None if there is none.
  """
  event_shape: tuple[int | None, ...]
  prior: Prior
  init: Callable[[Array], Params]
  conditional: Conditional | None
  x_to_z: Callable[..., tuple[Array, Array]]
  log_prob: Callable[..., Array]
  z_to_x: Callable[..., Array] | None
  sample: Callable[..., Array]
  sweep: Callable[..., Array] | None = None
  order: tuple[int, ...] | None = None
  blocks: tuple['Teacher', ...] = ()
  incremental: Incremental | None = None
  differentiable: bool = True
  levels: int | None = None
  elementwise: Elementwise | None = None


class StudentOutput(NamedTuple):
  """A student's sample with what is known of its density there."""
  x: Array  # [B, *event]
  log_det: Array | None = None  # [B], log |det dx/dz|; None if the student has none
  conditional: Any = None  # theta with x = z_to_x(z, theta), or None


class Student(NamedTuple):
  """A sampler that needs one pass.

  Attributes:
    event_shape: shape of one example.
    init: key -> params.
    z_to_x: (params, z [B, *event], cond=None, key=None) -> StudentOutput.
    has_log_det: whether StudentOutput.log_det is given.
  """
  event_shape: tuple[int | None, ...]
  init: Callable[[Array], Params]
  z_to_x: Callable[..., StudentOutput]
  has_log_det: bool


def deterministic(model: Any) -> Any:
  """The same Teacher or Student with its dropout off: a key in the batch then serves the loss alone."""
  if isinstance(model, Student):
    return model._replace(z_to_x=lambda params, z, cond=None, key=None: model.z_to_x(params, z, cond))
  # A user's own teacher need not know of masks.
  return model._replace(log_prob=lambda params, x, cond=None, key=None, **mask: model.log_prob(params, x, cond, **mask))


class LossFn(Protocol):
  """An objective, per example."""

  def __call__(self, student_params: Params, teacher_params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """Loss per example [B] and named metrics, each [B]. Deterministic: all randomness is in batch.key."""


def check_event(name: str, value: Array, event_shape: tuple[int | None, ...]) -> None:
  """Raises InputError unless `value` has shape [B, *event_shape] (None matches any length) and a floating type."""
  shape = jnp.shape(value)
  fits = len(shape) == len(event_shape) + 1 and all(want in (None, got) for want, got in zip(event_shape, shape[1:]))
  if not fits:
    want = ', '.join('T' if n is None else str(n) for n in event_shape)
    raise InputError(f'{name} has shape {list(shape)}, expected [B, {want}]: add the batch axis or reshape the examples.')
  if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
    raise InputError(f'{name} has type {jnp.result_type(value)}, expected a floating type: map data to the teacher\'s space '
                     'first (inverse_matching.dequantise_logit or dequantise_uniform).')
