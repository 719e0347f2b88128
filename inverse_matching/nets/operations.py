"""What the image networks compute between their parameters, in the forms that XLA's CPU backend does fast.

All is of float32 or bfloat16 [B, H, W, C], in which it is stored; point by point it is computed in float32.

That backend writes the halves of a concatenation first and copies them then, 4 to 7 times slower than one loop over a sum of
padded halves, which is what is written here. Derivatives are those of the stored results, so that nothing else is kept.
"""
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from inverse_matching.types import Array


def side_by_side(first: Array, second: Array) -> Array:
  """[first, second] on the last axis."""
  low, high = [(0, 0)] * first.ndim, [(0, 0)] * first.ndim
  low[-1], high[-1] = (0, second.shape[-1]), (first.shape[-1], 0)
  return jnp.pad(first, low) + jnp.pad(second, high)


def _stored(x: Array) -> Array:
  """x itself, in bfloat16 as it is: XLA would keep the float32 values that it was made of for whoever computes in float32."""
  return jax.lax.optimization_barrier(x) if x.dtype == jnp.bfloat16 else x


@jax.custom_jvp
def concat_elu(x: Array) -> Array:
  """[elu(x), elu(-x)] on the last axis."""
  value = x.astype(jnp.float32)
  both = side_by_side(value, -value)
  # Not expm1: that backend does not vectorise it everywhere.
  return _stored(jnp.where(both > 0, both, jnp.exp(jnp.minimum(both, 0)) - 1).astype(x.dtype))


@concat_elu.defjvp
def _concat_elu_jvp(primals, tangents):
  out = concat_elu(*primals)
  return out, _times_slope(out, *tangents)


@jax.checkpoint  # of which a gradient keeps `out` alone, as a convolution does that comes next
def _times_slope(out: Array, dx: Array) -> Array:
  """The tangent of concat_elu, whose slope follows from its value."""
  value, slope = dx.astype(jnp.float32), jnp.where(out > 0, 1, 1 + out.astype(jnp.float32))
  return (slope * side_by_side(value, -value)).astype(dx.dtype)


@jax.checkpoint  # of which a gradient keeps x and h alone
def gated(x: Array, h: Array) -> Array:
  """x + value sigmoid(gate), h [B, H, W, 2 C] being [value, gate]."""
  features, h = x.shape[-1], h.astype(jnp.float32)
  return (x.astype(jnp.float32) + h[..., :features] * jax.nn.sigmoid(h[..., features:])).astype(x.dtype)


class Window(NamedTuple):
  """How a kernel is laid over an image."""
  padding: tuple[tuple[int, int], tuple[int, int]]  # rows above and below, columns left and right
  stride: int = 1
  dilation: int = 1

  def convolve(self, x: Array, kernel: Array, order: str = 'HWIO') -> Array:
    """x [B, H, W, C] * kernel, whose axes are in that order -> [B, H', W', F]."""
    return jax.lax.conv_general_dilated(x, kernel, (self.stride,) * 2, self.padding, rhs_dilation=(self.dilation,) * 2,
                                        dimension_numbers=('NHWC', order, 'NHWC'))

  def keeps_size(self, kernel: Array) -> bool:
    """Whether the image that comes out has as many rows and columns as the one that goes in."""
    return self.stride == 1 and all(
        sum(sides) == self.dilation * (size - 1) for sides, size in zip(self.padding, kernel.shape))


def convolution(x: Array, kernel: Array, bias: Array, *, padding: tuple[tuple[int, int], tuple[int, int]], stride: int = 1,
                dilation: int = 1) -> Array:
  """x [B, H, W, C] * kernel [h, w, C, F] + bias [F] -> [B, H', W', F]."""
  window = Window(padding, stride, dilation)
  if x.dtype == jnp.bfloat16:
    return _lower_convolution(x, kernel, bias, window)
  return _same_size(window, x, kernel) + bias if window.keeps_size(kernel) else _convolution(x, kernel, bias, window)


@functools.partial(jax.checkpoint, static_argnums=0)  # of which a gradient keeps x and the kernel alone
def _same_size(window: Window, x: Array, kernel: Array) -> Array:
  """In float32, of a window that keeps the size."""
  return jax.lax.platform_dependent(x, kernel, cpu=functools.partial(_by_columns, window), default=window.convolve)


