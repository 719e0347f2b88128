"""A causal transformer over the patches of an image: one block of a transformer flow (Zhai et al., 2024, section 3).

A patch is read as one token and all its dimensions are conditioned on the patches before it, not on each other. The events
come with their dimensions in the order of the block, patch after patch.

A layer can be evaluated on all patches, or on a run of them with the keys and values of the patches before kept. One
definition serves training and cached sampling.
"""
import math
from typing import Any, Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

from inverse_matching.elementwise import gaussian
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.nets import heads
from inverse_matching.nets.causal_conv import dropout, functions, kernel_init
from inverse_matching.types import Array, Conditional, Params, ZToX

HIDDEN = 4  # units of the feed-forward layers over the width
SEEN = 1e6  # |x| that the network sees at most: an unsettled patch of a fixed point must stay finite, for 0 * inf is not 0


class Attention(nn.Module):
  """Self-attention [B, M, width] -> [B, M, width] of M patches to themselves and the patches before them."""
  num_heads: int

  @nn.compact
  def __call__(self, x: Array, kv_cache: Array | None, at: Array | int) -> tuple[Array, Array | None]:
    """Also returns `kv_cache` [2, B, N, width], keys and values of all patches, with those from `at` on put in; None: N = M."""
    batch, count, width = x.shape
    query, key, value = jnp.split(nn.Dense(3 * width, kernel_init=kernel_init(1.0))(x), 3, axis=-1)
    if kv_cache is not None:
      kv_cache = jax.lax.dynamic_update_slice(kv_cache, jnp.stack([key, value]), (0, 0, at, 0))
      key, value = kv_cache
    by_head = lambda a: a.reshape(batch, -1, self.num_heads, width // self.num_heads)
    scores = jnp.einsum('bqhd,bkhd->bhqk', by_head(query), by_head(key)) / math.sqrt(width // self.num_heads)
    causal = jnp.arange(key.shape[1]) <= at + jnp.arange(count)[:, None]
    weights = jax.nn.softmax(jnp.where(causal, scores.astype(jnp.float32), -jnp.inf)).astype(x.dtype)
    seen = jnp.einsum('bhqk,bkhd->bqhd', weights, by_head(value)).reshape(x.shape)
    return nn.Dense(width, kernel_init=kernel_init(0.1))(seen), kv_cache


class Transformer(nn.Module):
  """Patches [B, M, D] from place `at` on -> [B, M, num_outputs]; an output sees the patches up to its own."""
  num_outputs: int
  num_layers: int
  width: int
  num_heads: int
  num_patches: int
  dropout: float

  @property
  def head(self) -> str:
    """The name of the last layer."""
    return f'Dense_{2 * self.num_layers + 1}'

  @nn.compact
  def __call__(self, x: Array, keys: Array | None = None, kv_cache: Array | None = None,
               at: Array | int = 0) -> tuple[Array, Array | None]:
    """Also returns `kv_cache` [num_layers, 2, B, N, width], see Attention."""
    pos_embedding = self.param('place', nn.initializers.normal(0.02), (self.num_patches, self.width))
    h = nn.Dense(self.width, kernel_init=kernel_init(1.0))(jnp.clip(x, -SEEN, SEEN))
    h = h + jax.lax.dynamic_slice_in_dim(pos_embedding, at, x.shape[1])
    norm = lambda: nn.LayerNorm(use_fast_variance=False)  # which would overflow earlier, and cancels
    layers = []
    for i in range(self.num_layers):
      seen, layer = Attention(self.num_heads, name=f'attention{i}')(norm()(h), None if kv_cache is None else kv_cache[i], at)
      layers.append(layer)
      h = h + dropout(seen, keys, self.dropout, (*self.path, f'attention{i}'))
      hidden = nn.gelu(nn.Dense(HIDDEN * self.width, kernel_init=kernel_init(1.0))(norm()(h)))
      hidden = nn.Dense(self.width, kernel_init=kernel_init(0.1))(hidden)
      h = h + dropout(hidden, keys, self.dropout, (*self.path, f'hidden{i}'))
    # Zeros: the flow begins at the identity.
    out = nn.Dense(self.num_outputs, kernel_init=nn.initializers.zeros)(norm()(h).astype(jnp.float32))
    return out, None if kv_cache is None else jnp.stack(layers)


def conditional(event_shape: tuple[int, int, int], patch_size: int, *, num_layers: int, width: int, num_heads: int,
                dropout: float = 0.0, dtype: str | None = None) -> tuple[Callable[[Array], Params], Conditional, Callable]:
  """(init, conditional, cached) of Gaussian conditionals over patches.

  Args:
    event_shape: (H, W, C).
    patch_size: side of a patch; it must divide H and W. Events come patch after patch.
    num_layers: of attention, each with two feed-forward layers.
    width: units.
    num_heads: of attention.
    dropout: rate on what each layer adds, rounded to 1/256.
    dtype: see nets.precision; `cached` is float32.

  Raises:
    InputError: a number below 1, or heads that do not divide the width.
  """
  check_at_least(1, num_layers=num_layers, width=width, num_heads=num_heads)
  if width % num_heads:
    raise InputError(f'num_heads must divide the width, got {num_heads} heads and width {width}.')
  head = heads.make(gaussian, 1)
  size = patch_size**2 * event_shape[2]
  num_patches = event_shape[0] // patch_size * (event_shape[1] // patch_size)
  net = Transformer(size * head.num_outputs, num_layers, width, num_heads, num_patches, dropout)
  init, apply = functions(net, (num_patches, size), dtype, head=net.head)

  def tokens(value):
    return value.reshape(len(value), -1, size)

  def theta_of(raw, shape):
    value = head.theta(raw.reshape(*raw.shape[:-1], size, head.num_outputs), None)
    return jax.tree.map(lambda leaf: leaf.reshape(shape), value)

  def theta(params, x, cond=None, key=None):
    del cond
    # Patch n sees patch n - 1 and those before it.
    before = jnp.pad(tokens(x), ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return theta_of(apply(params, before, key)[0], x.shape)

  def cached(elementwise_z_to_x: Callable[[Array, Any], Array]) -> ZToX:

    def z_to_x(params, z, cond=None):
      del cond

      def one(n, carry):
        x, kv_cache, before = carry
        raw, kv_cache = net.apply({'params': params}, before, None, kv_cache, n)
        z_patch = jax.lax.dynamic_slice_in_dim(tokens(z), n, 1, axis=1)
        new = elementwise_z_to_x(z_patch, theta_of(raw, z_patch.shape))
        return jax.lax.dynamic_update_slice_in_dim(x, new, n, axis=1), kv_cache, new

      kv_cache = jnp.zeros((num_layers, 2, len(z), num_patches, width))
      start = tokens(jnp.zeros_like(z)), kv_cache, jnp.zeros((len(z), 1, size))
      return jax.lax.fori_loop(0, num_patches, one, start)[0].reshape(z.shape)

    return z_to_x

  return init, theta, cached
