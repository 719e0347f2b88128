"""The teacher with modes and the flow that learns it."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from inverse_matching.experiments.gaussian import mixture
from inverse_matching.types import sum_event


@pytest.mark.slow
def test_ring_is_the_mixture_and_its_z_is_standard_normal():
  teacher = mixture.ring(5, 3.0, 0.5)
  params = teacher.init(jax.random.key(0))
  x = teacher.sample(params, jax.random.split(jax.random.key(1), 4000))
  law = [stats.multivariate_normal(m, 0.25 * np.eye(2)) for m in np.asarray(params['mean'], np.float64)]
  expected = np.log(np.mean([component.pdf(np.asarray(x)) for component in law], axis=0))
  np.testing.assert_allclose(teacher.log_prob(params, x), expected, rtol=1e-3, atol=1e-3)
  z, log_det = teacher.x_to_z(params, x)
  assert all(stats.kstest(z[:, i], 'norm').pvalue > 1e-3 for i in range(2))
  np.testing.assert_allclose(sum_event(teacher.prior.log_density(z)) + log_det, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_ring_is_causal_and_its_log_det_that_of_autodiff():
  teacher = mixture.ring(3, 2.0, 0.7)
  params = teacher.init(jax.random.key(0))
  x = jnp.array([0.3, -0.8])
  jacobian = jax.jacfwd(lambda x: teacher.x_to_z(params, x[None])[0][0])(x)
  assert float(jacobian[0, 1]) == 0
  np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], teacher.x_to_z(params, x[None])[1][0], rtol=1e-4)


def test_ring_samples_every_mode_equally():
  teacher = mixture.ring(8, 4.0, 0.3)
  params = teacher.init(jax.random.key(0))
  x = np.asarray(teacher.sample(params, jax.random.split(jax.random.key(2), 8000)))
  counts = np.bincount(np.argmin(np.linalg.norm(x[:, None] - np.asarray(params['mean']), axis=-1), axis=1), minlength=8)
  assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.slow
def test_couplings_start_at_the_identity_and_know_their_log_det():
  student = mixture.couplings(4, 8)
  params = student.init(jax.random.key(0))
  z = jax.random.normal(jax.random.key(1), (6, 2))
  np.testing.assert_allclose(student.z_to_x(params, z).x, z)
  params = jax.tree.map(lambda leaf: leaf + 0.2 * jax.random.normal(jax.random.key(3), leaf.shape), params)
  jacobian = jax.vmap(jax.jacfwd(lambda z: student.z_to_x(params, z[None]).x[0]))(z)
  np.testing.assert_allclose(student.z_to_x(params, z).log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-3, atol=1e-4)
