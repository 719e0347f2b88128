"""Convolutions and blocks of causal image networks, all in NHWC.

Two streams (van den Oord et al., 2016; Salimans et al., 2017): `down` sees the rows above and the present one, `right` the
rows above and the present row up to the present column. Shifting the input once makes a stream strictly causal; every later
layer keeps it so.

A layer can be evaluated on the whole image or, at a `Cursor`, on a part of it: on one row in the `down` stream, on one pixel in
the `right` stream. It then keeps what later parts need of its input in the Flax collection `cache`. One definition serves
training and cached sampling.
"""
import functools
from typing import Callable, NamedTuple
import zlib

from flax import linen as nn
import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.errors import InputError
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


def functions(net: nn.Module, event_shape: tuple[int, ...]) -> tuple[Callable[[Array], Params], Callable]:
  """(init, apply) of a network over [B, *event_shape]: key -> params, and (params, x, key=None) -> what the network returns.

  `key` holds one key for each example [B], and is for a network with dropout.
  """

  def init(key):
    return net.lazy_init(key, jax.ShapeDtypeStruct((1, *event_shape), jnp.float32))['params']

  def apply(params, x, key=None):
    return net.apply({'params': params}, x, *(() if key is None else (random.stream(key, 'dropout'),)))

  return init, apply


def concat_elu(x: Array) -> Array:
  """[elu(x), elu(-x)] on the last axis, with one exponential instead of two."""
  # Not -|x|: its gradient at zero has the wrong sign. Not expm1: XLA's CPU backend does not vectorise it everywhere.
  e = jnp.exp(jnp.where(x > 0, -x, x)) - 1
  return jnp.concatenate([jnp.where(x > 0, x, e), jnp.where(x > 0, e, -x)], axis=-1)


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


def _conv(x: Array, kernel: Array, stride: int, padding: tuple, rhs: str) -> Array:
  return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', rhs, 'NHWC'))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def convolution(x: Array, kernel: Array, stride: int, padding: tuple) -> Array:
  """x [B, H, W, C] * kernel [h, w, C, F] -> [B, H', W', F], with a VJP that XLA's CPU backend computes fast.

  Inside a loop that backend is 30 times slower on a convolution whose kernel is not in HWIO order, and JAX transposes HWIO to
  HWOI. Here the tangent is written with HWOI, so that its transpose, which the score of a student sweeps over, has HWIO.

  The gradient of the kernel is a convolution too, with the batch in the place of channels; it is 3 times slower on 64 images of
  28x28 at once than on a few at a time. Here the tangent is made of such parts, so its transpose is a sum over them.
  """
  return _conv(x, kernel, stride, padding, 'HWIO')


PART = 4096  # positions (images x height x width) in a part: what stays in the cache of a core


@convolution.defjvp
def _convolution_jvp(stride, padding, primals, tangents):
  (x, kernel), (dx, dkernel) = primals, tangents
  batch, height, width, _ = x.shape

  def in_parts(x, dkernel):
    size = max(1, PART // (height * width))
    return jnp.concatenate([_conv(x[i:i + size], dkernel, stride, padding, 'HWIO') for i in range(0, batch, size)])

  def whole(x, dkernel):
    return _conv(x, dkernel, stride, padding, 'HWIO')

  # Chosen where the program is lowered: one that is exported for an accelerator is traced on a CPU.
  tangent = jax.lax.platform_dependent(x, dkernel, cpu=in_parts, default=whole)
  tangent = tangent + _conv(dx, kernel.swapaxes(2, 3), stride, padding, 'HWOI')
  return convolution(x, kernel, stride, padding), tangent


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
      return convolution(x, kernel, self.stride, ((height - 1, 0), sides)) + bias
    if self.direction == 'down':
      cache = self.variable('cache', 'above', jnp.zeros, (x.shape[0], height - 1, *x.shape[2:]))
      x = jnp.concatenate([cache.value, x], axis=1)
      cache.value = x[:, 1:]
      return convolution(x, kernel, self.stride, ((0, 0), sides)) + bias
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
  """Gated residual block with concat-ELU and an optional skip input (Salimans et al., 2017)."""
  direction: str
  dropout: float

  @nn.compact
  def __call__(self, x: Array, skip: Array | None, keys: Array | None, at: Cursor | None = None) -> Array:
    features = x.shape[-1]
    h = CausalConv(features, self.direction)(concat_elu(x), at)
    if skip is not None:
      h = h + nn.Dense(features, kernel_init=kernel_init(1.0))(concat_elu(skip))
    h = dropout(concat_elu(h), keys, self.dropout, self.path)
    h = CausalConv(2 * features, self.direction, init_scale=0.1)(h, at)
    value, gate = jnp.split(h, 2, axis=-1)
    return x + value * nn.sigmoid(gate)
