"""Proposition 1, its extension to an offset, and the derivative that the signal estimates."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching.analysis import expansion, expansion_probability, expansion_probability_gaussians, kl_gaussians
from inverse_matching.errors import InputError


def _gaussians(num_dims, seed=0):
  rng = np.random.default_rng(seed)
  return rng.standard_normal(num_dims), *rng.standard_normal((2, num_dims, num_dims))


def _signal(offset, student, teacher, e):
  """(x - mu_T) . g_x [N] by autodiff of the log densities, x = mu_S + R_S e, mu_T = 0."""
  inverse = [np.linalg.inv(r @ r.T) for r in (student, teacher)]

  def log_ratio(x):
    return 0.5 * (x - offset) @ inverse[0] @ (x - offset) - 0.5 * x @ inverse[1] @ x

  with jax.enable_x64(True):
    x = jnp.asarray(offset + e @ student.T)
    return np.asarray(jnp.sum(x * jax.vmap(jax.grad(log_ratio))(x), axis=1))


@pytest.mark.parametrize('eigenvalues', [[0.5, 3.0], [1e-8, 1e8], [0.2, 1.5], [0.999, 1.001]])
def test_closed_form_in_two_dimensions(eigenvalues):
  rho = 1 - 1 / np.array(eigenvalues)
  expected = 2 / np.pi * np.arctan(np.sqrt(rho[1] / -rho[0]))
  assert expansion_probability(eigenvalues) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize('eigenvalues,expected', [([0.1, 0.9], 0), ([1.1, 9.0], 1), ([1.0, 1.0], 0), ([1.0, 2.0], 1),
                                                  ([0.5], 0)])
def test_one_sign_is_certain(eigenvalues, expected):
  assert expansion_probability(eigenvalues) == expected


def test_counts_directions_that_are_too_narrow_and_too_wide():
  """63 directions 10% too narrow in variance against one that is too wide, from certain to rare."""
  values = [expansion_probability(np.r_[np.full(63, 1.1), 1 / k]) for k in (1.01, 10, 100, 1e4)]
  assert values == sorted(values, reverse=True) and values[0] > 0.999 and values[-1] < 0.05


@pytest.mark.parametrize('num_dims', [1, 2, 5])
@pytest.mark.parametrize('scale', [0.0, 0.3])
def test_offset_against_monte_carlo_of_the_gradients(num_dims, scale):
  offset, student, teacher = _gaussians(num_dims, seed=num_dims)
  offset, student = scale * offset, 0.4 * student
  signal = _signal(offset, student, teacher, np.random.default_rng(9).standard_normal((100_000, num_dims)))
  found = expansion_probability_gaussians(offset, student @ student.T, teacher @ teacher.T)
  assert found == pytest.approx(np.mean(signal > 0), abs=5 * 0.5 / np.sqrt(len(signal)))


def test_whitening_does_not_change_the_event():
  offset, student, teacher = _gaussians(4)
  other = np.random.default_rng(3).standard_normal((4, 4))
  expected = expansion_probability_gaussians(offset, student @ student.T, teacher @ teacher.T)
  moved = expansion.expansion_probability_factors(other @ offset, other @ student, other @ teacher)
  assert moved == pytest.approx(expected, rel=1e-8)


def test_agrees_with_the_eigenvalues_when_centred():
  values = np.array([0.2, 0.7, 3.0, 10.0])
  student = np.diag([1.0, 2.0, 0.5, 3.0])
  found = expansion_probability_gaussians(np.zeros(4), student ** 2, student ** 2 * np.diag(values))
  assert found == pytest.approx(expansion_probability(values), rel=1e-10)


def test_mean_signal_is_minus_the_derivative_of_the_kl_in_log_scale():
  """E[(x - mu_T) . g_x] = T - tr(Sigma_T^-1 Sigma_S) - m^T Sigma_T^-1 m = -d KL / d log s of x -> mu_T + s (x - mu_T)."""
  offset, student, teacher = _gaussians(3, seed=4)
  precision = np.linalg.inv(teacher @ teacher.T)
  identity = 3 - np.trace(precision @ student @ student.T) - offset @ precision @ offset

  def kl(log_s):
    ratio = jnp.linalg.solve(teacher, jnp.exp(log_s) * jnp.column_stack([student, offset]))
    return 0.5 * jnp.sum(ratio ** 2) - 3 * log_s

  with jax.enable_x64(True):
    assert -float(jax.grad(kl)(jnp.zeros(()))) == pytest.approx(identity, rel=1e-10)
    step = 1e-5
    numeric = [kl_gaussians(np.exp(s) * offset, np.exp(s) * student, teacher) for s in (-step, step)]
  assert -(numeric[1] - numeric[0]) / (2 * step) == pytest.approx(identity, rel=1e-6)
  rho, a = expansion.relative(offset, student, teacher)
  assert np.sum(rho) + np.sum((rho - 1) * a ** 2) == pytest.approx(identity, rel=1e-9)
  signal = _signal(offset, student, teacher, np.random.default_rng(5).standard_normal((100_000, 3)))
  assert np.mean(signal) == pytest.approx(identity, abs=5 * np.std(signal) / np.sqrt(len(signal)))


@pytest.mark.parametrize('eigenvalues', [[], [1.0, 0.0], [-1.0], [np.nan], [[1.0, 2.0]]])
def test_refuses_bad_eigenvalues(eigenvalues):
  with pytest.raises(InputError, match='expansion_probability needs'):
    expansion_probability(eigenvalues)


@pytest.mark.parametrize('offset,student,teacher,message', [
    ([], np.eye(0), np.eye(0), 'T at least 1'),
    ([0, 0], np.eye(2), np.diag([1.0, -1.0]), 'teacher is not symmetric positive definite'),
    ([0, 0], np.array([[1.0, 0.5], [0.0, 1.0]]), np.eye(2), 'student is not symmetric positive definite'),
    ([0, 0], np.zeros((2, 2)), np.eye(2), 'student is not symmetric positive definite'),
    ([0, 0], np.eye(3), np.eye(2), 'student has shape'),
])
def test_refuses_bad_covariances(offset, student, teacher, message):
  with pytest.raises(InputError, match=message):
    expansion_probability_gaussians(offset, student, teacher)
