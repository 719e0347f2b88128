"""The examples that the README shows."""
import pathlib
import re

import jax
import numpy as np

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


def test_the_readme_shows_the_example_as_it_is():
  blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S)
  source = (ROOT / 'examples' / 'own_teacher.py').read_text()
  assert any(block.strip() in source for block in blocks)
