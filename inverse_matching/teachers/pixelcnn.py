"""The paper's image teacher: PixelCNN++, with one Gaussian per sub-pixel or another conditional."""
from typing import Sequence

from inverse_matching import elementwise as maps
from inverse_matching import orders, transforms
from inverse_matching.nets import heads, incremental, pixelcnnpp
from inverse_matching.types import Teacher


def pixelcnn(event_shape: tuple[int, int, int], *, elementwise: str | None = None, num_mixtures: int | None = None,
             num_units: int | None = None, num_layers: int | None = None, prior: str | None = None, levels: int | None = None,
             order: str | Sequence[int] | None = None, **network) -> Teacher:
  """An autoregressive teacher over (H, W, C) images.

  Args:
    event_shape: (H, W, C).
    elementwise: name of the scalar map, see elementwise.MAPS; None is 'gaussian'. Those of discrete data need
      data.logit_lambda = None.
    num_mixtures: of a mixture of logistics. This and the next four are settings of some maps; None is the map's default.
    num_units: of `neural`.
    num_layers: of `neural`.
    prior: 'normal' or 'uniform', of maps that are made from a CDF.
    levels: of discrete data.
    order: see orders.make; None is raster order.
    **network: see nets.pixelcnnpp.network.
  """
  scalar_map = maps.make(elementwise or 'gaussian', num_mixtures=num_mixtures, num_units=num_units, num_layers=num_layers,
                         prior=prior, levels=levels)
  head = heads.make(scalar_map, event_shape[-1])
  init, conditional = pixelcnnpp.conditional(event_shape, head, **network)
  order = orders.make(order, event_shape)
  return transforms.autoregressive(event_shape, init, conditional, elementwise=scalar_map, order=order,
                                   incremental=incremental.pixelcnnpp_parts(event_shape, head, **network))
