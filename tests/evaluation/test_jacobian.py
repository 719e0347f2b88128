"""The rank of a student's Jacobian: linear students, and the bottleneck of a ResNet."""
import jax
import numpy as np
import pytest

from inverse_matching import random, students
from inverse_matching.evaluation import jacobian
from inverse_matching.students import linear

SHAPE = (4, 4, 1)


def draws(n, shape):
  return np.asarray(random.normal(random.keys_at(0, np.arange(n, dtype=np.uint32)), shape))


def test_singular_values_of_a_linear_student_are_those_of_its_matrix():
  matrix = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
  values = jacobian.singular_values(linear((5,)), {'mean': np.zeros(5, np.float32), 'matrix': matrix}, draws(3, (5,)))
  np.testing.assert_allclose(values, np.tile(np.linalg.svd(matrix, compute_uv=False), (3, 1)), rtol=1e-4)


def test_ranks_count_the_singular_values_that_are_not_small():
  values = np.array([[2.0, 1.0, 1e-7], [3.0, 1e-9, 0.0], [1.0, 0.5, 0.2]])
  assert jacobian.ranks(values).tolist() == [2, 1, 3]


@pytest.mark.parametrize('skip, low, high', [(False, 1, 3), (True, 12, 16)])
def test_a_bottleneck_bounds_the_rank_unless_a_skip_connection_goes_around_it(skip, low, high):
  """Section 4 of the paper, "Invertibility": hidden units fewer than the input compress the noise."""
  student = students.make('resnet', SHAPE, num_blocks=2, num_filters=8, dilations=(1,), bottleneck=3, bottleneck_skip=skip)
  rank = np.median(jacobian.ranks(jacobian.singular_values(student, student.init(jax.random.key(0)), draws(3, SHAPE))))
  assert low <= rank <= high


def test_every_output_of_the_resnet_sees_every_input():
  student = students.make('resnet', (5, 5, 2), num_blocks=2, num_filters=8, dilations=(1, 2))
  params = student.init(jax.random.key(0))
  z = draws(1, (5, 5, 2))
  dense = jax.jacfwd(lambda z: student.z_to_x(params, z).x)(z).reshape(50, 50)
  assert np.all(np.asarray(dense) != 0)
