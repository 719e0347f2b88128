"""Objectives called from a program of one's own: what is wrong is told in a sentence."""
import jax
import pytest

from inverse_matching import losses, students, teachers
from inverse_matching.errors import InputError
from inverse_matching.types import Batch

EVENT = (3,)
TEACHER, STUDENT = teachers.gaussian(EVENT), students.linear(EVENT)
PARAMS, STUDENT_PARAMS = TEACHER.init(jax.random.key(0)), STUDENT.init(jax.random.key(1))
X = jax.random.normal(jax.random.key(2), (4, *EVENT))


@pytest.mark.parametrize('name,settings', [('x_reconstruction', {'noise_std': 0.5}), ('reverse_kl', {}), ('energy_score', {})])
def test_no_key(name, settings):
  """What draws noise needs one for each example."""
  loss = losses.make(name, TEACHER, STUDENT, **settings)
  for key in (None, jax.random.key(0)):
    with pytest.raises(InputError, match='give a typed key for each example'):
      loss(STUDENT_PARAMS, PARAMS, Batch(x=X, key=key))


@pytest.mark.parametrize('name', ['x_reconstruction', 'energy_score'])
def test_no_x(name):
  loss = losses.make(name, TEACHER, STUDENT)
  with pytest.raises(InputError, match=f'{name} needs examples, and this batch has no x'):
    loss(STUDENT_PARAMS, PARAMS, Batch(z=X, key=jax.random.split(jax.random.key(0), 4)))


def test_what_is_given_in_the_place_of_another():
  with pytest.raises(InputError, match='A Student stands where the teacher should'):
    losses.make('reverse_kl', STUDENT, TEACHER)
  with pytest.raises(InputError, match='The loss is given as a function: give its name'):
    losses.make(losses.reverse_kl, TEACHER, STUDENT)


def test_a_key_where_several_are_needed():
  with pytest.raises(InputError, match='give a typed key for each example'):
    TEACHER.prior.sample(jax.random.key(0))
