"""A small convolutional classifier, whose penultimate layer serves as features for comparing sets of images."""
from typing import Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

from inverse_matching.types import Array, Params


class ConvClassifier(nn.Module):
  """Images [B, H, W, C] -> (logits [B, K], features [B, F]); two 3x3 convolutions per resolution, then one hidden layer."""
  num_classes: int
  width: int
  num_levels: int
  num_features: int

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array]:
    for level in range(self.num_levels):
      for _ in range(2):
        x = nn.gelu(nn.Conv(self.width * 2**level, (3, 3))(x))
      if min(x.shape[1:3]) > 1:
        x = nn.avg_pool(x, (2, 2), (2, 2))
    features = nn.gelu(nn.Dense(self.num_features)(x.reshape(x.shape[0], -1)))
    return nn.Dense(self.num_classes)(features), features


def conv_classifier(event_shape: tuple[int, int, int], *, num_classes: int, width: int = 16, num_levels: int = 2,
                    num_features: int = 32) -> tuple[Callable[[Array], Params], Callable[[Params, Array], tuple]]:
  """(init, apply) with apply(params, x [B, H, W, C]) -> (logits [B, num_classes], features [B, num_features]).

  Args:
    event_shape: (H, W, C).
    num_classes: K.
    width: filters at full resolution, doubled at each level.
    num_levels: resolutions, each half the one before.
    num_features: width F of the penultimate layer.
  """
  net = ConvClassifier(num_classes, width, num_levels, num_features)

  def init(key):
    return net.lazy_init(key, jax.ShapeDtypeStruct((1, *event_shape), jnp.float32))['params']

  return init, lambda params, x: net.apply({'params': params}, x)
