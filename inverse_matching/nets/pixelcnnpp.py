"""PixelCNN++ (Salimans et al., 2017). With one Gaussian per sub-pixel it is the network of section 4.1.2 of the paper.

Two causal streams of gated residual blocks run over several resolutions with skip connections between the way down and the
way up. The same network serves a teacher (input x) and a flow student (input z).
"""
import functools
from typing import Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.errors import check_at_least
from inverse_matching.nets import causal_conv
from inverse_matching.nets.causal_conv import Cursor
from inverse_matching.nets.heads import Head
from inverse_matching.types import Array, Conditional, Params


class Stream(nn.Module):
  """One causal stream: gated blocks through coarser and coarser resolutions and back, with skips across.

  Maps the input [B, R, S, num_filters] to the output of every block by name, 'out' being the last. A block also sees the
  entry of its name in `beside`.
  """
  direction: str
  num_blocks: int
  num_filters: int
  num_levels: int
  dropout: float

  @nn.compact
  def __call__(self, x: Array, beside: dict[str, Array], keys: Array | None, at: Cursor | None) -> dict[str, Array]:
    outputs, skips, cursors = {}, [x], [at]

    def block(name, x, skip):
      seen = [causal_conv.take_column(beside[name], cursors[-1])] if beside else []
      seen = seen + [skip] if skip is not None else seen
      seen = jnp.concatenate(seen, axis=-1) if seen else None
      outputs[name] = causal_conv.GatedBlock(self.direction, self.dropout, name=name)(x, seen, keys, cursors[-1])
      return outputs[name]

    active = self.num_levels if at is None else at.levels
    for level in range(self.num_levels):
      if level:
        # Also where the coarser resolution waits: the convolution keeps its input.
        x = causal_conv.CausalConv(self.num_filters, self.direction, stride=2, name=f'stride{level}')(x, cursors[-1])
        if level == active:
          x = None
          break
        skips.append(x)
        cursors.append(at and at.coarser())
        at = cursors[-1]
      for i in range(self.num_blocks):
        x = block(f'encode{level}_{i}', x, None)
        skips.append(x)

    for level in reversed(range(active)):
      if level < self.num_levels - 1:
        size = skips[-1].shape[1:3]
        x = causal_conv.Upsample(self.num_filters, name=f'upsample{level}')(x, *size, cursors[-1])
      else:
        x = skips.pop()
      for i in range(self.num_blocks + (level < self.num_levels - 1)):
        x = block(f'decode{level}_{i}', x, skips.pop())
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
    return self.head(nn.elu(self.right(x, beside, keys, at)['out']))


def mark(x: Array) -> Array:
  """Adds a channel of ones, which tells the image from the padding."""
  return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)


def network(head: Head, *, num_blocks: int = 3, num_filters: int = 32, num_levels: int = 3,
            dropout: float = 0.0) -> PixelCNNPP:
  """The network of a head.

  Args:
    head: of images with C sub-pixels.
    num_blocks: gated residual blocks per level on the way down (one more on the way up); the paper's setting is 3.
    num_filters: the paper's setting is 32.
    num_levels: resolutions, each half the one before.
    dropout: rate inside the residual blocks, rounded to 1/256.

  Raises:
    InputError: a number below 1.
  """
  check_at_least(1, num_blocks=num_blocks, num_filters=num_filters, num_levels=num_levels)
  return PixelCNNPP(head.num_outputs, num_blocks, num_filters, num_levels, dropout)


def conditional(event_shape: tuple[int, int, int], head: Head, **settings) -> tuple[Callable[[Array], Params], Conditional]:
  """(init, conditional) of a PixelCNN++ over (H, W, C) images with that head; for the settings see `network`."""
  net = network(head, **settings)

  def init(key):
    return net.lazy_init(key, jax.ShapeDtypeStruct((1, *event_shape), jnp.float32))['params']

  def theta(params, x, cond=None, key=None):
    del cond
    keys = None if key is None else random.stream(key, 'dropout')
    return head.theta(net.apply({'params': params}, head.see(x), keys), x)

  return init, theta
