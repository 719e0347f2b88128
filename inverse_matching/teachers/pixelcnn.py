"""The paper's image teacher: PixelCNN++, with one Gaussian per sub-pixel or another conditional."""
from typing import Sequence

from inverse_matching import elementwise as maps
from inverse_matching.nets import heads, pixelcnnpp, pixelcnnpp_cached
from inverse_matching.teachers import build, orders
from inverse_matching.types import Teacher


def pixelcnn(event_shape: tuple[int, int, int], *, num_blocks: int = 3, num_filters: int = 32, num_levels: int = 3,
             dropout: float = 0.0, elementwise: str | None = None, num_mixtures: int | None = None,
             num_units: int | None = None, num_layers: int | None = None, prior: str | None = None, levels: int | None = None,
             order: str | Sequence[int] | None = None) -> Teacher:
  """An autoregressive teacher over (H, W, C) images.

  Args:
    event_shape: (H, W, C).
    num_blocks: see nets.pixelcnnpp.network, also for the next three.
    num_filters: channels.
    num_levels: resolutions.
    dropout: rate inside the residual blocks.
    elementwise: name of the scalar map, see elementwise.MAPS; None is 'gaussian'. Those of discrete data need
      data.logit_lambda = None.
    num_mixtures: of a mixture of logistics. This and the next four are settings of some maps; None is the map's default.
    num_units: of `neural`.
    num_layers: of `neural`.
    prior: 'normal' or 'uniform', of maps that are made from a CDF.
    levels: of discrete data.
    order: see orders.make; None is raster order.
  """
  scalar_map = maps.make(elementwise or 'gaussian', num_mixtures=num_mixtures, num_units=num_units, num_layers=num_layers,
                         prior=prior, levels=levels)
  network = dict(num_blocks=num_blocks, num_filters=num_filters, num_levels=num_levels, dropout=dropout)
  head = heads.make(scalar_map, event_shape[-1])
  init, conditional = pixelcnnpp.conditional(event_shape, head, **network)
  order = orders.make(order, event_shape)
  return build.autoregressive(event_shape, init, conditional, elementwise=scalar_map, order=order,
                                   cached=pixelcnnpp_cached.cached(event_shape, head, **network))
