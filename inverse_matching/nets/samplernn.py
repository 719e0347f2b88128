"""SampleRNN (Mehri et al., 2017) in three tiers, over real-valued samples and conditioned on features of frames.

Two GRUs run over frames, the top one over long frames with the features of the frame to come, the middle one over short frames;
each hands every part of its next frame a vector of its own. A sample is predicted by an MLP from the samples just before it
and the vector of its place. Before the start all is zero.

All products are of the highest precision: a conditional may be so sharp that TF32 would spoil z.
"""
import math
from typing import Any, Callable

import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError
from inverse_matching.nets import precision
from inverse_matching.nets.features import check_features
from inverse_matching.types import Array, Conditional, Gaussian, Params, ZToX

# In units of initial_scale: what is further out the network sees as that far out. Full scale by default. Without it 26 of 3,600
# utterances of the teacher of configs/vocoder.py:demo ran away to infinity (launch.make_pairs --num=3600 --seed=1).
FURTHEST = 20.0
HEAD = ('outputs', 'outputs_bias')  # of what a sample is predicted by: the last layer


def _dot(x: Array, matrix: Array) -> Array:
  """x [..., N] times matrix [N, M]."""
  # Of two axes alone: XLA's CPU backend transposes x for the gradient of a matrix if it sums over more.
  out = jnp.matmul(x.reshape(-1, x.shape[-1]), matrix, precision='highest')
  return out.reshape(*x.shape[:-1], matrix.shape[-1])


def _cell(state: Array, inputs: Array, recurrent: Array) -> tuple[Array, tuple[Array, ...]]:
  """One step of a GRU: state [B, W], inputs [B, 3 W] -> the new state, and what its derivative needs."""
  reset, update, new = jnp.split(inputs, 3, axis=-1)
  from_reset, from_update, from_new = jnp.split(_dot(state, recurrent), 3, axis=-1)
  reset, update = jax.nn.sigmoid(reset + from_reset), jax.nn.sigmoid(update + from_update)
  new = jnp.tanh(new + reset * from_new)
  return new + update * (state - new), (reset, update, new, from_new)


@jax.custom_jvp
def gru(inputs: Array, recurrent: Array) -> Array:
  """States [N, B, W] of a GRU that begins at zero.

  Its derivative is written so that the gradient of `recurrent` is one product over all steps. Added up step by step, it made
  value and gradient 1.7 times slower at a width of 128 on a CPU.

  Args:
    inputs: [N, B, 3 W], of reset gate, update gate and candidate.
    recurrent: [W, 3 W].
  """

  def step(state, inputs):
    state, _ = _cell(state, inputs, recurrent)
    return state, state

  return jax.lax.scan(step, jnp.zeros((inputs.shape[1], len(recurrent)), inputs.dtype), inputs)[1]


@gru.defjvp
def _gru_jvp(primals, tangents):
  (inputs, recurrent), (inputs_dot, recurrent_dot) = primals, tangents
  start = jnp.zeros((inputs.shape[1], len(recurrent)), inputs.dtype)

  def step(state, inputs):
    state, parts = _cell(state, inputs, recurrent)
    return state, (state, parts)

  _, (states, (reset, update, new, from_new)) = jax.lax.scan(step, start, inputs)
  before = jnp.concatenate([start[None], states[:-1]])
  by_new = (1 - update) * (1 - new * new)
  by_reset = by_new * from_new * reset * (1 - reset)
  by_update = (before - new) * update * (1 - update)
  fixed = _dot(before, recurrent_dot)

  def tangent(state_dot, parts):
    inputs_dot, fixed, by_reset, by_update, by_new, reset, update = parts
    of_reset, of_update, of_new = jnp.split(inputs_dot, 3, axis=-1)
    from_reset, from_update, from_new = jnp.split(_dot(state_dot, recurrent) + fixed, 3, axis=-1)
    state_dot = (update * state_dot + by_reset * (of_reset + from_reset) + by_update * (of_update + from_update)
                 + by_new * (of_new + reset * from_new))
    return state_dot, state_dot

  return states, jax.lax.scan(tangent, start, (inputs_dot, fixed, by_reset, by_update, by_new, reset, update))[1]


