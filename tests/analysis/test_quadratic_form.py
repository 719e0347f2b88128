"""P(quadratic form > 0) against distributions that scipy knows, Imhof's integral by quadrature, and Monte Carlo."""
import math

import numpy as np
import pytest
from scipy import integrate, stats

from inverse_matching.analysis import probability_positive
from inverse_matching.errors import InputError


@pytest.mark.parametrize('ratio', [1e-16, 1e-8, 1e-3, 0.3, 1.0, 7.0, 1e8, 1e16])
def test_two_terms_have_a_closed_form(ratio):
  """P(a e_1^2 > b e_2^2) = (2/pi) atan sqrt(a/b)."""
  assert probability_positive([ratio, -1.0]) == pytest.approx(2 / math.pi * math.atan(math.sqrt(ratio)), rel=1e-9)


@pytest.mark.parametrize('positive,negative,weight', [
    (3, 5, 2.0), (1, 1, 1e8), (2, 3, 1e-8), (100, 50, 3.0), (1, 4095, 1e-3), (4095, 1, 1e3), (2000, 2096, 1.0),
    (6, 20, 40.0)])
def test_two_groups_follow_the_f_distribution(positive, negative, weight):
  expected = stats.f.sf(weight * negative / positive, positive, negative)
  found = probability_positive(np.r_[np.ones(positive), -weight * np.ones(negative)])
  assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_small_probabilities_keep_their_relative_accuracy():
  expected = stats.f.sf(4 * 200 / 40, 40, 200)
  assert expected < 1e-30
  assert probability_positive(np.r_[np.ones(40), -4 * np.ones(200)]) == pytest.approx(expected, rel=1e-6)


def test_small_terms_that_sum_up_against_one_large_term():
  """The hard case of Imhof's integral: thousands of oscillations before it falls."""
  expected = stats.f.sf(1 / (4095 * 1e-5), 4095, 1)
  assert probability_positive(np.r_[np.full(4095, 1e-5), -1.0]) == pytest.approx(expected, rel=1e-6)


def test_equals_imhofs_integral_by_adaptive_quadrature():
  rho = np.array([0.9, 0.5, 0.1, -0.2, -1.5, -3.0])

  def integrand(u):
    theta = 0.5 * np.sum(np.arctan(rho * u))
    return np.sin(theta) / (u * np.prod(1 + (rho * u) ** 2) ** 0.25)

  expected = 0.5 + integrate.quad(integrand, 0, np.inf, limit=500, epsabs=1e-10)[0] / np.pi
  assert probability_positive(rho) == pytest.approx(expected, abs=1e-8)


def test_log_spread_of_16_orders_against_monte_carlo():
  rng = np.random.default_rng(0)
  a = np.geomspace(1e-8, 1e8, 40) * np.where(np.arange(40) % 3 == 0, 1, -1)
  draws = rng.standard_normal((200_000, 40)) ** 2 @ a > 0
  assert probability_positive(a) == pytest.approx(np.mean(draws), abs=5 * 0.5 / math.sqrt(len(draws)))


def test_4096_terms_of_any_spread_are_a_probability_and_complement():
  a = np.geomspace(1e-8, 1e8, 4096) * np.where(np.random.default_rng(1).uniform(size=4096) < 0.5, 1, -1)
  p, q = probability_positive(a), probability_positive(-a)
  assert 0 < p < 1 and p + q == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize('quadratic,expected', [([1.0, 2.0], 1), ([-1.0, -1e-8], 0), ([0.0, 3.0], 1), ([0.0, -3.0], 0),
                                                ([0.0], 0)])
def test_one_sign_is_certain_and_zeros_do_not_count(quadratic, expected):
  assert probability_positive(quadratic) == expected


def test_zeros_are_dropped_among_others():
  assert probability_positive([0.3, 0.0, -2.0, 0.0]) == probability_positive([0.3, -2.0])


@pytest.mark.parametrize('quadratic,linear,constant,expected', [
    (0.0, 1.0, -1.0, stats.norm.sf(1)),
    (-1.0, 2.0, 0.0, stats.norm.cdf(2) - 0.5),  # 0 < e < 2
    (1.0, 2.0, -3.0, stats.norm.sf(1) + stats.norm.cdf(-3)),  # (e + 1)^2 > 4
    (1.0, 0.0, -4.0, 2 * stats.norm.sf(2)),
    (-1.0, 0.0, 4.0, 1 - 2 * stats.norm.sf(2)),
    (1.0, 2.0, 1.0, 1.0),  # (e + 1)^2 > 0
    (-1.0, 2.0, -1.0, 0.0),
    (1e-12, 1.0, 0.0, 0.5),
    (-1e-3, 1.0, -5.0, stats.norm.cdf(994.98743) - stats.norm.cdf(5.0252532)),  # between the roots 500 +- sqrt(245000)
])
def test_one_term_with_linear_part(quadratic, linear, constant, expected):
  assert probability_positive([quadratic], [linear], constant) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_noncentral_groups_follow_the_noncentral_f_distribution():
  """sum (e_i + 0.7)^2 > 2 sum f_j^2."""
  expected = stats.ncf.sf(2 * 6 / 4, 4, 6, 4 * 0.49)
  found = probability_positive(np.r_[np.ones(4), -2 * np.ones(6)], np.r_[np.full(4, 1.4), np.zeros(6)], 4 * 0.49)
  assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('quadratic', [[], [1.0, math.nan], [math.inf]])
def test_refuses_what_is_no_quadratic_form(quadratic):
  with pytest.raises(InputError):
    probability_positive(quadratic)
