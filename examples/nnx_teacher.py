"""A teacher written with flax.nnx: causal convolutions over the dimensions in a row, and weights that were trained elsewhere.

    python -m launch.train_teacher --config=configs/digits.py --config.teacher.name=examples.nnx_teacher:teacher --workdir=T

or, of a `Network` that you have trained yourself, numpy.savez('weights.npz', **weights(network)), and

    python -m launch.import_teacher --config=configs/digits.py --config.teacher.name=examples.nnx_teacher:teacher \\
      --weights=weights.npz --workdir=T
"""
import math

from flax import nnx
import jax
import jax.numpy as jnp

from inverse_matching import Gaussian, autoregressive
from inverse_matching.runs import exported


class Network(nnx.Module):
  """Means and log-scales [B, T, 2] of x [B, T], each of the dimensions before it."""

  def __init__(self, width, rngs):
    make = lambda before, after: nnx.Conv(before, after, kernel_size=(9,), padding='CAUSAL', rngs=rngs)
    self.first, self.second, self.last = make(1, width), make(width, width), make(width, 2)

  def __call__(self, x):
    before = jnp.pad(x, ((0, 0), (1, 0)))[:, :-1, None]  # dimension t sees t - 1 and those before
    return self.last(nnx.gelu(self.second(nnx.gelu(self.first(before)))))


def params_of(network):
  return nnx.to_pure_dict(nnx.split(network)[1])


def weights(network):
  return exported.named(params_of(network))


def teacher(event_shape, width=16):
  size = math.prod(event_shape)
  make = lambda key: Network(width, nnx.Rngs(key))
  graph, state = nnx.split(make(jax.random.key(0)))

  def conditional(params, x, cond=None, key=None):
    filled = jax.tree.map(lambda leaf: leaf, state)
    nnx.replace_by_pure_dict(filled, params)
    raw = nnx.merge(graph, filled)(x.reshape(-1, size))
    return Gaussian(raw[..., 0].reshape(x.shape), 5 * jnp.tanh(raw[..., 1] / 5).reshape(x.shape))

  return autoregressive(event_shape, lambda key: params_of(make(key)), conditional)
