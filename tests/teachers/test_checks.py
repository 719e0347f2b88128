"""Teachers that cannot be: found before they are trained."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import elementwise, teachers
from inverse_matching.elementwise import gaussian, priors
from inverse_matching.errors import InputError
from inverse_matching.teachers import build
from inverse_matching.types import Gaussian


def check(teacher):
  """At the parameters of init."""
  teachers.check(teacher, teacher.init(jax.random.key(0)))


def leaky(event, writer, reader, order=None):
  """A linear teacher with one weight too many, in raster order of what its conditional sees; its weights start at zero."""
  size = int(np.prod(event))
  mask = np.tril(np.ones((size, size), np.float32), -1)
  mask[reader, writer] = 1

  def conditional(params, x, cond=None, key=None):
    mean = jnp.matmul(x.reshape(-1, size), (params * mask).T, precision='highest').reshape(x.shape)
    return Gaussian(mean, jnp.zeros_like(mean))

  return build.autoregressive(event, lambda key: jnp.zeros((size, size)), conditional, order=order)


@pytest.mark.parametrize('writer,reader,words', [
    (4, 4, r'theta at \[1, 1, 0\], number 4 in its order, reads x there'),
    (5, 1, r'theta at \[0, 1, 0\], number 1 in its order, reads x at \[1, 2, 0\] \(number 5\), which comes later'),
    (3, 2, r'theta at \[0, 2, 0\], number 2 in its order, reads x at \[1, 0, 0\] \(number 3\)')])
def test_which_output_reads_which_input(writer, reader, words):
  """Though all weights are zero at initialisation."""
  with pytest.raises(InputError, match=words):
    check(leaky((2, 3, 1), writer, reader))


def test_in_the_order_of_the_teacher():
  """Dimensions are named by their place in the event; a chain is as bad as its worst block."""
  wrong = leaky((5,), 3, 2, order=(4, 3, 2, 1, 0))
  with pytest.raises(InputError, match=r'theta at \[2\], number 2 in its order, reads x at \[1\] \(number 3\)'):
    check(build.chain([leaky((5,), 1, 3), wrong]))


def test_large_events_are_cut_at_random():
  """A leak of many dimensions is found and one of its pairs named."""
  size, shift = 300, 2

  def conditional(params, x, cond=None, key=None):
    return Gaussian(params * jnp.roll(x, -shift, axis=1), jnp.zeros_like(x))

  teacher = build.autoregressive((size,), lambda key: jnp.ones(()), conditional)
  with pytest.raises(InputError) as error:
    check(teacher)
  reader, read = (int(part.split(' ')[0].rstrip(',)')) for part in str(error.value).split('number ')[1:])
  assert read == reader + shift


def test_an_open_time_axis_is_tried_at_a_length_and_with_features():
  """Those that the teacher takes; a leak is found there too."""

  def teacher(shift):
    return build.autoregressive((None,), lambda key: jnp.ones(()), lambda params, x, cond=None, key=None: Gaussian(
        params * jnp.roll(x, shift, axis=1) * (jnp.arange(x.shape[1]) > 0) + jnp.repeat(cond['f'], 4, axis=1),
        jnp.zeros_like(x)))

  given = dict(length=12, cond={'f': jax.ShapeDtypeStruct((3,), jnp.float32)})
  teachers.check(teacher(1), jnp.ones(()), **given)
  with pytest.raises(InputError, match='theta at .* reads x at .* which comes later'):
    teachers.check(teacher(-1), jnp.ones(()), **given)


@pytest.mark.parametrize('name', ['dense_reversed', 'chain', 'gaussian', 'mixture', 'neural', 'discretized'])
def test_good_teachers_pass(name):
  """Those of the generic tests."""
  check(constructors.teacher_case(name).model)


def test_theta_that_does_not_fit():
  """Shapes are told before anything is computed."""
  flat = lambda params, x, cond=None, key=None: Gaussian(x.reshape(len(x), -1), x.reshape(len(x), -1))
  with pytest.raises(InputError, match=r'theta\.mean of the teacher has shape \[32, 6\] for x of \[32, 2, 3\]: it must begin'):
    check(build.autoregressive((2, 3), lambda key: (), flat))
  summed = lambda params, x, cond: (x, jnp.zeros_like(x))
  with pytest.raises(InputError, match=r'log_det of the teacher has shape \[32, 3\] .* must be \[32\]'):
    check(build.from_transform((3,), priors.standard_normal((3,)), lambda key: (), summed))
  with pytest.raises(InputError, match=r'A draw of the prior of the teacher has shape \[32, 2\]'):
    check(build.from_transform((3,), priors.standard_normal((2,)), lambda key: (), lambda p, x, c: (x, x[:, 0])))


def test_scales_that_are_not_finite():
  """Named, with the value."""
  conditional = lambda params, x, cond=None, key=None: Gaussian(jnp.zeros_like(x), jnp.full_like(x, jnp.nan))
  with pytest.raises(InputError, match=r'theta\.log_scale of the teacher is nan on a random x'):
    check(build.autoregressive((3,), lambda key: (), conditional))
  conditional = lambda params, x, cond=None, key=None: Gaussian(jnp.zeros_like(x), jnp.full_like(x, -200.0))
  with pytest.raises(InputError, match='z of the teacher is -?inf'):
    check(build.autoregressive((3,), lambda key: (), conditional))


def test_every_block_of_a_chain_is_tried():
  """Scales, shapes and priors of the second one too."""
  conditional = lambda params, x, cond=None, key=None: Gaussian(jnp.zeros_like(x), jnp.zeros_like(x) + params)
  make = lambda **settings: build.autoregressive((3,), lambda key: jnp.zeros(()), conditional, **settings)
  check(build.chain([make(), make()]))
  with pytest.raises(InputError, match=r'theta\.log_scale of the teacher is nan'):
    teachers.check(build.chain([make(), make()]), (jnp.zeros(()), jnp.full((), jnp.nan)))
  with pytest.raises(InputError, match='The prior of the teacher is not that of its map'):
    check(build.chain([make(), make(elementwise=gaussian._replace(prior=priors.uniform))]))
  short = build.from_transform((3,), priors.standard_normal((3,)), lambda key: (), lambda p, x, c: (x[:, :2], x[:, 0]))
  with pytest.raises(InputError, match=r'z of the teacher has shape \[32, 2\] for x of \[32, 3\]'):
    check(build.chain([make(), short]))


def test_a_prior_that_is_not_that_of_the_map():
  """Narrower than z, and wider."""
  conditional = lambda params, x, cond=None, key=None: Gaussian(jnp.zeros_like(x), jnp.zeros_like(x))
  logistic = elementwise.make('logistic', prior='uniform')
  narrow, wide = gaussian._replace(prior=priors.uniform), logistic._replace(prior=priors.standard_normal)
  for scalar_map, words in ((narrow, r'x_to_z gives z from -\d\S* to \d\S*, where'), (wide, 'z lies between 0 and 1 for any')):
    with pytest.raises(InputError, match='The prior of the teacher is not that of its map: .*' + words):
      check(build.autoregressive((3,), lambda key: (), conditional, elementwise=scalar_map))


def test_blind_spots():
  """None where each dimension reads all before; those of a conditional that reads the one before alone."""
  dense = constructors.dense_teacher((6,))
  assert teachers.blind_spots(dense, dense.init(jax.random.key(0))) == (0, 15)
  reversed_walk = build.autoregressive((6,), lambda key: jnp.ones(()), lambda params, x, cond=None, key=None: Gaussian(
      params * jnp.pad(x[:, :-1], ((0, 0), (1, 0))), jnp.zeros_like(x)), order='reversed')
  assert teachers.blind_spots(reversed_walk, jnp.ones(())) == (10, 15)


@pytest.mark.slow
@pytest.mark.parametrize('num_blocks,unseen', [(1, 8764), (3, 2548)])
def test_blind_spots_of_a_pixelcnn(num_blocks, unseen):
  """As many as the network of Salimans et al. (2017) has at 28x28."""
  teacher = teachers.make('pixelcnn', event_shape=(28, 28, 1), num_blocks=num_blocks, num_filters=4, num_levels=3)
  assert teachers.blind_spots(teacher, teacher.init(jax.random.key(0))) == (unseen, 784 * 783 // 2)


def test_what_a_conditional_must_be():
  """It takes four arguments, and returns theta of its map."""
  with pytest.raises(InputError, match=r'The conditional must take \(params, x, cond, key\), and it does not'):
    build.autoregressive((3,), lambda key: (), lambda params, x: x)
  with pytest.raises(InputError, match=r'x_to_z must take \(params, x, cond\)'):
    build.from_transform((3,), priors.standard_normal((3,)), lambda key: (), lambda params, x: (x, x[:, 0]))
  for theta, kind in ((lambda x: (x, x), 'a tuple'), (lambda x: jnp.stack([x, x], -1), 'an array')):
    conditional = lambda params, x, cond=None, key=None, theta=theta: theta(jnp.zeros_like(x))
    with pytest.raises(InputError, match=rf'returned {kind}: return Gaussian\(mean, log_scale\), each \[B, \*event\]'):
      check(build.autoregressive((3,), lambda key: (), conditional))


def test_one_key_for_all():
  """In the place of one for each example, typed or not."""
  teacher = constructors.teacher_case('dense').model
  for keys in (jax.random.key(0), 0, jnp.zeros((2,), jnp.uint32)):
    with pytest.raises(InputError, match='give a typed key for each example'):
      teacher.sample(constructors.teacher_case('dense').params, keys)
