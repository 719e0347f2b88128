"""Students where the answer is known."""
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from inverse_matching import students


def test_linear_density():
  """log p(z) - log_det is the density of N(mean, R R^T) at the sample."""
  student = students.linear(3)
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
  params = students.linear(3, mean=0.5, scale=2.0).init(jax.random.key(0))
  np.testing.assert_array_equal(params['matrix'], 2 * np.eye(3))
  np.testing.assert_array_equal(params['mean'], np.full(3, 0.5))
