"""The examples that the README shows."""
import pathlib
import re

import jax
import numpy as np
import pytest

from inverse_matching import random, solvers, teachers

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_own_teacher_is_causal_and_takes_only_the_fields_it_names():
  teacher = teachers.make('examples.own_teacher:teacher', (2, 3, 1), num_blocks=1, dropout=0.3)
  params = jax.tree.map(lambda a: a + 0.3, teacher.init(jax.random.key(0)))
  x = random.normal(random.keys_at(0, np.arange(2, dtype=np.uint32)), (2, 3, 1))
  jacobian = jax.jacfwd(lambda x: teacher.x_to_z(params, x[None])[0].reshape(-1))(x[0]).reshape(6, 6)
  np.testing.assert_array_equal(np.triu(jacobian, 1), 0)
  assert np.all(np.asarray(jacobian)[np.tril_indices(6)] != 0)
  z, _ = teacher.x_to_z(params, x)
  np.testing.assert_allclose(solvers.solve(teacher, params, z).x, x, atol=1e-5)


def test_a_flow_of_flowjax_is_a_teacher():
  """Its inverse and log-determinant are those of the contract, and its parameters are trained."""
  pytest.importorskip('flowjax')
  teacher = teachers.make('examples.flowjax_teacher:teacher', (2, 2, 1), flow_layers=2, nn_width=8)
  params = jax.tree.map(lambda a: a + 0.1, teacher.init(jax.random.key(1)))
  teachers.check(teacher, params)
  x = random.normal(random.keys_at(0, np.arange(3, dtype=np.uint32)), (2, 2, 1))
  (z, log_det), jacobian = jax.jit(lambda x: (teacher.x_to_z(params, x), jax.vmap(jax.jacfwd(
      lambda x: teacher.x_to_z(params, x[None])[0].reshape(-1)))(x).reshape(3, 4, 4)))(x)
  np.testing.assert_allclose(log_det, np.linalg.slogdet(np.asarray(jacobian, np.float64))[1], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(jax.jit(teacher.z_to_x)(params, z), x, atol=1e-4)
  assert np.abs(z - x).max() > 0.05
  gradient = jax.jit(jax.grad(lambda params: teacher.log_prob(params, x).sum()))(params)
  assert all(np.any(leaf != 0) for leaf in gradient) and all(isinstance(leaf, jax.Array) for leaf in params)


def test_the_readme_shows_the_example_as_it_is():
  blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S)
  source = (ROOT / 'examples' / 'own_teacher.py').read_text()
  assert any(block.strip() in source for block in blocks)
