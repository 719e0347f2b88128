"""A flow of masked transformers: the modern autoregressive teacher of images."""
from inverse_matching.errors import check_at_least
from inverse_matching.nets import transformer as net
from inverse_matching.teachers import build, orders
from inverse_matching.types import Teacher, check_image


def transformer(event_shape: tuple[int, int, int], *, num_blocks: int = 4, num_layers: int = 2, width: int = 64,
                num_heads: int = 4, patch_size: int = 2, dropout: float = 0.0, dtype: str | None = None) -> Teacher:
  """A chain of autoregressive blocks over patches, in alternating order (TarFlow: Zhai et al., 2024).

  A block maps the patches by x -> (x - mean) / scale, with mean and scale from a causal transformer over the patches before.
  Blocks take the patches in raster order and reversed in turn, and begin as the identity.

  Args:
    event_shape: (H, W, C).
    num_blocks: of the chain.
    num_layers: of attention in a block.
    width: units in a block.
    num_heads: of attention.
    patch_size: side of the square patches.
    dropout: rate inside the blocks, rounded to 1/256.
    dtype: of the numbers inside the networks, see nets.precision; None is float32.

  Raises:
    InputError: no blocks, patches that do not tile the image, heads that do not divide the width.
  """
  check_at_least(1, num_blocks=num_blocks)
  check_image('transformer', event_shape)
  patches = orders.patches(event_shape, patch_size)
  init, conditional, cached = net.conditional(event_shape, patch_size, num_layers=num_layers, width=width, num_heads=num_heads,
                                              dropout=dropout, dtype=dtype)
  return build.chain([
      build.autoregressive(event_shape, init, conditional, order=patches[::1 - 2 * (i % 2)].reshape(-1),
                           cached=cached) for i in range(num_blocks)])