def _by_columns(window: Window, x: Array, kernel: Array) -> Array:
  """The same as a matrix product for each column of the kernel, over all its rows at once: on a CPU as fast as the convolution,
  and twice as fast in the gradient of the kernel."""
  (height, width, channels, features), (top, left) = kernel.shape, (side[0] for side in window.padding)
  rows = x.reshape(*x.shape[:2], -1)
  seen = lambda column: _moved(rows, 2, (left - window.dilation * column) * channels).reshape(-1, channels)
  products = sum(seen(column) @ kernel[:, column].swapaxes(0, 1).reshape(channels, -1) for column in range(width))
  products = products.reshape(*x.shape[:3], height, features)
  return sum(_moved(products[..., row, :], 1, top - window.dilation * row) for row in range(height))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _convolution(x: Array, kernel: Array, bias: Array, window: Window) -> Array:
  """In float32, of any window. Inside a loop XLA's CPU backend is 30 times slower on a convolution whose kernel is not in HWIO
  order, and JAX transposes HWIO to HWOI. Here the tangent has HWOI, so that its transpose, which the score of a student sweeps
  over, has HWIO.
  """
  return window.convolve(x, kernel) + bias


@_convolution.defjvp
def _convolution_jvp(window, primals, tangents):
  (x, kernel, bias), (dx, dkernel, dbias) = primals, tangents
  tangent = window.convolve(x, dkernel) + window.convolve(dx, kernel.swapaxes(2, 3), 'HWOI') + dbias
  return _convolution(x, kernel, bias, window), tangent


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _lower_convolution(x: Array, kernel: Array, bias: Array, window: Window) -> Array:
  """In bfloat16, with gradients that XLA's CPU backend computes by the library that makes bfloat16 fast there."""
  return (window.convolve(x, kernel).astype(jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)


def _lower_fwd(x, kernel, bias, window):
  return _lower_convolution(x, kernel, bias, window), (x, kernel)


def _lower_bwd(window, kept, g):
  x, kernel = kept
  by_bias = jnp.sum(g.astype(jnp.float32), (0, 1, 2)).astype(g.dtype)
  whole = lambda x, kernel, g: jax.vjp(window.convolve, x, kernel)[1](g)
  products = functools.partial(_by_products, window) if window.keeps_size(kernel) else whole
  return *jax.lax.platform_dependent(x, kernel, g, cpu=products, default=whole), by_bias


_lower_convolution.defvjp(_lower_fwd, _lower_bwd)


def _by_products(window: Window, x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
  """The gradients in x and kernel at a cotangent g [B, H, W, F]: a convolution with a kernel in HWIO order, and for each tap of
  the kernel a matrix product."""
  (height, width, channels, features), (top, left) = kernel.shape, (side[0] for side in window.padding)
  # With the columns and channels as one axis: loops over the channels alone would be short.
  rows, g_rows = (a.reshape(*a.shape[:2], -1) for a in (x, g))
  steps = range(0, width * window.dilation, window.dilation), range(0, height * window.dilation, window.dilation)
  seen = [_moved(rows, 2, (left - step) * channels).reshape(-1, channels) for step in steps[0]]
  of = [_moved(g_rows, 1, step - top).reshape(-1, features) for step in steps[1]]
  by_kernel = jnp.stack([jax.lax.dot_general(a, b, (((0,), (0,)), ((), ()))) for b in of for a in seen])
  # The barrier keeps the reversal out of the convolution, which would otherwise not be one that the library has.
  turned = jax.lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
  padding = tuple((window.dilation * (size - 1) - low, window.dilation * (size - 1) - high)
                  for size, (low, high) in zip((height, width), window.padding))
  return window._replace(padding=padding).convolve(g, turned), by_kernel.reshape(kernel.shape)


def _moved(x: Array, axis: int, steps: int) -> Array:
  """x with zeros coming in: place i of the axis receives i - steps."""
  moves = [(0, 0, 0)] * x.ndim
  moves[axis] = (steps, -steps, 0)
  return jax.lax.pad(x, jnp.zeros((), x.dtype), moves)
