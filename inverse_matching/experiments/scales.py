"""What values of a metric are compared and averaged in, over training seeds."""
import math
from typing import Any, Callable, NamedTuple

import numpy as np

POSITIVE = {'z_reconstruction_l2', 'x_reconstruction_l2', 'sharpness', 'variance_ratio'}  # compared as ratios: in their log
LINEAR = 0.01  # a kernel distance is compared as it is up to about here, and in its log above


class Scale(NamedTuple):
  """A monotonic map of values."""
  name: str  # of a difference on it
  forward: Callable[[Any], np.ndarray]
  inverse: Callable[[float], float]
  shown: Callable[[float], float]  # of a difference, for people


LOG = Scale('ratio', np.log, math.exp, math.exp)
SYMMETRIC_LOG = Scale(f'difference of asinh({1 / LINEAR:.0f} x)', lambda value: np.arcsinh(np.asarray(value) / LINEAR),
                      lambda value: LINEAR * math.sinh(value), float)
IDENTITY = Scale('difference', np.asarray, float, float)


def is_kernel_distance(metric: str) -> bool:
  """Whether a metric is a kernel distance: it has a floor, which nothing is below but by chance, and may be negative."""
  return metric.replace('_', ' ').startswith('kernel distance')


def of(metric: str) -> Scale:
  """The scale of a metric."""
  return LOG if metric in POSITIVE else SYMMETRIC_LOG if is_kernel_distance(metric) else IDENTITY
