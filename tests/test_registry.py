"""Things by name, and a user's own by import path."""
import constructors
import jax
import pytest

from inverse_matching import elementwise, losses, registry, students, teachers
from inverse_matching.data import catalogue
from inverse_matching.data.source import Source
from inverse_matching.errors import InputError
from inverse_matching.types import Elementwise


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


def test_a_factory_without_dtype_refuses_bfloat16():
  """One's own or registered, in one sentence; one that takes it gets it."""
  for make, name in ((students.make, 'constructors:dense_flow'), (teachers.make, 'constructors:dense_teacher')):
    make(name, (4,), scale=0.0)
    with pytest.raises(InputError, match=f"{name}' takes no dtype, so that it cannot be trained in bfloat16: set "
                       'config.train.precision=float32, or let the factory take it'):
      make(name, (4,), scale=0.0, dtype='bfloat16')
  with pytest.raises(AssertionError, match='bfloat16'):
    teachers.make('test_registry:with_dtype', (4,), dtype='bfloat16')


def with_dtype(event_shape, dtype=None):
  raise AssertionError(dtype)


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


CALLED = []


def unpromised(command=None):
  CALLED.append(command)


def no_source() -> Source:
  CALLED.append('no_source')


def no_map() -> 'Elementwise':
  CALLED.append('no_map')


def no_model(event_shape):
  CALLED.append(event_shape)


def no_loss(teacher, student):
  CALLED.append((teacher, student))


KINDS = {  # kind -> (makes one of that name, a factory that does not keep its promise, that promise, the type)
    'data set': (lambda name: catalogue.load({'name': name}), 'no_source', 'does not say that it returns a Source', 'Source'),
    'teacher': (lambda name: teachers.make(name, (2,)), 'no_model', r'a teacher begins with \(event_shape\)', 'Teacher'),
    'student': (lambda name: students.make(name, (2,)), 'no_model', r'a student begins with \(event_shape\)', 'Student'),
    'elementwise map': (elementwise.make, 'no_map', 'does not say that it returns a Elementwise', 'Elementwise'),
    'loss': (lambda name: losses.make(name, 'teacher', 'student'), 'no_loss', r'a loss begins with \(teacher, student\)',
             'Callable'),
}


@pytest.mark.parametrize('kind', KINDS)
def test_only_factories_of_the_kind_are_called(kind):
  """Any other function is not, of ours or of a library; what a factory returns is checked."""
  make, broken, promise, returns = KINDS[kind]
  CALLED.clear()
  for name in (f'{__name__}:unpromised', 'os:system', 'builtins:exec', 'shutil:rmtree'):
    with pytest.raises(InputError, match=promise):
      make(name)
  with pytest.raises(InputError, match='parameters can be seen|' + promise):
    make('builtins:print')
  for name in ('os:curdir', f'{__name__}:KINDS'):  # nothing that can be called
    with pytest.raises(InputError, match='is not a function'):
      make(name)
  assert not CALLED
  with pytest.raises(InputError, match=f'The {kind} .{__name__}:{broken}. returned a NoneType, not a {returns}'):
    make(f'{__name__}:{broken}')
  assert len(CALLED) == 1


def test_names_that_are_not_of_the_form_are_not_imported():
  """Relative ones, paths, and what has more than one colon are unknown names."""
  for name in ('.constructors:dense_teacher', 'tests/constructors:dense_teacher', 'constructors:dense:teacher', ':teacher'):
    with pytest.raises(InputError, match='Unknown teacher .* use one of'):
      teachers.make(name, (2,))


def test_nearest():
  """Only names that are near are offered."""
  assert registry.nearest('num_filter', ['num_filters', 'dropout']) == " (did you mean 'num_filters'?)"
  assert registry.nearest('zzz', ['num_filters', 'dropout']) == ''
