"""The examples that the README shows."""
import pathlib
import re

from flax import nnx
import jax
import numpy as np
import pytest

from configs import digits
from examples import nnx_teacher, table
from inverse_matching import random, runs, solvers, teachers
from inverse_matching.data import catalogue

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


def imported(name, weights, tmp_path, **settings):
  """The run of an example's teacher with these weights, on the digits."""
  np.savez(tmp_path / 'weights.npz', **weights)
  config = digits.get_config('smoke').to_dict()
  return runs.import_teacher({**config, 'teacher': {'name': name, **settings}}, tmp_path / 'weights.npz')


def test_a_flow_that_flowjax_has_trained(tmp_path):
  """Has the same density here."""
  pytest.importorskip('flowjax')
  from examples import flowjax_teacher
  flow = jax.tree.map(lambda leaf: leaf + 0.01 if hasattr(leaf, 'dtype') and leaf.dtype == np.float32 else leaf,
                      flowjax_teacher.make_flow(jax.random.key(5), 64, flow_layers=1, nn_width=8))
  run = imported('examples.flowjax_teacher:teacher', flowjax_teacher.weights(flow), tmp_path, flow_layers=1, nn_width=8)
  x = random.normal(random.keys_at(0, np.arange(3, dtype=np.uint32)), (8, 8, 1))
  np.testing.assert_allclose(run.teacher.log_prob(run.params, x), jax.vmap(flow.log_prob)(x.reshape(3, 64)), rtol=1e-4)


def test_a_network_of_nnx(tmp_path):
  """Is causal, and with the weights of another one of its kind it computes the same."""
  network = nnx_teacher.Network(4, nnx.Rngs(7))
  run = imported('examples.nnx_teacher:teacher', nnx_teacher.weights(network), tmp_path, width=4)
  x = random.normal(random.keys_at(0, np.arange(3, dtype=np.uint32)), (8, 8, 1))
  theta = run.teacher.conditional(run.params, x)
  np.testing.assert_allclose(theta.mean.reshape(3, 64), network(x.reshape(3, 64))[..., 0], rtol=1e-4, atol=1e-5)
  teachers.check(run.teacher, run.teacher.init(jax.random.key(0)))


@pytest.mark.slow
def test_the_table(tmp_path):
  """MADEs are nearer to unseen rows than a Gaussian of full covariance, which is that of the training rows in closed form, and
  the student is near its teacher."""
  found = table.main(tmp_path)
  data = catalogue.load({'name': 'arrays', 'path': tmp_path / 'rows.npy'})
  train, unseen = (data.space.codec.to_data(part) * 1.0 for part in (data.data.train, data.data.held_out))
  scale = train.std(0)
  covariance = np.cov((train / scale).T)
  offset = (unseen - train.mean(0)) / scale
  squares = np.einsum('ni,ij,nj->n', offset, np.linalg.inv(covariance), offset)
  nats = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
  gaussian = np.mean(nats) - np.sum(np.log(scale))
  np.testing.assert_allclose(found['Gaussian of full covariance'], gaussian, atol=0.05)
  assert min(found['MADE, Gaussians'], found['MADE, mixtures of 5 logistics']) > gaussian + 1
  assert found['distance of the student'] < 0.2


@pytest.mark.parametrize('page,example', [('README.md', 'own_teacher.py'), ('docs/data.md', 'own_data.py')])
def test_pages_show_the_examples_as_they_are(page, example):
  blocks = re.findall(r'```python\n(.*?)```', (ROOT / page).read_text(), re.S)
  source = (ROOT / 'examples' / example).read_text()
  assert any(block.strip() in source for block in blocks)
