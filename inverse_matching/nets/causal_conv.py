"""Convolutions and blocks of causal image networks, all in NHWC.

Two streams (van den Oord et al., 2016; Salimans et al., 2017): `down` sees the rows above and the present one, `right` the
rows above and the present row up to the present column. Shifting the input once makes a stream strictly causal; every later
layer keeps it so.

A layer can be evaluated on the whole image or, at a `Cursor`, on a part of it: on one row in the `down` stream, on one pixel in
the `right` stream. It then keeps what later parts need of its input in the Flax collection `cache`. One definition serves
training and cached sampling.
"""
from typing import Callable, NamedTuple, Sequence
import zlib

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.exactness import exact
from inverse_matching.nets import precision
from inverse_matching.nets.operations import concat_elu, convolution, gated
from inverse_matching.types import Array, Params

KERNELS = {'down': (2, 3), 'right': (2, 2)}


class Cursor(NamedTuple):
  """Where a cached evaluation stands: at a row or at a pixel.

  Attributes:
    row: the row, or that of the pixel.
    column: the column of the pixel; 0 for a row.
    width: number of columns of the image, or more: columns past the end are computed and never read.
    levels: number of resolutions that are evaluated here. A coarser one waits for the next even row and column.
  """
  row: Array | int
  column: Array | int
  width: int
  levels: int

  def coarser(self) -> 'Cursor':
    """The same place at half the resolution."""
    return Cursor(self.row // 2, self.column // 2, -(-self.width // 2), self.levels - 1)


def take_column(x: Array, at: Cursor | None) -> Array:
  """The pixel [B, 1, 1, C] of a row [B, 1, W, C] at which the cursor stands; x itself where there is no cursor."""
  return x if at is None else jax.lax.dynamic_slice_in_dim(x, at.column, 1, axis=2)


def functions(net: nn.Module, event_shape: tuple[int, ...], dtype: str | None = None,
              head: str = 'head') -> tuple[Callable[[Array], Params], Callable]:
  """(init, apply) of a network over [B, *event_shape]: key -> params, and (params, x, key=None) -> its output.

  `key` holds one key for each example [B], and is for a network with dropout. Parameters are float32; `apply` computes in
  `dtype`, see precision.cast, but for the layer named `head`; products are exact to that.
  """

  def init(key):
    return net.lazy_init(key, jax.ShapeDtypeStruct((1, *event_shape), jnp.float32))['params']

  def apply(params, x, key=None):
    params, x = precision.cast(params, dtype, head), precision.cast(x, dtype)
    return net.apply({'params': params}, x, *(() if key is None else (random.stream(key, 'dropout'),)))

  return init, exact(apply)


def shift_down(x: Array) -> Array:
  """Row i receives row i - 1; the first row is zero."""
  return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]


def shift_right(x: Array) -> Array:
  """Column j receives column j - 1; the first column is zero."""
  return jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]


def dropout(x: Array, keys: Array | None, rate: float, path: tuple[str, ...]) -> Array:
  """Inverted dropout with one key per example; the module path makes the layers independent.

  Bits are drawn a byte at a time, so the rate is rounded to 1/256: random bits are the cost of dropout on a CPU.
  """
  threshold = round(rate * 256)
  if not 0 <= threshold < 256:
    raise InputError(f'dropout must be a rate of 0 or more and below 1, got {rate}.')
  if keys is None or threshold == 0:
    return x
  keys = random.fold(keys, zlib.crc32('/'.join(path).encode()))
  bits = jax.vmap(lambda key: jax.random.bits(key, x.shape[1:], jnp.uint8))(keys)
  return jnp.where(bits >= threshold, x * (256 / (256 - threshold)), 0)


def kernel_init(scale: float) -> nn.initializers.Initializer:
  """Normal with variance scale / fan-in."""
  return nn.initializers.variance_scaling(scale, 'fan_in', 'normal')


