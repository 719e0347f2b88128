"""The PixelCNN++ of inverse_matching.nets.pixelcnnpp in eager PyTorch, of images with one channel, in channels_last.

Modules have the names that the parameters have there, so that `load` can copy them.
"""
from typing import Any, Mapping

from flax import traverse_util
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from inverse_matching.nets.causal_conv import KERNELS
from inverse_matching.nets.heads import MAX_LOG_SCALE


def concat_elu(x: torch.Tensor) -> torch.Tensor:
  """[B, C, H, W] -> [B, 2 C, H, W]."""
  return functional.elu(torch.cat([x, -x], dim=1))


class CausalConv(nn.Conv2d):
  """Sees rows up to the present one and, for `right`, columns up to the present one."""

  def __init__(self, inputs: int, outputs: int, direction: str, kernel: tuple[int, int] | None = None, stride: int = 1):
    height, width = kernel or KERNELS[direction]
    super().__init__(inputs, outputs, (height, width), stride)
    left = (width - 1) // 2 if direction == 'down' else width - 1
    self.sides = (left, width - 1 - left, height - 1, 0)

  def forward(self, x):
    return super().forward(functional.pad(x, self.sides))


class Upsample(nn.Module):
  """Each position becomes a 2 x 2 block."""

  def __init__(self, features: int):
    super().__init__()
    self.Dense_0 = nn.Conv2d(features, 4 * features, 1)

  def forward(self, x, size):
    return functional.pixel_shuffle(self.Dense_0(x), 2)[:, :, :size[0], :size[1]]


class GatedBlock(nn.Module):
  """Gated residual block with an optional skip input."""

  def __init__(self, features: int, skipped: int, direction: str):
    super().__init__()
    self.CausalConv_0 = CausalConv(2 * features, features, direction)
    if skipped:
      self.Dense_0 = nn.Conv2d(2 * skipped, features, 1)
    self.CausalConv_1 = CausalConv(2 * features, 2 * features, direction)

  def forward(self, x, skip):
    h = self.CausalConv_0(concat_elu(x))
    if skip is not None:
      h = h + self.Dense_0(concat_elu(skip))
    value, gate = self.CausalConv_1(concat_elu(h)).chunk(2, dim=1)
    return x + value * torch.sigmoid(gate)


class Stream(nn.Module):
  """One causal stream down through the resolutions and back; returns the output of every block by name."""

  def __init__(self, direction: str, num_blocks: int, features: int, num_levels: int):
    super().__init__()
    self.num_blocks, self.num_levels = num_blocks, num_levels
    beside = features if direction == 'right' else 0
    for level in range(num_levels):
      if level:
        self.add_module(f'stride{level}', CausalConv(features, features, direction, stride=2))
      for i in range(num_blocks):
        self.add_module(f'encode{level}_{i}', GatedBlock(features, beside, direction))
      if level < num_levels - 1:
        self.add_module(f'upsample{level}', Upsample(features))
      for i in range(num_blocks + (level < num_levels - 1)):
        self.add_module(f'decode{level}_{i}', GatedBlock(features, features + beside, direction))

  def forward(self, x, beside):
    outputs, skips = {}, [x]

    def block(name, x, skip):
      seen = ([beside[name]] if beside else []) + ([] if skip is None else [skip])
      outputs[name] = self.get_submodule(name)(x, torch.cat(seen, dim=1) if seen else None)
      return outputs[name]

    for level in range(self.num_levels):
      if level:
        x = self.get_submodule(f'stride{level}')(x)
        skips.append(x)
      for i in range(self.num_blocks):
        x = block(f'encode{level}_{i}', x, None)
        skips.append(x)
    for level in reversed(range(self.num_levels)):
      if level < self.num_levels - 1:
        x = self.get_submodule(f'upsample{level}')(x, skips[-1].shape[2:])
      else:
        x = skips.pop()
      for i in range(self.num_blocks + (level < self.num_levels - 1)):
        x = block(f'decode{level}_{i}', x, skips.pop())
    return {**outputs, 'out': x}


class PixelCNNPP(nn.Module):
  """Images [B, 1, H, W] -> -log p(x) [B] in nats, under a Gaussian for each pixel."""

  def __init__(self, *, num_blocks: int, num_filters: int, num_levels: int):
    super().__init__()
    self.above = CausalConv(2, num_filters, 'down')
    self.above_right = CausalConv(2, num_filters, 'down', (1, 3))
    self.left = CausalConv(2, num_filters, 'right', (2, 1))
    self.down = Stream('down', num_blocks, num_filters, num_levels)
    self.right = Stream('right', num_blocks, num_filters, num_levels)
    self.head = nn.Conv2d(num_filters, 2, 1)

  def forward(self, x):
    marked = torch.cat([x, torch.ones_like(x)], dim=1)
    above = functional.pad(marked, (0, 0, 1, 0))[:, :, :-1]
    left = functional.pad(marked, (1, 0))[..., :-1]
    beside = self.down(self.above(above), {})
    out = self.right(self.above_right(above) + self.left(left), beside)['out']
    mean, log_scale = self.head(functional.elu(out)).float().chunk(2, dim=1)
    log_scale = MAX_LOG_SCALE * torch.tanh(log_scale / MAX_LOG_SCALE)
    z = (x - mean) * torch.exp(-log_scale)
    return (0.5 * z**2 + log_scale + 0.5 * np.log(2 * np.pi)).sum(dim=(1, 2, 3))


def load(net: PixelCNNPP, params: Mapping[str, Any]) -> None:
  """Copies the parameters of the network in Flax; raises RuntimeError if they are not those of the net, all and no others."""
  state = {}
  for (*path, kind), value in traverse_util.flatten_dict(params).items():
    value = np.asarray(value)
    if kind == 'kernel':  # [h, w, in, out], or [in, out] of what is a convolution of size 1 here
      value = (value if value.ndim == 4 else value[None, None]).transpose(3, 2, 0, 1)
    if path[-2:-1] and path[-2].startswith('upsample'):  # a 2 x 2 block of features; here the features come first
      value = np.moveaxis(value.reshape(4, -1, *value.shape[1:]), 0, 1).reshape(value.shape)
    state['.'.join([*path, {'kernel': 'weight', 'bias': 'bias'}[kind]])] = torch.from_numpy(value.copy())
  net.load_state_dict(state)
