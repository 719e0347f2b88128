"""Students where the answer is known."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from inverse_matching import students
from inverse_matching.errors import InputError
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.resnet import ResNet


def test_linear_density():
  """log p(z) - log_det is the density of N(mean, R R^T) at the sample."""
  student = students.linear((3,))
  matrix = jax.random.normal(jax.random.key(0), (3, 3))
  params = {'mean': jnp.array([1.0, -2.0, 0.5]), 'matrix': matrix}
  z = jax.random.normal(jax.random.key(1), (10, 3))
  output = student.z_to_x(params, z)
  exact = np.asarray(matrix, np.float64)
  law = scipy.stats.multivariate_normal(params['mean'], exact @ exact.T)
  log_prob = scipy.stats.norm.logpdf(np.asarray(z, np.float64)).sum(-1) - output.log_det
  np.testing.assert_allclose(log_prob, law.logpdf(np.asarray(output.x, np.float64)), rtol=1e-4)


def test_linear_starts_at_scale_times_identity():
  """The documented start: it decides the outcome of reverse KL."""
  params = students.linear((3,), mean=0.5, scale=2.0).init(jax.random.key(0))
  np.testing.assert_array_equal(params['matrix'], 2 * np.eye(3))
  np.testing.assert_array_equal(params['mean'], np.full(3, 0.5))


@pytest.mark.parametrize('side,num_blocks,dilations,unseen', [
    (8, 2, (4, 4), 2160), (8, 3, (1, 2, 1), 0), (28, 8, (1, 2, 4), 0)])
def test_a_resnet_sees_all_of_the_image(side, num_blocks, dilations, unseen):
  """As its Jacobian has it; one that does not is refused, with the number of pairs that do not see each other."""
  net = ResNet(num_blocks, 2, dilations, 0.0, None, False)
  init, apply = functions(net, (side, side, 1), None, head=net.head)
  params = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), init(jax.random.key(0)))
  z = jax.random.normal(jax.random.key(1), (side, side, 1))
  if side == 8:
    jacobian = jax.jit(jax.jacrev(lambda z: apply(params, z[None], None)[0]))(z)
    assert np.sum(np.asarray(jacobian) == 0) == unseen
  make = functools.partial(students.resnet, (side, side, 1), num_blocks=num_blocks, num_filters=2, dilations=dilations)
  if not unseen:
    make()
    return
  with pytest.raises(InputError, match=f'{unseen} of {side**4} pairs of an output and an input'):
    make()
  make(bottleneck=3)  # through which everything is seen
