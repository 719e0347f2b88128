"""The paper's image teacher: PixelCNN++ with one Gaussian per sub-pixel."""
from typing import Sequence

from inverse_matching import transforms
from inverse_matching.nets import incremental, pixelcnnpp
from inverse_matching.types import Teacher


def pixelcnn(event_shape: tuple[int, int, int], *, order: Sequence[int] | None = None, **network) -> Teacher:
  """An autoregressive teacher over (H, W, C) images.

  Args:
    event_shape: (H, W, C).
    order: permutation of the H W C flat indices, or None for raster order.
    **network: see nets.pixelcnnpp.gaussian_net.
  """
  init, conditional = pixelcnnpp.gaussian_conditional(event_shape, **network)
  return transforms.autoregressive(event_shape, init, conditional, order=order,
                                   incremental=incremental.gaussian(event_shape, **network))
