"""A student that cannot be trained is refused before it is, and those that can be are not."""
import constructors
import jax
import jax.numpy as jnp
import pytest

from inverse_matching import students
from inverse_matching.errors import InputError
from inverse_matching.types import Student, StudentOutput, check_params


def student(z_to_x, has_log_det=False):
  return Student((2, 2, 1), lambda key: jnp.ones(4), z_to_x, has_log_det)


def scaled(params, z):
  return z * params.reshape(2, 2, 1)


QUICK = ('dense_flow', 'linear', 'made', 'few_step')


@pytest.mark.parametrize('name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                  for name in constructors.STUDENTS])
def test_good_students_pass(name):
  """Those of the generic tests, with the parameters of init."""
  model = constructors.student_case(name).model
  students.check(model, model.init(jax.random.key(0)))


WRONG = {
    'an array': (lambda p, z, c, k: scaled(p, z), 'returned an array: return StudentOutput'),
    'one number for all pixels': (lambda p, z, c, k: StudentOutput(scaled(p, z).mean((1, 2, 3), keepdims=True)),
                                  r'made x of shape \[32, 1, 1, 1\] from z of \[32, 2, 2, 1\]'),
    'not a number': (lambda p, z, c, k: StudentOutput(jnp.log(scaled(p, z))), 'x of the student is nan for a random z'),
    'no gradient': (lambda p, z, c, k: StudentOutput(jax.lax.stop_gradient(scaled(p, z))),
                    'does not change with its parameters'),
    'no parameters': (lambda p, z, c, k: StudentOutput(2 * z), 'does not change with its parameters'),
}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_students(name):
  """Shape, numbers and gradient."""
  z_to_x, message = WRONG[name]
  with pytest.raises(InputError, match=message):
    students.check(student(z_to_x), jnp.ones(4))


@pytest.mark.parametrize('log_det,message', [
    (lambda z: None, 'has has_log_det=True, but log_det is None'),
    (lambda z: jnp.zeros(()), r'has has_log_det=True, but log_det is of shape \[\]'),
    (lambda z: jnp.full(len(z), jnp.inf), 'log_det of the student is inf'),
])
def test_a_log_det_that_is_promised(log_det, message):
  """Is there, for each example, and finite."""
  wrong = student(lambda p, z, c, k: StudentOutput(scaled(p, z), log_det(z)), has_log_det=True)
  with pytest.raises(InputError, match=message):
    students.check(wrong, jnp.ones(4))


@pytest.mark.parametrize('params,message', [
    ({'a': [jnp.ones(2), jnp.arange(2)]}, r"init returned params\['a'\]\[1\] of type int32, which cannot be trained"),
    ({'a': jnp.tanh}, r"init returned a \w+ as params\['a'\]: return a pytree of arrays alone"),
    ((jax.random.key(0),), r'init returned params\[0\] of type key'),
])
def test_parameters_that_cannot_be_trained(params, message):
  """Whole numbers, keys and functions among them."""
  with pytest.raises(InputError, match=message):
    check_params(params)
