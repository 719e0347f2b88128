"""The free-form student of section 4.1.3: a ResNet from z to x, with no density."""
from typing import Sequence

from inverse_matching.errors import check_at_least
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.resnet import ResNet, check_receptive_field
from inverse_matching.types import Student, StudentOutput, check_event, check_image


def resnet(event_shape: tuple[int, int, int], *, num_blocks: int, num_filters: int, dilations: Sequence[int] = (1, 2, 4),
           dropout: float = 0.0, bottleneck: int | None = None, bottleneck_skip: bool = False,
           dtype: str | None = None) -> Student:
  """x = net(z), each output seeing all of z.

  Args:
    event_shape: (H, W, C).
    num_blocks: residual blocks of two 3 x 3 convolutions.
    num_filters: channels.
    dilations: cycled over the blocks.
    dropout: rate inside the blocks, rounded to 1/256.
    bottleneck: see nets.resnet.ResNet.
    bottleneck_skip: see nets.resnet.ResNet.
    dtype: of the numbers inside the network, see nets.precision; None is float32.

  Raises:
    InputError: a number below 1, or an output that does not see all of the image.
  """
  check_image('resnet', event_shape)
  check_at_least(1, num_blocks=num_blocks, num_filters=num_filters)
  if bottleneck is None:  # through one, everything is seen
    check_receptive_field(event_shape, num_blocks, dilations)
  net = ResNet(num_blocks, num_filters, tuple(dilations), dropout, bottleneck, bottleneck_skip)
  init, apply = functions(net, event_shape, dtype, head=net.head)

  def z_to_x(params, z, cond=None, key=None):
    del cond
    check_event('z', z, event_shape)
    return StudentOutput(apply(params, z, key))

  return Student(tuple(event_shape), init, z_to_x, has_log_det=False)
