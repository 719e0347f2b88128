"""bfloat16 inside the networks that train: it reaches every layer, stops at the head, and changes little."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses, random, students, teachers
from inverse_matching.errors import InputError
from inverse_matching.nets import precision
from inverse_matching.types import Batch

SETTINGS = {name: settings for name, settings in {**constructors.TINY_TEACHERS, **constructors.TINY_STUDENTS}.items()
            if name not in ('gaussian', 'linear')}  # which are no networks
PRODUCTS = ('dot_general', 'conv_general_dilated')
# Products in float32: one for each flow, block or step, and of `made` the one from its input too.
HEADS = {'samplernn': 1, 'wavenet': 2, 'transformer': 2, 'made': 2, 'few_step': 2}


def network(name, dtype):
  """(function (params, input), params, input [B, *event]) of a registered teacher's log_prob or student's output."""
  event = constructors.EVENTS.get(name, (4, 4, 1))
  settings = {**SETTINGS[name], **({'dropout': 0.0} if 'dropout' in SETTINGS[name] else {})}
  x = random.normal(random.keys_at(0, jnp.arange(8, dtype=jnp.uint32)), event)
  if name in teachers.TEACHERS:
    model = teachers.make(name, event, dtype=dtype, **settings)
    function = lambda params, x: jnp.mean(model.log_prob(params, x))
  else:
    model = students.make(name, event, dtype=dtype, **settings)
    function = lambda params, x: jnp.mean(jnp.sin(model.z_to_x(params, x).x))
  params = constructors.random_params(model.init, 0.7)
  return function, params, x


def products(jaxpr):
  """The types of the operands of every product in a jaxpr."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name in PRODUCTS:
      yield tuple(str(v.aval.dtype) for v in eqn.invars)
    for value in eqn.params.values():
      for inner in value if isinstance(value, (tuple, list)) else [value]:
        if hasattr(inner, 'eqns'):
          yield from products(inner)
        elif hasattr(inner, 'jaxpr'):
          yield from products(inner.jaxpr)


@pytest.mark.parametrize('name', SETTINGS)
def test_it_reaches_every_layer_and_stops_at_the_head(name):
  """All products are of bfloat16 but those of the heads; without a dtype, and with float32, none is."""
  found = list(products(jax.make_jaxpr(network(name, 'bfloat16')[0])(*network(name, 'bfloat16')[1:]).jaxpr))
  lower, full = (found.count((dtype,) * 2) for dtype in ('bfloat16', 'float32'))
  assert lower + full == len(found), 'a product of mixed types'
  assert lower > full == HEADS.get(name, 1)
  for dtype in (None, 'float32'):
    function, *args = network(name, dtype)
    assert set(products(jax.make_jaxpr(function)(*args).jaxpr)) == {('float32', 'float32')}


@pytest.mark.parametrize('name', [name if name == 'resnet' else pytest.param(name, marks=pytest.mark.slow)
                                  for name in SETTINGS])
def test_gradients(name):
  """Of the parameters, in float32, and those of float32 up to a few roundings of bfloat16."""
  function, params, x = network(name, None)
  value, expected = jax.jit(jax.value_and_grad(function))(params, x)
  lower_value, got = jax.jit(jax.value_and_grad(network(name, 'bfloat16')[0]))(params, x)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(got))
  norm = lambda tree: float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))
  error = norm(jax.tree.map(jnp.subtract, got, expected)) / norm(expected)
  assert 1e-5 < error < 0.04
  np.testing.assert_allclose(lower_value, value, rtol=0.02, atol=0.02)


def test_the_frozen_teacher_is_float32():
  """In the step of a student in bfloat16, z = T(x) is what it is elsewhere: only the student is rounded."""
  event, settings = (4, 4, 1), dict(num_blocks=1, num_filters=4, num_levels=1)
  teacher = teachers.make('pixelcnn', event, **settings)
  keys = random.keys_at(0, jnp.arange(4, dtype=jnp.uint32))
  batch, teacher_params = Batch(x=random.normal(keys, event), key=keys), teacher.init(jax.random.key(0))
  student = students.make('flow', event, dtype='bfloat16', **settings)
  seen = []

  def z_to_x(params, z, cond=None, key=None):
    seen.append(z)
    return student.z_to_x(params, z, cond, key)

  def step(params):
    losses.make('x_reconstruction', teacher, student._replace(z_to_x=z_to_x))(params, teacher_params, batch)
    return seen[0]

  z = jax.jit(step)(student.init(jax.random.key(1)))
  expected = jax.jit(teacher.x_to_z)(teacher_params, batch.x)[0]
  np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)  # bfloat16 would be 1e-3 away


def test_cast():
  """All but the head; None leaves the tree alone; another dtype is refused."""
  params = {'head': jnp.ones(2), 'body': {'kernel': jnp.ones(2)}}
  cast = precision.cast(params, 'bfloat16', 'head')
  assert cast['head'].dtype == jnp.float32 and cast['body']['kernel'].dtype == jnp.bfloat16
  assert precision.cast(params, None) is params
  with pytest.raises(InputError, match="dtype is 'float16': take float32 or bfloat16"):
    precision.cast(params, 'float16')