class CausalConv(nn.Module):
  """A convolution that sees rows up to the present one and, for `right`, columns up to the present one."""
  features: int
  direction: str  # 'down' or 'right'
  stride: int = 1
  kernel: tuple[int, int] | None = None
  init_scale: float = 1.0

  @nn.compact
  def __call__(self, x: Array, at: Cursor | None = None) -> Array:
    height, width = self.kernel or KERNELS[self.direction]
    left = (width - 1) // 2 if self.direction == 'down' else width - 1
    sides = (left, width - 1 - left)
    kernel = self.param('kernel', kernel_init(self.init_scale), (height, width, x.shape[-1], self.features))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    if at is None:
      return convolution(x, kernel, bias, padding=((height - 1, 0), sides), stride=self.stride)
    if self.direction == 'down':
      cache = self.variable('cache', 'above', jnp.zeros, (x.shape[0], height - 1, *x.shape[2:]))
      x = jnp.concatenate([cache.value, x], axis=1)
      cache.value = x[:, 1:]
      return convolution(x, kernel, bias, padding=((0, 0), sides), stride=self.stride)
    # The last rows of the input, each in the slot of its number modulo `height`, so that a new row moves nothing.
    cache = self.variable('cache', 'rows', jnp.zeros, (x.shape[0], height, at.width + left, x.shape[-1]))
    cache.value = jax.lax.dynamic_update_slice(cache.value, x, (0, at.row % height, at.column + left, 0))
    window = [jax.lax.dynamic_slice(cache.value, (0, (at.row + 1 + i) % height, at.column, 0), (len(x), 1, width, x.shape[-1]))
              for i in range(height)]
    window = jnp.concatenate(window, axis=1).reshape(len(x), 1, 1, -1)
    return window @ kernel.reshape(-1, self.features) + bias


class Upsample(nn.Module):
  """Each position becomes a 2 x 2 block (a transposed convolution of kernel and stride 2), cropped to height x width."""
  features: int

  @nn.compact
  def __call__(self, x: Array | None, height: int, width: int, at: Cursor | None = None) -> Array:
    """x [B, h, w, C] -> [B, height, width, features]. At a cursor x is None where the coarser resolution waits."""
    if x is not None:
      b, h, w, _ = x.shape
      y = nn.Dense(4 * self.features, kernel_init=kernel_init(1.0))(x)
      y = y.reshape(b, h, w, 2, 2, self.features).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, self.features)
      if at is None:
        return y[:, :height, :width]
    # A block is computed at its first place; the others read it.
    cache = self.variable('cache', 'rows', lambda: jnp.zeros((b, 2, at.width, self.features)))
    if x is not None:
      cache.value = jax.lax.dynamic_update_slice(cache.value, y[:, :, :at.width], (0, 0, at.column, 0))
    size = (len(cache.value), 1, width, self.features)
    return jax.lax.dynamic_slice(cache.value, (0, at.row % 2, at.column, 0), size)


class GatedBlock(nn.Module):
  """Gated residual block with concat-ELU and optional skip inputs (Salimans et al., 2017)."""
  direction: str
  dropout: float

  @nn.compact
  def __call__(self, x: Array, active: Array, skips: Sequence[Array], keys: Array | None, at: Cursor | None = None) -> Array:
    """x [B, R, S, C] -> the same shape; `active` is concat_elu(x), `skips` are concat_elu of what else it sees."""
    features = x.shape[-1]
    h = CausalConv(features, self.direction)(active, at)
    if skips:
      h = h + SkipProduct(features, name='Dense_0')(skips)
    h = dropout(concat_elu(h), keys, self.dropout, self.path)
    return gated(x, CausalConv(2 * features, self.direction, init_scale=0.1)(h, at))


class SkipProduct(nn.Module):
  """A dense layer on concat_elu of several inputs side by side, as a product for each of them, which copies nothing."""
  features: int

  @nn.compact
  def __call__(self, skips: Sequence[Array]) -> Array:
    """concat_elu [B, R, S, 2 C] of each input -> [B, R, S, features]."""
    sizes = [skip.shape[-1] // 2 for skip in skips]
    # The rows of the kernel: elu(x) of all inputs, then elu(-x) of all.
    kernel = self.param('kernel', kernel_init(1.0), (2 * sum(sizes), self.features))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    positive, negative = (jnp.split(half, np.cumsum(sizes)[:-1]) for half in jnp.split(kernel, 2))
    return sum(skip @ jnp.concatenate(rows) for skip, *rows in zip(skips, positive, negative)) + bias
