"""PixelCNN++ (Salimans et al., 2017). With one Gaussian per sub-pixel it is the network of section 4.1.2 of the paper.

Two causal streams of gated residual blocks run over several resolutions with skip connections between the way down and the
way up. The same network serves a teacher (input x) and a flow student (input z).
"""
import functools
from typing import Any, Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError, check_at_least
from inverse_matching.nets import causal_conv
from inverse_matching.nets.causal_conv import Cursor
from inverse_matching.nets.heads import Head
from inverse_matching.nets.operations import concat_elu
from inverse_matching.types import Array, Conditional, Params, ZToX


class Stream(nn.Module):
  """One causal stream: gated blocks through coarser and coarser resolutions and back, with skips across.

  Maps the input [B, R, S, num_filters] to concat_elu of the output of every block by name, and the last output itself as 'out'.
  A block also sees the entry of its name in `beside`. At a cursor R is 1, and S is 1 in the `right` stream.
  """
  direction: str
  num_blocks: int
  num_filters: int
  num_levels: int
  dropout: float

  @nn.compact
  def __call__(self, x: Array, beside: dict[str, Array], keys: Array | None, at: Cursor | None) -> dict[str, Array]:
    outputs, cursors = {}, [at]
    active = concat_elu(x)
    skips = [active]  # what later blocks see, as concat_elu of it

    def block(name, x, active, skips):
      seen = [causal_conv.take_column(beside[name], cursors[-1])] if beside else []
      x = causal_conv.GatedBlock(self.direction, self.dropout, name=name)(x, active, seen + skips, keys, cursors[-1])
      outputs[name] = concat_elu(x)
      return x, outputs[name]

    levels = self.num_levels if at is None else at.levels
    for level in range(self.num_levels):
      if level:
        # Also where the coarser resolution waits: the convolution keeps its input.
        x = causal_conv.CausalConv(self.num_filters, self.direction, stride=2, name=f'stride{level}')(x, cursors[-1])
        if level == levels:
          x = None
          break
        active = concat_elu(x)
        skips.append(active)
        cursors.append(cursors[-1] and cursors[-1].coarser())
      for i in range(self.num_blocks):
        x, active = block(f'encode{level}_{i}', x, active, [])
        skips.append(active)

    for level in reversed(range(levels)):
      if level < self.num_levels - 1:
        size = skips[-1].shape[1:3]
        x = causal_conv.Upsample(self.num_filters, name=f'upsample{level}')(x, *size, cursors[-1])
        active = concat_elu(x)
      else:
        skips.pop()  # x itself
      for i in range(self.num_blocks + (level < self.num_levels - 1)):
        x, active = block(f'decode{level}_{i}', x, active, [skips.pop()])
      cursors.pop()
    assert not skips
    return {**outputs, 'out': x}


class PixelCNNPP(nn.Module):
  """Images [B, H, W, C] -> features [B, H, W, num_outputs]; the output at a pixel sees only the pixels before it."""
  num_outputs: int
  num_blocks: int
  num_filters: int
  num_levels: int
  dropout: float

  def setup(self):
    conv = functools.partial(causal_conv.CausalConv, self.num_filters)
    stream = functools.partial(Stream, num_blocks=self.num_blocks, num_filters=self.num_filters, num_levels=self.num_levels,
                               dropout=self.dropout)
    self.above = conv('down')
    self.above_right = conv('down', kernel=(1, 3))
    self.left = conv('right', kernel=(2, 1))
    self.down = stream('down')
    self.right = stream('right')
    self.head = nn.Dense(self.num_outputs, kernel_init=causal_conv.kernel_init(0.1))

  def __call__(self, x: Array, keys: Array | None = None) -> Array:
    x = mark(x)
    return self.pixels(causal_conv.shift_right(x), self.rows(causal_conv.shift_down(x), keys), keys)

  def rows(self, above: Array, keys: Array | None = None, at: Cursor | None = None) -> dict[str, Array]:
    """All that is known from the rows above: [B, R, W, C + 1] shifted down by one -> activations by name."""
    return {**self.down(self.above(above, at), {}, keys, at), 'above_right': self.above_right(above, at)}

  def pixels(self, left: Array, beside: dict[str, Array], keys: Array | None = None, at: Cursor | None = None) -> Array:
    """Features [B, R, S, num_outputs] from the pixels to the left [B, R, S, C + 1], shifted right by one, and `rows`."""
    x = causal_conv.take_column(beside['above_right'], at) + self.left(left, at)
    return self.head(nn.elu(self.right(x, beside, keys, at)['out'].astype(jnp.float32)))


def mark(x: Array) -> Array:
  """Adds a channel of ones, which tells the image from the padding."""
  return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)


