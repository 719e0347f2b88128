"""The contract: batches, priors, elementwise maps, teachers, students and losses.

Everything is a NamedTuple of pure functions made by a factory. Parameters are always arguments; closures bind static
things only. Nothing here knows a network.

Axes in docstrings: B batch; T dimensions or time; H, W, C image; `event` is the shape of one example, such as (H, W, C).
X is the space of the teacher's data (for images: after dequantisation and logit), Z the space of its noise.
"""
import inspect
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
  progress: Array | None = None  # [B] in [0, 1], the share of the updates that are made; 1 for the held-out loss


class Gaussian(NamedTuple):
  """Parameters theta of Gaussian conditionals."""
  mean: Array  # [B, *event]
  log_scale: Array  # [B, *event]


class Prior(NamedTuple):
  """A distribution over Z with independent dimensions."""
  sample: Callable[..., Array]  # (keys [n], length=None) -> z [n, *event]; length of the time axis, if it is open
  log_density: Callable[[Array], Array]  # z [B, *event] -> [B, *event], of each dimension; sum_event makes log p(z) of it


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
    """Returns the parameters theta of p(x_t | x_<t) for all t in one pass.

    Causal: theta_t may depend on x_s only for s before t in the teacher's order.

    Args:
      params: pytree of arrays.
      x: [B, *event].
      cond: pytree with leading [B], or None.
      key: [B] typed keys for dropout; None means deterministic.

    Returns:
      theta: pytree whose leaves begin with [B, *event], such as Gaussian(mean, log_scale).
    """


class XToZ(Protocol):
  """T: from data to noise, all dimensions in parallel."""

  def __call__(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, Array]:
    """Returns (z [B, *event], log |det dz/dx| [B]) of x [B, *event]."""


class ZToX(Protocol):
  """T^-1: from noise to data, exactly."""

  def __call__(self, params: Params, z: Array, cond: Cond = None) -> Array:
    """Returns x [B, *event] of z [B, *event]."""


class LogProb(Protocol):
  """log p_T."""

  def __call__(self, params: Params, x: Array, cond: Cond = None, key: Array | None = None,
               mask: Array | None = None) -> Array:
    """Returns log p_T(x) [B] in nats, with dropout if there are keys [B]; of the time steps that a mask [B, T] counts."""


class Sample(Protocol):
  """Ancestral sampling, or whatever has the same law."""

  def __call__(self, params: Params, keys: Array, cond: Cond = None) -> Array:
    """Returns x [n, *event], one draw for each of keys [n]."""


class Swept(NamedTuple):
  """What one pass of the fixed-point iteration gives."""
  x: Array  # [B, *event], the next one
  residual: Array  # [B, *event], |T(x) - z| of the x before, less what rounding x may give, over max(1, |z|)


class Sweep(Protocol):
  """One parallel pass of the fixed-point iteration whose solution is T^-1(z)."""

  def __call__(self, params: Params, z: Array, x: Array, cond: Cond = None) -> Swept:
    """Returns the next x. After k passes the first k dimensions in the teacher's order are final."""


class Teacher(NamedTuple):
  """An exact density with a parallel map x_to_z and, where it exists, its inverse.

  Attributes:
    event_shape: shape of one example; a time axis of variable length is None.
    prior: p_T(z).
    init: key -> params.
    conditional: see Conditional; None if the teacher is not of this form.
    x_to_z: see XToZ.
    log_prob: see LogProb.
    z_to_x: see ZToX; None if the teacher cannot be inverted.
    sample: see Sample.
    sweep: see Sweep; None if not autoregressive.
    order: order[k] is the flat index of the k-th dimension generated; None is raster order.
    blocks: the teachers of a chain in the order of x_to_z; empty for a single one.
    cached: z_to_x dimension by dimension, with the activations of the network kept; None if it cannot keep them.
    differentiable: whether x_to_z is differentiable in x.
    levels: see Elementwise; None for continuous data.
    elementwise: the scalar map that takes theta of `conditional`; None if there is none.
  """
  event_shape: tuple[int | None, ...]
  prior: Prior
  init: Callable[[Array], Params]
  conditional: Conditional | None
  x_to_z: XToZ
  log_prob: LogProb
  z_to_x: ZToX | None
  sample: Sample
  sweep: Sweep | None = None
  order: tuple[int, ...] | None = None
  blocks: tuple['Teacher', ...] = ()
  cached: ZToX | None = None
  differentiable: bool = True
  levels: int | None = None
  elementwise: Elementwise | None = None


class StudentOutput(NamedTuple):
  """A student's sample with what is known of its density there."""
  x: Array  # [B, *event]
  log_det: Array | None = None  # [B], log |det dx/dz|; None if the student has none
  conditional: Any = None  # theta with x = z_to_x(z, theta), or None


