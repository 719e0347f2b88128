"""A small convolutional classifier, whose inner layers serve as features for comparing images and sets of them."""
from flax import linen as nn

from inverse_matching.types import Array


class ConvClassifier(nn.Module):
  """Images [B, H, W, C] -> (logits [B, num_classes], features [B, num_features], maps [B, h, w, c] of each resolution).

  Each resolution has two 3 x 3 convolutions; one hidden layer follows, whose units are the features.

  Attributes:
    num_classes: number of classes.
    width: filters at full resolution, doubled at each level.
    num_levels: number of resolutions, each half the one before.
    num_features: units of the hidden layer.
  """
  num_classes: int
  width: int
  num_levels: int
  num_features: int

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array, list[Array]]:
    maps = []
    for level in range(self.num_levels):
      for _ in range(2):
        x = nn.gelu(nn.Conv(self.width * 2**level, (3, 3))(x))
      maps.append(x)
      if min(x.shape[1:3]) > 1:
        x = nn.avg_pool(x, (2, 2), (2, 2))
    features = nn.gelu(nn.Dense(self.num_features)(x.reshape(x.shape[0], -1)))
    return nn.Dense(self.num_classes)(features), features, maps
