"""From oracle prediction to reverse KL."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses
from inverse_matching.errors import InputError
from inverse_matching.types import Batch

EVENT = (4,)
TEACHER, STUDENT = constructors.dense_teacher(EVENT), constructors.dense_flow(EVENT)
PARAMS = STUDENT.init(jax.random.key(1)), TEACHER.init(jax.random.key(0))
Z = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
BATCH = Batch(x=jax.jit(TEACHER.z_to_x)(PARAMS[1], Z), z=Z, key=jax.random.split(jax.random.key(2), 6))


def value_and_grad(loss, **fields):
  return jax.value_and_grad(lambda params: jnp.mean(loss(params, PARAMS[1], BATCH._replace(**fields))[0]))(PARAMS[0])


@pytest.mark.parametrize('estimator', ['total', 'path'])
@pytest.mark.parametrize('progress,share', [(0.0, 1.0), (0.5, 0.625), (1.0, 0.25)])
def test_the_share_of_oracle_prediction_falls_along_a_cosine(progress, share, estimator):
  """Value and gradient are those of the parts, at the start of oracle prediction alone."""
  mixed = value_and_grad(losses.make('mixture', TEACHER, STUDENT, alpha_end=0.25, estimator=estimator),
                         progress=jnp.full(6, progress))
  oracle = value_and_grad(losses.make('oracle_prediction', TEACHER, STUDENT))
  kl = value_and_grad(losses.make('reverse_kl', TEACHER, STUDENT, estimator=estimator))
  expected = jax.tree.map(lambda a, b: share * a + (1 - share) * b / 4, oracle, kl)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mixed, expected)


def test_both_parts_are_of_one_pass_of_the_student():
  """Forward and backward: beside reverse KL the distance costs next to nothing."""
  event = (40,)
  teacher, student = constructors.dense_teacher(event), constructors.dense_flow(event)
  shapes = jax.eval_shape(lambda key: (student.init(key), teacher.init(key)), jax.random.key(0))
  of = lambda *shape: jax.ShapeDtypeStruct(shape, np.float32)
  batch = Batch(x=of(6, 40), z=of(6, 40), progress=of(6), key=jax.eval_shape(lambda: jax.random.split(jax.random.key(2), 6)))

  def flops(name):
    loss = losses.make(name, teacher, student)
    gradient = jax.jit(jax.grad(lambda params, teacher_params, batch: jnp.mean(loss(params, teacher_params, batch)[0])))
    return gradient.lower(*shapes, batch).compile().cost_analysis()['flops']

  assert flops('mixture') < 1.1 * flops('reverse_kl')


def test_what_it_refuses():
  with pytest.raises(InputError, match='alpha_end must be between 0 and 1, got 1.5'):
    losses.make('mixture', TEACHER, STUDENT, alpha_end=1.5)
  loss = losses.make('mixture', TEACHER, STUDENT)
  with pytest.raises(InputError, match='needs Batch.progress'):
    loss(*PARAMS, BATCH)
  with pytest.raises(InputError, match='takes pairs'):
    loss(*PARAMS, BATCH._replace(x=None, progress=jnp.ones(6)))
