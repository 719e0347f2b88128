"""Matrix products to the precision of their numbers, on every device."""
import functools
from typing import Callable, TypeVar

import jax

F = TypeVar('F', bound=Callable)


def exact(function: F) -> F:
  """Returns the function with products and convolutions of float32 to float32, in its gradients too.

  Accelerators round their factors to TF32 or bfloat16 unless they are told otherwise, and T(T^-1(z)) would miss z in the third
  decimal. Products that ask for a precision of their own keep it, and those of bfloat16 numbers cost what they did.
  """

  @functools.wraps(function)
  def wrapped(*args, **settings):
    with jax.default_matmul_precision('highest'):
      return function(*args, **settings)

  return wrapped
