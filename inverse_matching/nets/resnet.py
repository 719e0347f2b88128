"""A residual network over images that sees all of its input at every output, at full resolution."""
from typing import Sequence

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.nets.causal_conv import dropout, kernel_init
from inverse_matching.nets.operations import concat_elu, convolution
from inverse_matching.types import Array


class ResNet(nn.Module):
  """[B, H, W, C] -> [B, H, W, C - num_given]; block i has two 3 x 3 convolutions of dilation dilations[i % len(dilations)].

  Attributes:
    num_blocks: residual blocks.
    num_filters: channels.
    dilations: cycled over the blocks.
    dropout: rate inside the blocks.
    bottleneck: units of a hidden vector in the middle that all passes through, or None. It breaks what the paper asks of a
      student (section 4, "Invertibility"): no hidden layer smaller than the input without skip connections.
    bottleneck_skip: whether a skip connection goes around the bottleneck.
    num_given: last channels of the input that are seen and have no output.
  """
  num_blocks: int
  num_filters: int
  dilations: tuple[int, ...]
  dropout: float
  bottleneck: int | None
  bottleneck_skip: bool
  num_given: int = 0

  @property
  def head(self) -> str:
    """The name of the last layer."""
    return 'Dense_0' if self.bottleneck is None else 'Dense_2'

  @nn.compact
  def __call__(self, z: Array, keys: Array | None = None) -> Array:
    # A channel of ones tells the padding from the image.
    h = Conv(self.num_filters)(jnp.concatenate([z, jnp.ones_like(z[..., :1])], axis=-1))
    for i in range(self.num_blocks):
      if self.bottleneck is not None and i == self.num_blocks // 2:
        narrow = nn.Dense(self.bottleneck)(h.reshape(h.shape[0], -1))
        wide = nn.Dense(h.size // h.shape[0])(narrow).reshape(h.shape)
        h = h + wide if self.bottleneck_skip else wide
      dilation = self.dilations[i % len(self.dilations)]
      r = Conv(self.num_filters, dilation)(concat_elu(h))
      r = dropout(concat_elu(r), keys, self.dropout, (*self.path, str(i)))
      h = h + Conv(self.num_filters, dilation, init_scale=0.1)(r)
    return nn.Dense(z.shape[-1] - self.num_given, kernel_init=kernel_init(0.1))(concat_elu(h).astype(jnp.float32))


class Conv(nn.Module):
  """A 3 x 3 convolution that keeps the size."""
  features: int
  dilation: int = 1
  init_scale: float = 1.0

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = self.param('kernel', kernel_init(self.init_scale), (3, 3, x.shape[-1], self.features))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    return convolution(x, kernel, bias, padding=((self.dilation, self.dilation),) * 2, dilation=self.dilation)


def check_receptive_field(event_shape: tuple[int, int, int], num_blocks: int, dilations: Sequence[int]) -> None:
  """Raises InputError unless every output sees every input (section 4.1.3 of the paper)."""
  seen = [_seen(side, num_blocks, dilations) for side in event_shape[:2]]
  num_pairs, num_seen = (int(np.prod([count(of_side) for of_side in seen])) for count in (np.size, np.sum))
  if num_seen < num_pairs:
    raise InputError(f'In this ResNet {num_pairs - num_seen} of {num_pairs} pairs of an output and an input of '
                     f'{event_shape[0]}x{event_shape[1]} pixels do not see each other: raise num_blocks, or take dilations '
                     'that are larger or leave no holes, such as 1, 2, 4.')


def _seen(side: int, num_blocks: int, dilations: Sequence[int]) -> np.ndarray:
  """Whether an output sees an input [side, side] along one axis; of an image it sees those that it sees along both."""
  places = np.arange(side)
  seen = np.eye(side, dtype=bool)
  for dilation in [1, *(dilations[i % len(dilations)] for i in range(num_blocks) for _ in range(2))]:
    step = np.isin(np.abs(places[:, None] - places), (0, dilation))
    seen = seen @ step  # through places within the image alone
  return seen
