"""Orders of generation."""
import constructors
import jax
import numpy as np
import pytest

from inverse_matching import students, teachers
from inverse_matching.errors import InputError
from inverse_matching.teachers import orders

SHAPE = (2, 3, 2)


def test_by_name():
  """By hand; the channels of a pixel stay together."""
  assert orders.make(None, SHAPE) is None and orders.make('raster', SHAPE) is None
  assert orders.make('columns', SHAPE) == (0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11)
  assert orders.make('reversed', SHAPE) == (10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1)
  order = orders.make('random', (8, 8, 1))
  assert sorted(order) == list(range(64)) and order == orders.make('random', (8, 8, 1)) != tuple(range(64))
  pairs = np.reshape(orders.make('random', SHAPE), (-1, 2))
  np.testing.assert_array_equal(pairs[:, 1], pairs[:, 0] + 1)


def test_of_ones_own():
  """A permutation is taken as it is; what is none is refused."""
  assert orders.make([1, 0, *range(2, 12)], SHAPE)[:3] == (1, 0, 2)
  with pytest.raises(InputError, match="Unknown order 'colums' .did you mean 'columns'"):
    orders.make('colums', SHAPE)
  for wrong in ([0, 1], [0] * 12):
    with pytest.raises(InputError, match=rf'a permutation of 0..11 for event shape \(2, 3, 2\), got {len(wrong)} entries'):
      orders.make(wrong, SHAPE)


def test_patches():
  """Each tile of the image once, row by row."""
  np.testing.assert_array_equal(orders.patches((2, 4, 1), 2), [[0, 1, 4, 5], [2, 3, 6, 7]])
  with pytest.raises(InputError, match='patch_size must divide images of 2x3, got 2'):
    orders.patches(SHAPE, 2)


def test_a_student_takes_the_order_of_its_teacher():
  """Both networks see the same: with the parameters of the teacher, its theta at x is that of the student at z = x."""
  network = dict(num_blocks=1, num_filters=4, num_levels=1, order='columns')
  teacher, student = teachers.make('pixelcnn', (2, 3, 1), **network), students.make('flow', (2, 3, 1), **network)
  params = constructors.random_params(teacher.init, 1.0)
  x = jax.random.normal(jax.random.key(1), (2, 2, 3, 1))
  theta = jax.jit(lambda x: (teacher.conditional(params, x), student.z_to_x(params, x).conditional))(x)
  jax.tree.map(np.testing.assert_array_equal, *theta)


def test_a_flow_of_ones_own_takes_an_order():
  """As a teacher of one's own does: its conditional sees the first dimension of the order first."""
  shape, order = (4,), (2, 0, 3, 1)
  conditional = constructors.dense_conditional(shape)
  params = constructors.dense_params(shape)(jax.random.key(0))
  student = students.flow(shape, constructors.dense_params(shape), conditional, order=order)
  z = jax.random.normal(jax.random.key(1), (1, 4))
  jacobian = jax.jacfwd(lambda z: student.z_to_x(params, z[None]).x[0])(z[0])[np.ix_(order, order)]
  assert np.all(np.triu(jacobian, 1) == 0) and np.all(np.abs(np.tril(jacobian)[np.tril_indices(4)]) > 1e-6)
