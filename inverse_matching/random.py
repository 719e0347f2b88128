"""Per-example randomness: each purpose has its own stream of keys, folded from the example's key."""
import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError

# The numbers are part of every saved run: never reorder, only append.
_STREAMS = {'dequantise': 0, 'prior': 1, 'noise': 2, 'dropout': 3, 'time': 4}


def stream(keys: jax.Array, purpose: str) -> jax.Array:
  """Returns keys [B] for one purpose (a name in _STREAMS), independent of those for the others."""
  return fold(keys, _STREAMS[purpose])


def fold(keys: jax.Array, number: int | jax.Array) -> jax.Array:
  """Folds one number into each of keys [B]; InputError if they are none, as of a batch without a key."""
  check_keys(keys)
  return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def keys_at(seed: int | jax.Array, positions: jax.Array) -> jax.Array:
  """Returns typed keys [B], one for each position [B] (uint32) in the stream of a seed."""
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), positions)


def check_keys(keys: jax.Array) -> None:
  """Raises InputError unless these are typed keys [n], one for each example."""
  dtype = getattr(keys, 'dtype', None)
  if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) or keys.ndim != 1:
    given = f'a {type(keys).__name__}' if dtype is None else f'{dtype} of shape {list(keys.shape)}'
    raise InputError(f'keys is {given}: give a typed key for each example, as jax.random.split(jax.random.key(0), n) makes n '
                     'of them.')


def normal(keys: jax.Array, event_shape: tuple[int, ...]) -> jax.Array:
  """Returns standard normal draws [B, *event_shape], one key per example."""
  check_keys(keys)
  return jax.vmap(lambda key: jax.random.normal(key, event_shape))(keys)


def uniform(keys: jax.Array, event_shape: tuple[int, ...]) -> jax.Array:
  """Draws [B, *event_shape] uniform on the open interval (0, 1), one key per example."""
  tiny = jnp.finfo(jnp.float32).tiny
  return jax.vmap(lambda key: jax.random.uniform(key, event_shape, minval=tiny))(keys)