def conditional(event_shape: tuple[int, int, int], head: Head, *, num_blocks: int, num_filters: int, num_levels: int,
                dropout: float, dtype: str | None = None) -> tuple[Callable[[Array], Params], Conditional,
                                                                   Callable[[Callable], ZToX]]:
  """(init, conditional, cached) of a PixelCNN++ over images.

  Args:
    event_shape: (H, W, C).
    head: of images with C sub-pixels.
    num_blocks: gated residual blocks of a resolution on the way down; there is one more on the way up. The paper has 3.
    num_filters: channels of a block. The paper has 32.
    num_levels: number of resolutions, each half the one before.
    dropout: rate inside the residual blocks, rounded to 1/256.
    dtype: see nets.precision; `cached` is float32.

  Raises:
    InputError: a number below 1, or more levels than the image has.
  """
  check_at_least(1, num_blocks=num_blocks, num_filters=num_filters, num_levels=num_levels)
  if 2**(num_levels - 1) > max(event_shape[:2]):
    raise InputError(f'num_levels is {num_levels}, but {event_shape[0]} x {event_shape[1]} pixels cannot be halved '
                     f'{num_levels - 1} times: lower it.')
  net = PixelCNNPP(head.num_outputs, num_blocks, num_filters, num_levels, dropout)
  init, apply = causal_conv.functions(net, event_shape, dtype)
  height, width, channels = event_shape
  period = 2**(num_levels - 1)
  padded_height, padded_width = -(-height // period) * period, -(-width // period) * period

  def theta(params, x, cond=None, key=None):
    del cond
    return head.theta(apply(params, head.see(x), key), x)

  def levels_at(index):
    """The number of resolutions that have a position at this row or column: those whose step divides it."""
    return max(level + 1 for level in range(num_levels) if index % 2**level == 0)

  def cached(elementwise_z_to_x: Callable[[Array, Any], Array]) -> ZToX:
    """T^-1 pixel by pixel from kept activations, so that each position of the network is computed once.

    The `down` stream runs once a row, on the whole row above; the `right` stream then runs along the row.
    """

    def pixel(raw, z):
      # As many sweeps as channels: theta of a channel depends on those before it.
      x = jnp.zeros_like(z)
      for _ in range(channels):
        x = elementwise_z_to_x(z, head.theta(raw, x))
      return x

    def z_to_x(params, z, cond=None):
      del cond
      z = jnp.pad(z, ((0, 0), (0, padded_height - height), (0, padded_width - width), (0, 0)))
      first = jnp.zeros((len(z), 1, 1, channels + 1))  # what is to the left of a row

      def run(method, cache, *args):
        """What a method of the network returns, and the cache with what it keeps."""
        out, updated = net.apply({'params': params, 'cache': cache}, *args, method=method, mutable=['cache'])
        return out, {**cache, **updated['cache']}

      def a_pixel():
        above = jnp.zeros((len(z), 1, width, channels + 1))
        beside, cache = run('rows', {}, above, None, Cursor(0, 0, width, num_levels))
        return run('pixels', cache, first, beside, None, Cursor(0, 0, padded_width, num_levels))

      def rows(i, carry):
        # The rows of one step of the coarsest resolution, unrolled: which resolutions have a row here is then static.
        for k in range(period):
          carry = one_row(i * period + k, levels_at(k), *carry)
        return carry

      def one_row(row, levels, x, cache):
        above = jax.lax.dynamic_slice_in_dim(x[:, :, :width], jnp.maximum(row - 1, 0), 1, axis=1)
        above = jnp.where(row > 0, mark(head.see(above)), 0.0)
        beside, cache = run('rows', cache, above, None, Cursor(row, 0, width, levels))
        z_row = jax.lax.dynamic_slice_in_dim(z, row, 1, axis=1)
        step = 2**(levels - 1)

        def columns(j, carry):
          cache, x_row, left = carry
          for k in range(step):
            column = j * step + k
            at = Cursor(row, column, padded_width, min(levels, levels_at(k)))
            raw, cache = run('pixels', cache, left, beside, None, at)
            new = pixel(raw, jax.lax.dynamic_slice_in_dim(z_row, column, 1, axis=2))
            x_row = jax.lax.dynamic_update_slice_in_dim(x_row, new, column, axis=2)
            left = mark(head.see(new))
          return cache, x_row, left

        cache, x_row, _ = jax.lax.fori_loop(0, padded_width // step, columns, (cache, jnp.zeros_like(z_row), first))
        return jax.lax.dynamic_update_slice_in_dim(x, x_row, row, axis=1), cache

      cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(a_pixel)[1])
      x, _ = jax.lax.fori_loop(0, padded_height // period, rows, (jnp.zeros_like(z), cache))
      return x[:, :height, :width]

    return z_to_x

  return init, theta, cached
