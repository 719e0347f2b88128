"""A teacher over vectors: MADE, with a Gaussian for each dimension or another conditional."""
from typing import Sequence

from inverse_matching import elementwise as maps
from inverse_matching.nets import made as network
from inverse_matching.teachers import build
from inverse_matching.types import Teacher


def made(event_shape: tuple[int, ...], *, num_units: int = 128, num_layers: int = 2, elementwise: str | None = None,
         num_mixtures: int | None = None, prior: str | None = None, order: str | Sequence[int] | None = None,
         dtype: str | None = None) -> Teacher:
  """An autoregressive teacher over events of any shape, dimension after dimension (Germain et al., 2015).

  Args:
    event_shape: such as (T,).
    num_units, num_layers: of the network, see nets.made.
    elementwise: name of the scalar map, see elementwise.MAPS; None is 'gaussian'.
    num_mixtures, prior: settings of some maps, see there; None is the default of the map.
    order: see orders.make.
    dtype: of the numbers inside the network, see nets.precision; None is float32.
  """
  scalar_map = maps.make(elementwise or 'gaussian', num_mixtures=num_mixtures, prior=prior)
  init, conditional = network.conditional(event_shape, scalar_map, num_units=num_units, num_layers=num_layers, dtype=dtype)
  return build.autoregressive(event_shape, init, conditional, elementwise=scalar_map, order=order)