class Generate(Protocol):
  """S: from noise to a sample, in one pass."""

  def __call__(self, params: Params, z: Array, cond: Cond = None, key: Array | None = None) -> StudentOutput:
    """Returns the student's output for z [B, *event], with dropout if there are keys [B]."""


class Velocity(Protocol):
  """Where a sample goes as time passes from 1, noise, to 0, data."""

  def __call__(self, params: Params, x: Array, t: Array, cond: Cond = None, key: Array | None = None) -> Array:
    """Returns dx/dt [B, *event] at x [B, *event] and times t [B] in [0, 1], with dropout if there are keys [B]."""


class Student(NamedTuple):
  """A sampler that needs one pass.

  Attributes:
    event_shape: shape of one example.
    init: key -> params.
    z_to_x: see Generate.
    has_log_det: whether StudentOutput.log_det is given.
    velocity: of a student of steps, see Velocity; None of one that has none.
  """
  event_shape: tuple[int | None, ...]
  init: Callable[[Array], Params]
  z_to_x: Generate
  has_log_det: bool
  velocity: Velocity | None = None


def deterministic(model: Any) -> Any:
  """Returns the same Teacher or Student with its dropout off: a key in the batch then serves the loss alone."""
  if isinstance(model, Student):
    velocity = model.velocity and (lambda params, x, t, cond=None, key=None: model.velocity(params, x, t, cond))
    return model._replace(z_to_x=lambda params, z, cond=None, key=None: model.z_to_x(params, z, cond), velocity=velocity)
  return model._replace(log_prob=lambda params, x, cond=None, key=None, mask=None: model.log_prob(params, x, cond, mask=mask))


class LossFn(Protocol):
  """An objective, per example."""

  def __call__(self, student_params: Params, teacher_params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """Returns the loss per example [B] and named metrics, each [B]. Deterministic: all randomness is in batch.key."""


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


def check_arguments(name: str, function: Callable, arguments: str) -> None:
  """Raises InputError unless a function can be called with arguments such as 'params, x, cond, key', in that order."""
  try:
    inspect.signature(function).bind(*arguments.split(', '))
  except TypeError as error:
    raise InputError(f'{name} must take ({arguments}), and it does not ({error}): add the arguments, and leave unused those '
                     'that you do not need.') from error
  except ValueError:  # of no signature that could be seen
    return


def check_params(params: Any) -> None:
  """Raises InputError unless these are arrays of floats, which can be trained: what init returned, or its shapes."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = f'params{jax.tree_util.keystr(path)}'
    if not hasattr(leaf, 'dtype'):
      raise InputError(f'init returned a {type(leaf).__name__} as {name}: return a pytree of arrays alone, and keep what is '
                       'fixed outside of it (of an equinox module, the arrays of equinox.partition).')
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      raise InputError(f'init returned {name} of type {leaf.dtype}, which cannot be trained: return floats, and keep whole '
                       'numbers and keys outside of the parameters.')


def check_vector(name: str, event_shape: tuple[int | None, ...]) -> tuple[int]:
  """Returns the event shape of a model of that name; raises InputError unless it is (T,)."""
  if len(event_shape) != 1 or event_shape[0] is None:
    raise InputError(f'{name} is for vectors, and these events have shape {tuple(event_shape)}: take another model, or reshape '
                     'the examples to [N, T].')
  return tuple(event_shape)


def check_image(name: str, event_shape: tuple[int | None, ...]) -> None:
  """Raises InputError unless the event shape of a model of that name is (H, W, C)."""
  if len(event_shape) != 3 or None in event_shape:
    raise InputError(f'{name} is for images [H, W, C], and these events have shape {tuple(event_shape)}: take another model, '
                     'such as made for vectors (--config=table).')


def sum_event(value: Array, mask: Array | None = None) -> Array:
  """Returns the sum of value [B, *event] over the event, [B]; with a mask [B, T], over the time steps that it counts."""
  if mask is None:
    return jnp.sum(value.reshape(value.shape[0], -1), axis=-1)
  # Not a product: what is left out may be infinite.
  return jnp.sum(jnp.where(mask[..., None] > 0, value.reshape(*mask.shape, -1), 0.0), axis=(1, 2))


def mean_event(value: Array, mask: Array | None = None) -> Array:
  """Returns the mean of value [B, *event] over the event, [B]; with a mask [B, T], over the steps it counts (0 if none)."""
  if mask is None:
    return jnp.mean(value.reshape(value.shape[0], -1), axis=-1)
  return sum_event(value, mask) / jnp.maximum(jnp.sum(mask, 1) * (value[0].size // mask.shape[1]), 1)
