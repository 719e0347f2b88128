"""Orders and chains."""
import constructors
import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import random
from inverse_matching.elementwise import gaussian, priors
from inverse_matching.errors import InputError
from inverse_matching.teachers import build, orders
from inverse_matching.types import Gaussian, sum_event

KEYS = random.keys_at(0, np.arange(8, dtype=np.uint32))


@hypothesis.given(strategies.permutations(range(6)))
def test_permute(order):
  """`to` puts dimension order[k] at place k, `back` undoes it, with and without trailing parameters."""
  to, back = orders.permute(order)
  x = np.arange(12.0).reshape(2, 2, 3)
  np.testing.assert_array_equal(to(x).reshape(2, 6), x.reshape(2, 6)[:, order])
  np.testing.assert_array_equal(back(to(x)), x)
  raw = np.arange(24.0).reshape(2, 2, 3, 2)
  np.testing.assert_array_equal(to(raw)[..., 1].reshape(2, 6), raw[..., 1].reshape(2, 6)[:, order])


def test_order_is_the_permuted_raster_teacher():
  """T with an order = permutation back . T . permutation."""
  case = constructors.teacher_case('dense_reversed')
  plain = constructors.dense_teacher((6,))
  to, back = orders.permute(case.order)
  z, log_det = plain.x_to_z(case.params, to(case.events))
  got = constructors.encode('dense_reversed')(case.params, case.events)
  np.testing.assert_allclose(got[0], back(z), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(got[1], log_det, rtol=1e-5)


@pytest.mark.parametrize('order', [(0, 1), (0, 1, 1), (1, 2, 3)])
def test_order_must_be_a_permutation(order):
  """One sentence, when the teacher is built."""
  with pytest.raises(InputError, match=r'permutation of 0\.\.2'):
    constructors.dense_teacher((3,), order=order)


def test_chain_applies_blocks_in_turn():
  """x_to_z of the chain is that of its blocks one after the other; log-determinants add."""
  case = constructors.teacher_case('chain')
  first, second = case.model.blocks
  middle, one = first.x_to_z(case.params[0], case.events)
  z, two = second.x_to_z(case.params[1], middle)
  got = constructors.encode('chain')(case.params, case.events)
  np.testing.assert_allclose(got[0], z, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(got[1], one + two, rtol=1e-5)


def test_chain_refuses_other_shapes_and_nothing():
  """One sentence with the shapes."""
  with pytest.raises(InputError, match=r'\(3,\), \(4,\)'):
    build.chain([constructors.dense_teacher((3,)), constructors.dense_teacher((4,))])
  with pytest.raises(InputError, match='one or more'):
    build.chain([])


def test_a_chain_drops_other_units_in_each_block():
  """Keys reach the blocks, and differ: two shifts of one law add up to twice its variance, not to four times."""

  def shifted(params, x, cond=None, key=None):
    shift = 0.0 if key is None else random.normal(random.stream(key, 'dropout'), (3,))
    return Gaussian(jnp.zeros_like(x) + shift, jnp.zeros_like(x))

  block = build.autoregressive((3,), lambda key: (), shifted)
  fixed = build.from_transform((3,), block.prior, lambda key: (), lambda params, x, cond: (2 * x, jnp.full(len(x), 3.0)))
  chained = build.chain([block, block, fixed])
  x = jnp.zeros((4000, 3))
  keys = random.keys_at(0, np.arange(4000, dtype=np.uint32))
  still, noisy = chained.log_prob(((), (), ()), x), chained.log_prob(((), (), ()), x, None, keys)
  np.testing.assert_allclose(still, sum_event(chained.prior.log_density(x)) + 3, rtol=1e-6)
  np.testing.assert_allclose(np.mean(still - noisy), 0.5 * 2**2 * 3 * 2, rtol=0.1)  # of a standard error of 0.013


def test_only_the_first_of_a_chain_may_be_discrete():
  """It sees whole numbers, the others what it makes of them."""
  discrete, plain = constructors.mapped_teacher((3,), 'categorical', levels=4), constructors.dense_teacher((3,))
  assert build.chain([discrete, plain]).levels == 4
  with pytest.raises(InputError, match='discrete data can only be the first of a chain'):
    build.chain([plain, discrete])


def test_chain_with_a_block_that_has_no_inverse():
  """The chain then has none either, and says so when sampled."""
  one_way = build.from_transform((3,), priors.standard_normal((3,)), lambda key: (),
                                 lambda params, x, cond: (x, jnp.zeros(len(x))))
  chained = build.chain([constructors.dense_teacher((3,)), one_way])
  assert one_way.z_to_x is None and chained.z_to_x is None
  for model in (one_way, chained):
    with pytest.raises(InputError, match='no z_to_x'):
      model.sample(None, KEYS)


def test_head_without_inverse():
  """An autoregressive teacher whose elementwise map has no inverse has a likelihood but no solver."""
  one_way = gaussian._replace(z_to_x=None, differentiable=False)
  teacher = build.autoregressive((3,), constructors.dense_params((3,)), constructors.dense_conditional((3,)),
                                 elementwise=one_way)
  assert teacher.z_to_x is None and teacher.sweep is None and not teacher.differentiable
  assert not build.chain([teacher, constructors.dense_teacher((3,))]).differentiable
  with pytest.raises(InputError, match='cannot be inverted'):
    teacher.sample(teacher.init(jax.random.key(0)), KEYS)
