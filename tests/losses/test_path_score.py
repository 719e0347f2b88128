"""The score of a student at its own samples, and the objectives that are zero at S = T^-1."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses, students, teachers
from inverse_matching.losses import path_score
from inverse_matching.types import Batch

T = 4
TEACHER, STUDENT = teachers.gaussian((T,)), students.linear((T,))
PARAMS = TEACHER.init(jax.random.key(0))


@pytest.mark.parametrize('name', ['linear', 'dense_flow'])
def test_score_is_that_of_the_density(name):
  """v = grad_x log p_S(x): for a linear student in closed form, for a flow through its exact inverse Jacobian."""
  case = constructors.student_case(name)
  z = case.events
  v = np.asarray(path_score.student_score(case.model, case.params, z).x, np.float64)
  if name == 'linear':
    matrix = np.asarray(case.params['matrix'], np.float64)
    x = np.asarray(z, np.float64) @ matrix.T
    np.testing.assert_allclose(v, -np.linalg.solve(matrix @ matrix.T, x.T).T, rtol=1e-3, atol=1e-3)
    return
  log_density = lambda z: -0.5 * jnp.sum(z**2) - case.model.z_to_x(case.params, z[None]).log_det[0]
  for i in range(len(z)):
    jacobian = np.asarray(jax.jacfwd(lambda z: case.model.z_to_x(case.params, z[None]).x[0])(z[i]), np.float64)
    np.testing.assert_allclose(v[i], np.linalg.solve(jacobian.T, jax.grad(log_density)(z[i])), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name,settings', [('reverse_kl', {}), ('reverse_kl', {'estimator': 'path'}), ('z_reconstruction', {})])
def test_zero_at_the_inverse(name, settings):
  """S = T^-1: no loss for any example; and no gradient, except in the total derivative of the KL, which has variance."""
  loss = losses.make(name, TEACHER, STUDENT, **settings)
  batch = Batch(key=jax.random.split(jax.random.key(1), 32))
  value, _ = loss(PARAMS, PARAMS, batch)
  np.testing.assert_allclose(value, 0, atol=1e-3)
  norms = [float(jnp.linalg.norm(g)) for g in jax.tree.leaves(jax.grad(lambda p: loss(p, PARAMS, batch)[0].mean())(PARAMS))]
  if name == 'reverse_kl' and not settings:
    assert max(norms) > 1e-2
  else:
    assert max(norms) < 1e-3


def test_reverse_kl_has_a_closed_form():
  """Its mean is KL(N(m, S) || N(m', S')); both estimators have the same value and the same mean gradient."""
  params = {'mean': PARAMS['mean'] + 0.3, 'matrix': PARAMS['matrix'] @ (jnp.eye(T) + 0.2 * jnp.tri(T))}
  batch = Batch(key=jax.random.split(jax.random.key(2), 100_000))
  total, path = (losses.make('reverse_kl', TEACHER, STUDENT, estimator=e) for e in ('total', 'path'))
  value = np.asarray(jax.jit(total)(params, PARAMS, batch)[0], np.float64)
  r, s = (np.asarray(p['matrix'], np.float64) for p in (PARAMS, params))
  shift = np.linalg.solve(r, np.asarray(params['mean'] - PARAMS['mean'], np.float64))
  relative = np.linalg.solve(r, s)
  kl = 0.5 * (np.sum(relative**2) + shift @ shift - T) - np.linalg.slogdet(relative)[1]
  assert abs(value.mean() - kl) < 5 * value.std() / np.sqrt(len(value)) < 0.05 * kl
  grads = [jax.jit(jax.grad(lambda p, f=f: f(p, PARAMS, batch)[0].mean()))(params) for f in (total, path)]
  for a, b in zip(*map(jax.tree.leaves, grads)):
    np.testing.assert_allclose(a, b, atol=0.05 * float(jnp.abs(a).max()))