def conditional(frame_sizes: tuple[int, int], num_features: int, width: int, initial_scale: float,
                min_log_scale: float, dtype: str | None = None,
                next_frame: bool | None = False) -> tuple[Callable[[Array], Params], Conditional, Callable]:
  """(init, conditional, cached) of Gaussian conditionals; for the settings see teachers.samplernn."""
  long, short = frame_sizes
  ratio = long // short
  # softplus(offset) = log(initial_scale) - min_log_scale.
  offset = math.log(math.expm1(math.log(initial_scale) - min_log_scale))

  def init(key):
    keys = iter(jax.random.split(key, 14))

    def normal(*shape, gain=1.0):
      return gain / math.sqrt(math.prod(shape[:-1])) * jax.random.normal(next(keys), shape)

    def tier(num_inputs, num_outputs):
      recurrent = [jax.nn.initializers.orthogonal()(next(keys), (width, width)) for _ in range(3)]
      return {'inputs': normal(num_inputs, width), 'gates': normal(width, 3 * width), 'gates_bias': jnp.zeros(3 * width),
              'recurrent': jnp.concatenate(recurrent, axis=-1), 'outputs': normal(width, num_outputs * width),
              'outputs_bias': jnp.zeros(num_outputs * width)}

    return {'top': tier(long + num_features * (2 if next_frame else 1), ratio), 'middle': tier(short, short),
            'sample': {'inputs': normal(short, width), 'hidden': normal(width, width, gain=math.sqrt(2.0)),
                       'hidden_bias': jnp.zeros(width), 'outputs': jnp.zeros((width, 2)), 'outputs_bias': jnp.zeros(2)}}

  def see(x):
    return jnp.clip(x / initial_scale, -FURTHEST, FURTHEST)

  def gates(tier, inputs, above=0.0):
    """[..., num_inputs] and [..., W] -> [..., 3 W]."""
    return _dot(_dot(inputs, tier['inputs']) + above, tier['gates']) + tier['gates_bias']

  def outputs(tier, state):
    """[..., W] -> [..., n, W], a vector for each part of a frame."""
    out = _dot(state, tier['outputs']) + tier['outputs_bias']
    return out.reshape(*state.shape[:-1], -1, width)

  def theta_of(tier, before, above):
    """Of samples, from those before them [..., short] and a vector of their place [..., W]."""
    hidden = jax.nn.relu(_dot(before, tier['inputs']) + above)
    hidden = jax.nn.relu(_dot(hidden, tier['hidden']) + tier['hidden_bias']).astype(jnp.float32)
    mean, log_scale = jnp.split(_dot(hidden, tier['outputs']) + tier['outputs_bias'], 2, axis=-1)
    # A smooth floor: below it the gradient fades, but a hard one would have none, and the scale never rise again.
    return Gaussian(initial_scale * mean[..., 0], min_log_scale + jax.nn.softplus(log_scale[..., 0] + offset))

  def frames_before(x, size):
    """[B, T] -> the frame before each frame, [B, T / size, size]."""
    return jnp.pad(x, ((0, 0), (size, 0)))[:, :x.shape[1]].reshape(len(x), -1, size)

  def states(tier, inputs):
    return jnp.swapaxes(gru(jnp.swapaxes(inputs, 0, 1), tier['recurrent']), 0, 1)

  def seen_features(cond):
    """[B, F, D] -> what the top tier gets of them: those of the frame to come, and if they are asked for of the one after."""
    return jnp.concatenate([cond, jnp.pad(cond[:, 1:], ((0, 0), (0, 1), (0, 0)))], axis=-1) if next_frame else cond

  def check(value, cond):
    length = value.shape[1]
    if length % long:
      raise InputError(f'SampleRNN takes whole frames of {long} samples, got {length}: pad or crop the waveform.')
    check_features(cond, length, num_features, long)

  def theta(params, x, cond=None, key=None):
    del key
    check(x, cond)
    batch, length = x.shape
    seen, cond, top, middle = precision.cast((see(x), cond, params['top'], params['middle']), dtype)
    sample = precision.cast(params['sample'], dtype, *HEAD)
    inputs = frames_before(seen, long)
    inputs = inputs if cond is None else jnp.concatenate([inputs, seen_features(cond)], axis=-1)
    above = outputs(top, states(top, gates(top, inputs))).reshape(batch, -1, width)
    above = outputs(middle, states(middle, gates(middle, frames_before(seen, short), above))).reshape(batch * length, width)
    padded = jnp.pad(seen, ((0, 0), (short, 0)))
    before = jnp.stack([padded[:, i:i + length] for i in range(short)], axis=-1)
    value = theta_of(sample, before.reshape(-1, short), above)
    return jax.tree.map(lambda leaf: leaf.reshape(x.shape), value)

  def cached(elementwise_z_to_x: Callable[[Array, Any], Array]) -> ZToX:

    def z_to_x(params, z, cond=None):
      check(z, cond)
      top, middle, sample = params['top'], params['middle'], params['sample']
      batch, length = z.shape
      start = jnp.zeros((batch, width))
      cond = jnp.zeros((batch, length // long, 0)) if cond is None else seen_features(cond)

      def top_frame(carry, parts):
        state, middle_state, before = carry
        z, cond = parts
        state, _ = _cell(state, gates(top, jnp.concatenate([before, cond], axis=-1)), top['recurrent'])

        def middle_frame(carry, parts):
          state, before = carry
          z, above = parts
          state, _ = _cell(state, gates(middle, before, above), middle['recurrent'])
          above = outputs(middle, state)
          found = []
          # Unrolled: there are few, and a step of a loop would cost more than what is in it.
          for i in range(short):
            found.append(elementwise_z_to_x(z[:, i], theta_of(sample, before, above[:, i])))
            before = jnp.concatenate([before[:, 1:], see(found[-1])[:, None]], axis=1)
          return (state, before), jnp.stack(found, axis=-1)

        (middle_state, _), x = jax.lax.scan(middle_frame, (middle_state, before[:, long - short:]),
                                            (z, jnp.moveaxis(outputs(top, state), 1, 0)))
        x = jnp.moveaxis(x, 0, 1).reshape(batch, long)
        return (state, middle_state, see(x)), x

      z = z.reshape(batch, -1, ratio, short).transpose(1, 2, 0, 3)
      _, x = jax.lax.scan(top_frame, (start, start, jnp.zeros((batch, long))), (z, jnp.moveaxis(cond, 1, 0)))
      return jnp.moveaxis(x, 0, 1).reshape(batch, length)

    return z_to_x

  return init, theta, cached
