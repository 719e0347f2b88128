"""The Gaussian elementwise map against float64, over ranges."""
import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.elementwise import gaussian
from inverse_matching.types import Gaussian

value = strategies.floats(-100, 100, width=32)
log_scale = strategies.floats(-7, 7, width=32)
EPS = float(np.finfo(np.float32).eps)


@hypothesis.given(value, value, log_scale)
def test_gaussian_matches_float64(x, mean, scale):
  """z and log |dz/dx| to a few units in the last place; z_to_x gives x back to the precision of x and mean."""
  theta = Gaussian(jnp.float32(mean), jnp.float32(scale))
  z, log_det = gaussian.x_to_z(jnp.float32(x), theta)
  exact = (x - mean) * np.exp(-scale)
  np.testing.assert_allclose(z, exact, rtol=20 * EPS, atol=1e-37)
  assert float(log_det) == -scale
  back = gaussian.z_to_x(z, theta)
  np.testing.assert_allclose(back, x, rtol=0, atol=30 * EPS * (abs(x) + abs(mean) + 1e-30))


@hypothesis.given(value, value, log_scale)
def test_gaussian_log_det_is_its_derivative(x, mean, scale):
  """log_det = log |dz/dx| by autodiff."""
  theta = Gaussian(jnp.float32(mean), jnp.float32(scale))
  slope = jax.grad(lambda x: gaussian.x_to_z(x, theta)[0])(jnp.float32(x))
  np.testing.assert_allclose(np.log(slope), gaussian.x_to_z(jnp.float32(x), theta)[1], rtol=1e-5, atol=1e-6)


def test_split_reads_the_last_axis():
  """Raw network outputs [..., 2] become mean and log_scale."""
  raw = jnp.arange(12.0).reshape(2, 3, 2)
  theta = gaussian.split(raw)
  assert gaussian.num_params == raw.shape[-1]
  np.testing.assert_array_equal(theta.mean, raw[..., 0])
  np.testing.assert_array_equal(theta.log_scale, raw[..., 1])
