"""The paper's image teacher: PixelCNN++, with one Gaussian per sub-pixel or another conditional."""
from typing import Sequence

import jax.numpy as jnp

from inverse_matching import elementwise as maps
from inverse_matching.errors import InputError
from inverse_matching.nets import heads, pixelcnnpp
from inverse_matching.teachers import build
from inverse_matching.types import Teacher, check_image


def pixelcnn(event_shape: tuple[int, int, int], *, num_blocks: int = 3, num_filters: int = 32, num_levels: int = 3,
             dropout: float = 0.0, elementwise: str | None = None, num_mixtures: int | None = None,
             num_units: int | None = None, num_layers: int | None = None, prior: str | None = None, levels: int | None = None,
             max_log_scale: float | None = None, network_input: str | None = None, order: str | Sequence[int] | None = None,
             dtype: str | None = None) -> Teacher:
  """An autoregressive teacher over (H, W, C) images.

  Args:
    event_shape: (H, W, C).
    num_blocks, num_filters, num_levels, dropout: of the network, see nets.pixelcnnpp.conditional.
    elementwise: name of the scalar map, see elementwise.MAPS; None is 'gaussian'. Those of discrete data need
      data.logit_lambda = None.
    num_mixtures, num_units, num_layers, prior, levels: settings of some maps, see there; None is the default of the map.
    max_log_scale: the smooth bound of log sigma (of the log-scales of a map) from above; None is 7, as from below. With a lower
      one a sub-pixel is never drawn far out, where the network has seen nothing.
    network_input: 'intensity' shows the network tanh(x / 2) in place of a logit x: the grey level, from -1 for black to 1 for
      white, as in PixelCNN++. At lambda = 1e-6 the two darkest of 256 levels are as far apart as 64 and 128, and samples of
      a Gaussian leave the darkest one by chance. None is x. A discrete x is always seen as its grey level.
    order: see orders.make; None is raster order.
    dtype: of the numbers inside the network, see nets.precision; None is float32.

  Raises:
    InputError: an unknown network_input, or one for discrete data; a bound of log-scales that is not positive, or of a map
      without.
  """
  check_image('pixelcnn', event_shape)
  scalar_map = maps.make(elementwise or 'gaussian', num_mixtures=num_mixtures, num_units=num_units, num_layers=num_layers,
                         prior=prior, levels=levels)
  head = heads.make(scalar_map, event_shape[-1], max_log_scale)
  if network_input is not None:
    if network_input != 'intensity' or scalar_map.levels is not None:
      raise InputError(f'config.teacher.network_input is {network_input!r}: set it to intensity, for data of a '
                       'logit_lambda, or leave it out.')
    head = head._replace(see=lambda x: jnp.tanh(x / 2))
  init, conditional, cached = pixelcnnpp.conditional(event_shape, head, num_blocks=num_blocks, num_filters=num_filters,
                                                     num_levels=num_levels, dropout=dropout, dtype=dtype)
  return build.autoregressive(event_shape, init, conditional, elementwise=scalar_map, order=order, cached=cached)
