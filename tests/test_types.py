"""The helpers beside the contract."""
import jax.numpy as jnp
import pytest

from inverse_matching import types
from inverse_matching.errors import InputError


def test_check_event_lets_any_length_through_where_the_shape_is_none():
  """None matches any length; all else must match."""
  types.check_event('x', jnp.zeros((2, 7, 3)), (None, 3))
  with pytest.raises(InputError, match=r'\[2, 7, 4\], expected \[B, T, 3\]'):
    types.check_event('x', jnp.zeros((2, 7, 4)), (None, 3))


def test_deterministic_keeps_the_key_from_the_model():
  """The key of a batch never reaches the model; all other arguments do."""
  seen = []
  student = types.Student((2,), None, lambda params, z, cond=None, key=None: seen.append((params, z, cond, key)), False)
  types.deterministic(student).z_to_x('params', 'z', 'cond', 'key')
  log_prob = lambda params, x, cond=None, key=None, mask=None: seen.append((params, x, cond, key, mask))
  teacher = types.Teacher((2,), None, None, None, None, log_prob, None, None)
  types.deterministic(teacher).log_prob('params', 'x', 'cond', 'key', 'mask')
  assert seen == [('params', 'z', 'cond', None), ('params', 'x', 'cond', None, 'mask')]
