"""MADE (Germain et al., 2015): a causal network over a vector, by masked layers; inputs are connected to outputs too."""
import math
from typing import Callable

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import check_at_least
from inverse_matching.nets import heads, precision
from inverse_matching.types import Array, Conditional, Elementwise, Params

HEAD = ('skip', 'head', 'head_bias')  # float32, whatever the layers before them are


def conditional(event_shape: tuple[int, ...], elementwise: Elementwise, *, num_units: int, num_layers: int,
                dtype: str | None = None) -> tuple[Callable[[Array], Params], Conditional]:
  """(init, conditional) of theta for [B, *event].

  A unit of a layer has a degree and sees dimensions up to it; theta_t sees units of degrees below t. Degrees are 1 to T - 1,
  one after the other, or as many of these as there are units, evenly.

  Args:
    event_shape: of T dimensions in all, which follow each other in raster order.
    elementwise: the map that theta is for.
    num_units: of each layer.
    num_layers: hidden layers.
    dtype: see nets.precision.

  Raises:
    InputError: a number below 1.
  """
  check_at_least(1, num_units=num_units, num_layers=num_layers)
  head, size = heads.make(elementwise, 1), math.prod(event_shape)
  dims, last = np.arange(1, size + 1), max(1, size - 1)
  units = np.arange(num_units) % last + 1 if num_units >= last else np.linspace(1, last, num_units).round().astype(int)
  mask = lambda before, after: np.asarray(before[:, None] <= after, np.float32)
  masks = [mask(dims if i == 0 else units, units) for i in range(num_layers)]
  strict = {'skip': mask(dims, dims - 1)[..., None], 'head': mask(units, dims - 1)[..., None]}

  def init(key):
    def draw(key, mask, *outputs):
      fan_in = np.maximum(1, mask.sum(0))
      return jax.random.normal(key, (*mask.shape[:2], *outputs)) / np.sqrt(fan_in)

    keys = jax.random.split(key, num_layers + 2)
    return {'kernels': [draw(k, m) for k, m in zip(keys, masks)], 'biases': [jnp.zeros(num_units) for _ in masks],
            'skip': jnp.zeros((size, size, head.num_outputs)), 'head': 0.1 * draw(keys[-1], strict['head'], head.num_outputs),
            'head_bias': 0.5 * jax.random.normal(keys[-2], (size, head.num_outputs))}  # components of a mixture must differ

  def theta(params, x, cond=None, key=None):
    del cond, key
    seen = head.see(x).reshape(x.shape[0], size)
    params, hidden = precision.cast(params, dtype, *HEAD), precision.cast(seen, dtype)
    for kernel, bias, mask in zip(params['kernels'], params['biases'], masks):
      hidden = jax.nn.gelu(hidden @ (kernel * mask.astype(kernel.dtype)) + bias)
    to_head = lambda value, name: jnp.einsum('bi,itp->btp', value, params[name] * strict[name])
    raw = to_head(hidden.astype(jnp.float32), 'head') + to_head(seen, 'skip') + params['head_bias']
    value = head.theta(raw, None)  # each leaf [B, T, 1, ...]: a dimension is a pixel of one channel
    return jax.tree.map(lambda leaf: leaf.reshape(*x.shape, *leaf.shape[3:]), value)

  return init, theta
