"""PixelCNN++ evaluated pixel by pixel from kept activations, so that each position of the network is computed once.

The `down` stream runs once a row, on the whole row above; the `right` stream then runs along the row.
"""
from typing import Any, Callable

import jax
import jax.numpy as jnp

from inverse_matching.nets import pixelcnnpp
from inverse_matching.nets.causal_conv import Cursor
from inverse_matching.nets.heads import Head
from inverse_matching.types import Array, Params, ZToX


def _run(net, method, params, cache, *args) -> tuple[Any, Any]:
  out, updated = net.apply({'params': params, 'cache': cache}, *args, method=method, mutable=['cache'])
  return out, {**cache, **updated['cache']}


def _row_above(x: Array, row: Array | int) -> Array:
  """The row above `row`, [B, 1, W, C], of x [B, H, W, C]; anything above the first."""
  return jax.lax.dynamic_slice_in_dim(x, jnp.maximum(row - 1, 0), 1, axis=1)


def _active(index: int, num_levels: int) -> int:
  """Resolutions that have a position at this row or column: those whose step divides it."""
  return max(level + 1 for level in range(num_levels) if index % 2**level == 0)


def cached(event_shape: tuple[int, int, int], head: Head,
           **settings) -> Callable[[Callable[[Array, Any], Array]], ZToX]:
  """z_to_x of the network of `pixelcnnpp.conditional` with the same arguments, given the elementwise z_to_x."""
  height, width, channels = event_shape
  net = pixelcnnpp.network(head, **settings)
  num_levels = net.num_levels
  period = 2**(num_levels - 1)
  padded_height, padded_width = -(-height // period) * period, -(-width // period) * period

  def mark(x):
    return pixelcnnpp.mark(head.see(x))

  def pad(z):
    return jnp.pad(z, ((0, 0), (0, padded_height - height), (0, padded_width - width), (0, 0)))

  def empty_cache(params: Params, left: Array) -> Any:
    """Zeros for what the streams keep: `rows` at a row, `pixels` for an input like `left` [B, 1, 1, C + 1] at a pixel."""

    def cache():
      above, at_row = jnp.zeros((len(left), 1, width, channels + 1)), Cursor(0, None, width, num_levels)
      beside, first = net.apply({'params': params}, above, None, at_row, method='rows', mutable=['cache'])
      at_pixel = Cursor(0, 0, padded_width, num_levels)
      second = net.apply({'params': params}, left, beside, None, at_pixel, method='pixels', mutable=['cache'])[1]
      return {**first['cache'], **second['cache']}

    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(cache))

  def with_map(elementwise_z_to_x: Callable[[Array, Any], Array]) -> ZToX:

    def pixel(raw, z):
      # As many sweeps as channels: theta of a channel depends on those before it.
      x = jnp.zeros_like(z)
      for _ in range(channels):
        x = elementwise_z_to_x(z, head.theta(raw, x))
      return x

    def z_to_x(params, z, cond=None):
      del cond
      z = pad(z)
      first = jnp.zeros((len(z), 1, 1, channels + 1))
      cache = empty_cache(params, first)

      def rows(i, carry):
        # The rows of one step of the coarsest resolution, unrolled: which resolutions have a row here is then static.
        for k in range(period):
          carry = one_row(i * period + k, _active(k, num_levels), *carry)
        return carry

      def one_row(row, levels, x, cache):
        above = jnp.where(row > 0, mark(_row_above(x[:, :, :width], row)), 0.0)
        beside, cache = _run(net, 'rows', params, cache, above, None, Cursor(row, None, width, levels))
        z_row = jax.lax.dynamic_slice_in_dim(z, row, 1, axis=1)
        step = 2**(levels - 1)

        def columns(j, carry):
          cache, x_row, left = carry
          for k in range(step):
            column = j * step + k
            at = Cursor(row, column, padded_width, min(levels, _active(k, num_levels)))
            raw, cache = _run(net, 'pixels', params, cache, left, beside, None, at)
            new = pixel(raw, jax.lax.dynamic_slice_in_dim(z_row, column, 1, axis=2))
            x_row = jax.lax.dynamic_update_slice_in_dim(x_row, new, column, axis=2)
            left = mark(new)
          return cache, x_row, left

        cache, x_row, _ = jax.lax.fori_loop(0, padded_width // step, columns, (cache, jnp.zeros_like(z_row), first))
        return jax.lax.dynamic_update_slice_in_dim(x, x_row, row, axis=1), cache

      x, _ = jax.lax.fori_loop(0, padded_height // period, rows, (jnp.zeros_like(z), cache))
      return x[:, :height, :width]

    return z_to_x

  return with_map
