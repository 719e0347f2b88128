"""A stack of inverse autoregressive flows, each a WaveNet of gated dilated layers (van den Oord et al., 2016; 2018).

The forms are those that were fastest on a CPU, forward and backward: a convolution of two taps as one matrix product on
[B T, C] whose second half is then shifted, and features projected at the rate of frames and spread by broadcasting.
"""
import math
from typing import Callable

import jax
import jax.numpy as jnp

from inverse_matching.nets import precision
from inverse_matching.nets.features import check_features
from inverse_matching.nets.heads import MAX_LOG_SCALE
from inverse_matching.types import Array, Conditional, Gaussian, Params

SLOPE = 0.4  # of the leaky ReLU on features (ClariNet)
HEAD = ('outputs', 'outputs_bias')  # of a flow: its last layer


def later(x: Array, steps: int) -> Array:
  """x [B, T, ...] moved to later times, zeros coming in: place t receives t - steps."""
  return jnp.pad(x, ((0, 0), (steps, 0), *((0, 0),) * (x.ndim - 2)))[:, :x.shape[1]]


def _flow(params: Params, z: Array, projected: Array | None) -> tuple[Array, Array]:
  """(mean, log_scale) [B, T] of one flow, at t from z before t alone.

  Args:
    params: of the flow.
    z: [B, T].
    projected: what the features add to each layer, [L, B, F, 2 C], or None.
  """
  batch, length = z.shape
  width = params['residual'].shape[-1]
  rows = batch * length
  h = later(z, 1)[..., None].astype(params['front'].dtype) * params['front'] + params['front_bias']
  for i, (gate, bias, residual, residual_bias) in enumerate(zip(*(
      jnp.unstack(params[name]) for name in ('gate', 'gate_bias', 'residual', 'residual_bias')))):
    taps = (h.reshape(rows, width) @ gate).reshape(batch, length, -1)
    here, before = jnp.split(taps, 2, axis=-1)
    here = here + later(before, 2**i) + bias
    if projected is not None:
      frames = projected[i]
      here = (here.reshape(*frames.shape[:2], -1, 2 * width) + frames[:, :, None]).reshape(rows, 2 * width)
    # Split once and one tanh: the logistic function of the gate is 1/2 + tanh(./2) / 2, its half within the weights.
    value, gate = jnp.split(jnp.tanh(here), 2, axis=-1)
    h = h + ((value * (0.5 + 0.5 * gate)).reshape(rows, width) @ residual + residual_bias).reshape(h.shape)
  hidden = jax.nn.relu(jax.nn.relu(h).reshape(rows, width) @ params['hidden'] + params['hidden_bias'])
  out = (hidden.astype(jnp.float32) @ params['outputs'] + params['outputs_bias']).reshape(batch, length, 2)
  return out[..., 0], MAX_LOG_SCALE * jnp.tanh(out[..., 1] / MAX_LOG_SCALE)


def conditional(num_features: int, num_flows: int, num_layers: int, width: int, feature_width: int, initial_scale: float,
                remat: bool, dtype: str | None = None) -> tuple[Callable[[Array], Params], Conditional]:
  """(init, conditional) of x = mean(z_<t) + exp(log_scale(z_<t)) z_t; for the settings see students.wavenet."""

  def init(key):
    keys = iter(jax.random.split(key, 8))

    def normal(*shape, fan_in, gain=1.0):
      return gain / math.sqrt(fan_in) * jax.random.normal(next(keys), shape)

    layers = (num_flows, num_layers)
    params = {'front': normal(num_flows, width, fan_in=1), 'front_bias': jnp.zeros((num_flows, width)),
              'gate': normal(*layers, width, 4 * width, fan_in=2 * width), 'gate_bias': jnp.zeros((*layers, 2 * width)),
              'residual': normal(*layers, width, width, fan_in=width), 'residual_bias': jnp.zeros((*layers, width)),
              'hidden': normal(num_flows, width, width, fan_in=width, gain=math.sqrt(2.0)),
              'hidden_bias': jnp.zeros((num_flows, width)),
              # Zeros: the flows begin as the identity.
              'outputs': jnp.zeros((num_flows, width, 2)), 'outputs_bias': jnp.zeros((num_flows, 2))}
    if not num_features:
      return {'flows': params}
    features = {'kernel': normal(3 * num_features, feature_width, fan_in=3 * num_features), 'bias': jnp.zeros(feature_width),
                'project': normal(feature_width, math.prod(layers) * 2 * width, fan_in=feature_width)}
    return {'flows': params, 'features': features}

  def project(params, cond):
    """Features [B, F, D] -> [N, L, B, F, 2 C] for the layers of the flows, at the rate of frames."""
    batch, frames, _ = cond.shape
    # Zeros on both sides: frames of zeros put behind the end of an utterance change nothing before it.
    padded = jnp.pad(cond, ((0, 0), (1, 1), (0, 0)))
    seen = jnp.concatenate([padded[:, i:i + frames] for i in range(3)], axis=-1).reshape(batch * frames, -1)
    seen = jax.nn.leaky_relu(seen @ params['kernel'] + params['bias'], SLOPE) @ params['project']
    return jnp.moveaxis(seen.reshape(batch, frames, num_flows, num_layers, 2 * width), (2, 3), (0, 1))

  def step(carry, parts):
    z, mean, log_scale = carry
    params, projected = parts
    flow_mean, flow_log_scale = _flow(params, z, projected)
    scale = jnp.exp(flow_log_scale)
    return (flow_mean + scale * z, flow_mean + scale * mean, log_scale + flow_log_scale), None

  def theta(params, z, cond=None, key=None):
    del key
    check_features(cond, z.shape[1], num_features)
    flows = precision.cast(params['flows'], dtype, *HEAD)
    projected = None if cond is None else project(*precision.cast((params['features'], cond), dtype))
    carry = (z, jnp.zeros_like(z), jnp.zeros_like(z))
    if remat:
      # In a scan, since XLA's CPU backend keeps the activations of what is unrolled.
      carry, _ = jax.lax.scan(jax.checkpoint(step), carry, (flows, projected))
    else:
      for i in range(num_flows):
        carry, _ = step(carry, jax.tree.map(lambda leaf, i=i: leaf[i], (flows, projected)))
    _, mean, log_scale = carry
    return Gaussian(initial_scale * mean, math.log(initial_scale) + log_scale)

  return init, theta
