"""MADE: what few hidden units see."""
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import elementwise
from inverse_matching.nets import made

DIMS = 12


def test_few_units_reach_the_last_dimensions():
  """The direct connections are 0 at first: the last theta sees dimensions through hidden units alone, however few they are."""
  init, theta = made.conditional((DIMS,), elementwise.make('gaussian'), num_units=4, num_layers=2)
  params = init(jax.random.key(0))
  last = lambda x: jax.tree.leaves(theta(params, x[None]))[0][0, -1]
  seen = np.asarray(jax.grad(lambda x: jnp.sum(last(x)))(jnp.linspace(-1, 1, DIMS)))
  assert np.all(seen[:-1] != 0) and seen[-1] == 0
