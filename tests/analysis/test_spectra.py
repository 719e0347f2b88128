"""Random and controlled spectra."""
import numpy as np
import pytest
from scipy import integrate

from inverse_matching.analysis import spectra
from inverse_matching.errors import InputError


def test_wishart_eigenvalues_have_the_right_trace_and_follow_marchenko_pastur():
  values = spectra.wishart_eigenvalues(np.random.default_rng(0), 300, normalised=True)
  assert np.all(np.diff(values) >= 0) and np.mean(values) == pytest.approx(1, abs=0.02)
  for edge in (0.1, 1.0, 2.5):
    below = integrate.quad(lambda x: float(spectra.marchenko_pastur(x)), 0, edge)[0]
    assert np.mean(values < edge) == pytest.approx(below, abs=0.02)
  again = spectra.wishart_eigenvalues(np.random.default_rng(0), 300, normalised=False)
  np.testing.assert_allclose(again, 300 * values)


def test_marchenko_pastur_is_a_density_on_0_to_4():
  assert integrate.quad(lambda x: float(spectra.marchenko_pastur(x)), 0, 4)[0] == pytest.approx(1, abs=1e-6)
  np.testing.assert_array_equal(spectra.marchenko_pastur([-1.0, 0.0, 4.0, 9.0]), 0)


def test_smallest_eigenvalue_falls_as_one_over_t():
  rng = np.random.default_rng(1)
  smallest = np.array([spectra.wishart_eigenvalues(rng, 30, normalised=False)[0] for _ in range(400)]) * 30
  for x in (0.05, 0.3, 1.0):
    assert np.mean(smallest > x) == pytest.approx(float(spectra.smallest_eigenvalue_survival(x)), abs=5 * 0.5 / 20)


def test_log_spaced_has_a_constant_ratio():
  np.testing.assert_allclose(spectra.log_spaced(5, 0.01, 100.0), [0.01, 0.1, 1, 10, 100])


@pytest.mark.parametrize('call', [lambda: spectra.log_spaced(3, 0.0, 1.0), lambda: spectra.log_spaced(3, 2.0, 1.0),
                                  lambda: spectra.wishart_eigenvalues(np.random.default_rng(0), 0, normalised=True)])
def test_refuses_spectra_that_do_not_exist(call):
  with pytest.raises(InputError):
    call()
