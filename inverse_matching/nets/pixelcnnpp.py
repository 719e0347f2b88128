"""PixelCNN++ (Salimans et al., 2017) with one Gaussian per sub-pixel, as in section 4.1.2 of the paper.

Two causal streams of gated residual blocks run over several resolutions with skip connections between the way down and the
way up. The same network serves a teacher (input x) and a flow student (input z).
"""
from typing import Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.nets import causal_conv
from inverse_matching.types import Array, Conditional, Gaussian, Params

MAX_LOG_SCALE = 7.0  # a smooth bound; the floor is that of PixelCNN++


class PixelCNNPP(nn.Module):
  """Images [B, H, W, C] -> features [B, H, W, num_outputs]; the output at a pixel sees only the pixels before it."""
  num_outputs: int
  num_blocks: int
  num_filters: int
  num_levels: int
  dropout: float

  @nn.compact
  def __call__(self, x: Array, keys: Array | None = None) -> Array:
    conv = causal_conv.CausalConv
    filters = self.num_filters

    def blocks(down, right, skips):
      """One gated block in each stream; the right stream also sees the down stream of its row."""
      skip_down, skip_right = skips or (None, None)
      down = causal_conv.GatedBlock('down', self.dropout)(down, skip_down, keys)
      beside = down if skip_right is None else jnp.concatenate([down, skip_right], axis=-1)
      right = causal_conv.GatedBlock('right', self.dropout)(right, beside, keys)
      return down, right

    # A channel of ones tells the padding from the image.
    x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
    down = causal_conv.shift_down(conv(filters, 'down')(x))
    right = (causal_conv.shift_down(conv(filters, 'down', kernel=(1, 3))(x)) +
             causal_conv.shift_right(conv(filters, 'right', kernel=(2, 1))(x)))

    skips = [(down, right)]
    for level in range(self.num_levels):
      if level:
        down, right = conv(filters, 'down', stride=2)(down), conv(filters, 'right', stride=2)(right)
        skips.append((down, right))
      for _ in range(self.num_blocks):
        down, right = blocks(down, right, None)
        skips.append((down, right))

    down, right = skips.pop()
    for level in reversed(range(self.num_levels)):
      for _ in range(self.num_blocks + (level < self.num_levels - 1)):
        down, right = blocks(down, right, skips.pop())
      if level:
        height, width = skips[-1][0].shape[1:3]
        down = causal_conv.Upsample(filters)(down, height, width)
        right = causal_conv.Upsample(filters)(right, height, width)
    assert not skips
    return nn.Dense(self.num_outputs, kernel_init=causal_conv.kernel_init(0.1))(nn.elu(right))


def gaussian_conditional(event_shape: tuple[int, int, int], *, num_blocks: int = 3, num_filters: int = 32,
                         num_levels: int = 3,
                         dropout: float = 0.0) -> tuple[Callable[[Array], Params], Conditional]:
  """(init, conditional) of a PixelCNN++ with one Gaussian per sub-pixel.

  Sub-pixels are ordered within a pixel: the mean of a channel depends linearly on the channels before it, with coefficients
  that depend on the pixels before (Salimans et al., 2017, section 2.2).

  Args:
    event_shape: (H, W, C).
    num_blocks: gated residual blocks per level on the way down (one more on the way up); the paper's setting is 3.
    num_filters: the paper's setting is 32.
    num_levels: resolutions, each half the one before.
    dropout: rate inside the residual blocks, rounded to 1/256.
  """
  height, width, channels = event_shape
  num_pairs = channels * (channels - 1) // 2
  net = PixelCNNPP(num_outputs=2 * channels + num_pairs, num_blocks=num_blocks, num_filters=num_filters,
                   num_levels=num_levels, dropout=dropout)

  def init(key):
    return net.lazy_init(key, jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32))['params']

  def conditional(params, x, cond=None, key=None):
    del cond
    keys = None if key is None else random.stream(key, 'dropout')
    raw = net.apply({'params': params}, x, keys)
    mean, log_scale, coefficients = jnp.split(raw, [channels, 2 * channels], axis=-1)
    if num_pairs:
      rows, columns = jnp.tril_indices(channels, -1)
      matrix = jnp.zeros((*raw.shape[:-1], channels, channels)).at[..., rows, columns].set(jnp.tanh(coefficients))
      mean = mean + jnp.einsum('bhwij,bhwj->bhwi', matrix, x, precision=jax.lax.Precision.HIGHEST)
    return Gaussian(mean, MAX_LOG_SCALE * jnp.tanh(log_scale / MAX_LOG_SCALE))

  return init, conditional
