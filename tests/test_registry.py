"""Things by name, and a user's own by import path."""
import constructors
import jax
import pytest

from inverse_matching import registry, students, teachers
from inverse_matching.errors import InputError


def test_own_factory_by_import_path():
  """'package.module:factory' is called with the event shape and the settings."""
  teacher = teachers.make('constructors:dense_teacher', (2, 3), order=range(5, -1, -1))
  assert teacher.event_shape == (2, 3) and teacher.order == (5, 4, 3, 2, 1, 0)
  assert students.make('constructors:dense_flow', (4,)).event_shape == (4,)


@pytest.mark.parametrize('name,words', [
    ('pixelcn', ['pixelcn', "did you mean 'pixelcnn'?", 'package.module:factory']),
    ('no_such_package:factory', ['no_such_package', 'cannot be imported']),
    ('constructors:no_such_factory', ['no_such_factory', 'cannot be imported']),
])
def test_unknown_names_get_a_sentence(name, words):
  """The name given, and the nearest one or the reason."""
  with pytest.raises(InputError) as error:
    teachers.make(name, (4, 4, 1))
  for word in words:
    assert word in str(error.value)


def test_unknown_settings_get_a_sentence():
  """The setting that is not the factory's own is named."""
  with pytest.raises(InputError, match='config.teacher does not fit .pixelcnn.*num_filter'):
    teachers.make('pixelcnn', (4, 4, 1), num_filter=4)


def test_own_factory_gets_the_fields_that_it_names():
  """The config it is named in holds those of the default factory too: they are left out."""
  student = students.make('constructors:dense_flow', (4,), scale=0.0, num_filters=24)
  assert all(not leaf.any() for leaf in jax.tree.leaves(student.init(jax.random.key(0))))


def not_a_teacher(event_shape):
  return event_shape


def of_another_shape(event_shape):
  return constructors.dense_teacher((3,))


def with_settings_of_its_own(event_shape, num_layers=3, order=None):
  assert num_layers == 3
  return constructors.dense_teacher(event_shape, order=order)


def test_own_factories_that_return_something_else():
  """Told when they are called; None in a config is no value."""
  with pytest.raises(InputError, match="returned a tuple, not a Teacher: make one by"):
    teachers.make('test_registry:not_a_teacher', (2,))
  with pytest.raises(InputError, match=r'has event shape \(3,\), but the data \(2, 2, 1\)'):
    teachers.make('test_registry:of_another_shape', (2, 2, 1))
  assert teachers.make('test_registry:with_settings_of_its_own', (2,), num_layers=None, order=None, levels=None).order is None


def test_nearest():
  """Only names that are near are offered."""
  assert registry.nearest('num_filter', ['num_filters', 'dropout']) == " (did you mean 'num_filters'?)"
  assert registry.nearest('zzz', ['num_filters', 'dropout']) == ''
