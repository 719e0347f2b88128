"""bfloat16 inside a network that is being trained: what is cast, and what is not."""
from typing import Any

import jax

from inverse_matching.errors import InputError

DTYPES = (None, 'float32', 'bfloat16')


def cast(tree: Any, dtype: str | None, *heads: str) -> Any:
  """Returns the arrays of a pytree in `dtype`, for a network to compute in; None leaves them as they are.

  Args:
    tree: inputs, or parameters, which stay float32 where they are kept: their gradient comes back so.
    dtype: None, 'float32' or 'bfloat16'.
    *heads: names of entries of a dict that are left as they are: the last layer.

  Raises:
    InputError: another dtype.
  """
  if dtype not in DTYPES:
    raise InputError(f'dtype is {dtype!r}: take float32 or bfloat16.')
  if dtype is None:
    return tree
  if heads:
    return {name: value if name in heads else cast(value, dtype) for name, value in tree.items()}
  return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
