"""Priors against scipy."""
import jax
import numpy as np
import pytest
import scipy.stats

from inverse_matching.elementwise import priors
from inverse_matching.errors import InputError


def test_log_densities():
  """Those of scipy in each dimension, of shapes with a time axis too."""
  z = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32) * 3
  for event_shape in ((2, 3), (None, 3)):
    log_density = priors.standard_normal(event_shape).log_density(z)
    np.testing.assert_allclose(log_density, scipy.stats.norm.logpdf(z.astype(np.float64)), rtol=1e-6)
    np.testing.assert_array_equal(priors.uniform(event_shape).log_density(z), scipy.stats.uniform.logpdf(z))
  with pytest.raises(InputError, match=r'z has shape \[5, 2, 3\], expected \[B, 6\]'):
    priors.standard_normal((6,)).log_density(z)


def test_samples_have_the_prior_law():
  """Kolmogorov-Smirnov against the density that log_density states; one key per example."""
  keys = jax.random.split(jax.random.key(0), 3000)
  for make, law in ((priors.standard_normal, scipy.stats.norm), (priors.uniform, scipy.stats.uniform)):
    z = np.asarray(make((3,)).sample(keys))
    assert z.shape == (3000, 3)
    assert scipy.stats.kstest(z.ravel(), law.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(z[5:6], make((3,)).sample(keys[5:6]))
