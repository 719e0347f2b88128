"""Priors against scipy."""
import jax
import numpy as np
import scipy.stats

from inverse_matching.elementwise import priors


def test_standard_normal_log_prob():
  """The sum of scipy's log-densities over the event."""
  z = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32) * 3
  log_prob = priors.standard_normal((2, 3)).log_prob(z)
  np.testing.assert_allclose(log_prob, scipy.stats.norm.logpdf(z.astype(np.float64)).sum((1, 2)), rtol=1e-6)


def test_uniform_log_prob():
  """0 inside, -inf as soon as one dimension is outside."""
  z = np.array([[0.1, 0.9], [0.5, 1.5], [-0.1, 0.5]], np.float32)
  expected = scipy.stats.uniform.logpdf(z).sum(-1)
  np.testing.assert_array_equal(priors.uniform((2,)).log_prob(z), expected)
  assert expected.tolist() == [0, -np.inf, -np.inf]


def test_samples_have_the_prior_law():
  """Kolmogorov-Smirnov against the density that log_prob states; one key per example."""
  keys = jax.random.split(jax.random.key(0), 3000)
  for make, law in ((priors.standard_normal, scipy.stats.norm), (priors.uniform, scipy.stats.uniform)):
    z = np.asarray(make((3,)).sample(keys))
    assert z.shape == (3000, 3)
    assert scipy.stats.kstest(z.ravel(), law.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(z[5:6], make((3,)).sample(keys[5:6]))
