"""The paper's image teacher: PixelCNN++, with one Gaussian per sub-pixel or another conditional."""
from typing import Sequence

from inverse_matching import elementwise as maps
from inverse_matching.nets import heads, pixelcnnpp
from inverse_matching.teachers import build
from inverse_matching.types import Teacher


def pixelcnn(event_shape: tuple[int, int, int], *, num_blocks: int = 3, num_filters: int = 32, num_levels: int = 3,
             dropout: float = 0.0, elementwise: str | None = None, num_mixtures: int | None = None,
             num_units: int | None = None, num_layers: int | None = None, prior: str | None = None, levels: int | None = None,
             order: str | Sequence[int] | None = None, dtype: str | None = None) -> Teacher:
  """An autoregressive teacher over (H, W, C) images.

  Args:
    event_shape: (H, W, C).
    num_blocks, num_filters, num_levels, dropout: of the network, see nets.pixelcnnpp.conditional.
    elementwise: name of the scalar map, see elementwise.MAPS; None is 'gaussian'. Those of discrete data need
      data.logit_lambda = None.
    num_mixtures, num_units, num_layers, prior, levels: settings of some maps, see there; None is the default of the map.
    order: see orders.make; None is raster order.
    dtype: of the numbers inside the network, see nets.precision; None is float32.
  """
  scalar_map = maps.make(elementwise or 'gaussian', num_mixtures=num_mixtures, num_units=num_units, num_layers=num_layers,
                         prior=prior, levels=levels)
  head = heads.make(scalar_map, event_shape[-1])
  init, conditional, cached = pixelcnnpp.conditional(event_shape, head, num_blocks=num_blocks, num_filters=num_filters,
                                                     num_levels=num_levels, dropout=dropout, dtype=dtype)
  return build.autoregressive(event_shape, init, conditional, elementwise=scalar_map, order=order, cached=cached)
