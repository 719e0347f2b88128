"""The tables that the generic tests run over: adding a teacher or a student is adding a line.

Also plain-JAX models and factories that other tests use where a network is not the point.
"""
import functools
import math
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import elementwise, students, teachers
from inverse_matching.teachers import build
from inverse_matching.types import Elementwise, Gaussian, Student, Teacher

BATCH = 3
# The settings of each registered factory that make it tiny. test_contracts demands a line for every registered name.
TINY_TEACHERS = {'pixelcnn': dict(num_blocks=1, num_filters=4, num_levels=2, dropout=0.5),
                 'transformer': dict(num_blocks=2, num_layers=1, width=4, num_heads=2, patch_size=2, dropout=0.5),
                 'samplernn': dict(num_features=0, frame_sizes=(4, 2), width=6, initial_scale=1.0),
                 'made': dict(num_units=12, num_layers=3), 'gaussian': {}}
TINY_STUDENTS = {'flow': dict(num_blocks=1, num_filters=4, num_levels=2, dropout=0.5),
                 'resnet': dict(num_blocks=2, num_filters=4, dilations=(1, 2), dropout=0.5),
                 'few_step': dict(num_blocks=2, num_filters=4, dilations=(1, 2), dropout=0.5, num_steps=2),
                 'wavenet': dict(num_features=0, num_flows=2, num_layers=2, width=4, initial_scale=1.0),
                 'made': dict(num_units=12, num_layers=3), 'linear': {}}
WAVEFORM = (8,)
VECTOR = (5,)
# Of the factories that are not of images.
EVENTS = {'samplernn': WAVEFORM, 'wavenet': WAVEFORM, 'made': VECTOR, 'gaussian': VECTOR, 'linear': VECTOR}


def dense_params(event_shape, scale=1.0):
  """init of `dense_conditional`: weights of a dense layer, masked to be causal where they are used."""
  num_dims = math.prod(event_shape)

  def init(key):
    names = ('mean', 'log_scale')
    draws = {name: jax.random.normal(k, (num_dims + 1, num_dims)) for name, k in zip(names, jax.random.split(key))}
    return jax.tree.map(lambda a: scale * a / math.sqrt(num_dims), draws)

  return init


def dense_conditional(event_shape):
  """Gaussian(mean, log_scale), each a causal dense layer under tanh; cond [B] is added to the mean."""
  num_dims = math.prod(event_shape)
  mask = np.triu(np.ones((num_dims, num_dims), np.float32), 1)

  def conditional(params, x, cond=None, key=None):
    del key
    flat = x.reshape(x.shape[0], num_dims)
    layer = lambda w: jnp.tanh(jnp.matmul(flat, w[:-1] * mask, precision='highest') + w[-1])
    mean, log_scale = (layer(params[name]).reshape(x.shape) for name in ('mean', 'log_scale'))
    if cond is not None:
      mean = mean + cond.reshape(-1, *(1,) * len(event_shape))
    return Gaussian(2 * mean, 0.7 * log_scale)

  return conditional


def dense_teacher(event_shape, *, order=None, scale=2.0) -> Teacher:
  """An autoregressive teacher without a network; also 'constructors:dense_teacher' in a config."""
  return build.autoregressive(event_shape, dense_params(event_shape, scale), dense_conditional(event_shape), order=order)


def mapped_teacher(event_shape, name, *, scale=1.0, order=None, **settings) -> Teacher:
  """The same with the elementwise map of that name: raw outputs are causal dense layers under tanh."""
  scalar_map, num_dims = elementwise.make(name, **settings), math.prod(event_shape)
  mask = np.triu(np.ones((num_dims, num_dims), np.float32), 1)
  spread = 2 / (scalar_map.levels or 2)

  def init(key):
    return scale * jax.random.normal(key, (scalar_map.num_params, num_dims + 1, num_dims)) / math.sqrt(num_dims)

  def conditional(params, x, cond=None, key=None):
    del cond, key
    flat = x.reshape(x.shape[0], num_dims) * spread
    raw = jnp.einsum('bi,pij->bjp', flat, params[:, :-1] * mask, precision='highest') + params[:, -1].T
    return scalar_map.split(jnp.tanh(raw).reshape(*x.shape, -1))

  return build.autoregressive(event_shape, init, conditional, elementwise=scalar_map, order=order)


def own_map(num_units: int = 1) -> Elementwise:
  """'constructors:own_map' in a config."""
  assert num_units == 1
  return elementwise.gaussian


def categorical_teacher(event_shape, *, levels) -> Teacher:
  """'constructors:categorical_teacher' in a config."""
  return mapped_teacher(event_shape, 'categorical', levels=levels)


def fragile_teacher(event_shape, *, scale) -> Teacher:
  """One that is not finite any more once its parameters have grown to a norm of 4."""
  conditional = dense_conditional(event_shape)

  def fragile(params, x, cond=None, key=None):
    theta = conditional(params, x, cond, key)
    return theta._replace(mean=theta.mean + 0 * jnp.sqrt(16 - sum(jnp.sum(p**2) for p in jax.tree.leaves(params))))

  return build.autoregressive(event_shape, dense_params(event_shape, scale), fragile)


def leaky_teacher(event_shape) -> Teacher:
  """One whose conditional reads x_t itself."""
  return build.autoregressive(event_shape, lambda key: jnp.ones(()), lambda params, x, cond=None, key=None: Gaussian(
      params * x, jnp.zeros_like(x)))


def dense_flow(event_shape, *, scale=0.1) -> Student:
  """A flow student without a network; also 'constructors:dense_flow' in a config."""
  return students.flow(event_shape, dense_params(event_shape, scale), dense_conditional(event_shape))


def with_velocity(student):
  """The same with a velocity, for flow matching."""
  return student._replace(velocity=lambda params, x, t, cond=None, key=None: x * t.reshape(-1, *(1,) * (x.ndim - 1))
                          + 0 * sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)))


def random_params(init: Callable[[jax.Array], Any], gain: float, seed: int = 0):
  """Parameters drawn in numpy, larger than those of `init` so that conditionals are sharp, biases not zero."""
  rng = np.random.default_rng(seed)

  def draw(leaf):
    fan_in = math.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 10
    return jnp.asarray(rng.normal(size=leaf.shape) * gain / math.sqrt(fan_in), leaf.dtype)

  return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))


def num_params(init: Callable[[jax.Array], Any]) -> int:
  """The number of scalars in what init returns."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


class Case(NamedTuple):
  """A model with sharp parameters and a batch of events (x of a teacher, z of a student)."""
  model: Teacher | Student
  params: Any
  events: jax.Array  # [BATCH, *event]
  has_dropout: bool
  order: tuple[int, ...] | None  # None: not autoregressive


def _case(model, gain, has_dropout=False, autoregressive=True, params=None):
  num_dims = math.prod(model.event_shape)
  order = tuple(getattr(model, 'order', None) or range(num_dims)) if autoregressive else None
  if params is None:
    params = random_params(model.init, gain)
  events = jax.random.normal(jax.random.key(7), (BATCH, *model.event_shape))
  if getattr(model, 'levels', None) is not None:
    events = model.levels * jax.random.uniform(jax.random.key(7), events.shape, minval=0.01, maxval=0.99)
  return Case(model, params, events, has_dropout, order)


def _init(model):
  return model.init(jax.random.key(3))


def _pixelcnn(shape, num_levels, gain, **settings):
  tiny = {**TINY_TEACHERS['pixelcnn'], 'num_levels': num_levels}
  return _case(teachers.make('pixelcnn', shape, **tiny, **settings), gain, True)


def _transformer():
  return _case(teachers.make('transformer', (4, 4, 1), **TINY_TEACHERS['transformer']), 1.0, True, autoregressive=False)


def _dense(**settings):
  teacher = dense_teacher((6,), **settings)
  return _case(teacher, 1, params=_init(teacher))


def _mapped(name, **settings):
  teacher = mapped_teacher((4,), name, **settings)
  return _case(teacher, 1, params=_init(teacher))


def _chain():
  teacher = build.chain([dense_teacher((5,)), dense_teacher((5,), order=range(4, -1, -1))])
  return _case(teacher, 1, autoregressive=False, params=_init(teacher))


def _gaussian():
  teacher = teachers.gaussian((5,))
  return _case(teacher, 1, autoregressive=False, params=_init(teacher))


def _linear():
  student = students.linear((5,))
  params = {'mean': jnp.arange(5.0), 'matrix': jax.random.normal(jax.random.key(1), (5, 5))}
  return _case(student, 1, autoregressive=False, params=params)


TEACHERS: dict[str, Callable[[], Case]] = {
    'pixelcnn': lambda: _pixelcnn((4, 4, 1), 2, 1.1),
    'pixelcnn_3_channels': lambda: _pixelcnn((3, 2, 3), 1, 0.8),
    'pixelcnn_permuted': lambda: _pixelcnn((3, 3, 1), 1, 1.1, order=(4, 0, 8, 2, 1, 7, 5, 3, 6)),
    'pixelcnn_mixture': lambda: _pixelcnn((1, 2, 2), 1, 0.8, elementwise='mixture_of_logistics', num_mixtures=2),
    'transformer': _transformer,
    'logistic': lambda: _mapped('logistic'),
    'mixture': lambda: _mapped('mixture_of_logistics', num_mixtures=3),
    'neural': lambda: _mapped('neural', num_units=3, num_layers=2),
    'categorical': lambda: _mapped('categorical', levels=5),
    'discretized': lambda: _mapped('discretized_mixture_of_logistics', levels=9, num_mixtures=2, prior='uniform',
                                   order=(2, 0, 3, 1)),
    'samplernn': lambda: _case(teachers.make('samplernn', WAVEFORM, **TINY_TEACHERS['samplernn']), 1.0),
    'made': lambda: _case(teachers.make('made', VECTOR, **TINY_TEACHERS['made']), 1.0),
    'made_mixture': lambda: _case(teachers.make('made', (2, 2), **TINY_TEACHERS['made'], order=(2, 0, 3, 1), num_mixtures=3,
                                                elementwise='mixture_of_logistics'), 1.0),
    'dense': _dense,
    'dense_reversed': lambda: _dense(order=range(5, -1, -1)),
    'chain': _chain,
    'gaussian': _gaussian,
}
STUDENTS: dict[str, Callable[[], Case]] = {
    'flow': lambda: _case(students.make('flow', (4, 4, 1), **TINY_STUDENTS['flow']), 1.1, True),
    'flow_3_channels': lambda: _case(
        students.make('flow', (2, 2, 3), **{**TINY_STUDENTS['flow'], 'num_levels': 1}), 1.0, True),
    'resnet': lambda: _case(
        students.make('resnet', (4, 4, 1), **TINY_STUDENTS['resnet']), 1.0, True, autoregressive=False),
    'few_step': lambda: _case(
        students.make('few_step', (4, 4, 1), **TINY_STUDENTS['few_step']), 1.0, True, autoregressive=False),
    'wavenet': lambda: _case(students.make('wavenet', WAVEFORM, **TINY_STUDENTS['wavenet']), 1.3),
    'made': lambda: _case(students.make('made', VECTOR, **TINY_STUDENTS['made']), 1.0),
    'dense_flow': lambda: _case(dense_flow((6,)), 1, params=_init(dense_flow((6,), scale=2.0))),
    'linear': _linear,
}


@functools.cache
def teacher_case(name: str) -> Case:
  """The case of that name, made once in a session."""
  return TEACHERS[name]()


@functools.cache
def student_case(name: str) -> Case:
  """The case of that name, made once in a session."""
  return STUDENTS[name]()


@functools.cache
def encode(name: str):
  """Compiled (params, x, cond) -> (z, log_det, log_prob) of a teacher."""
  teacher = teacher_case(name).model
  return jax.jit(lambda params, x, cond=None: (*teacher.x_to_z(params, x, cond), teacher.log_prob(params, x, cond)))


@functools.cache
def decode(name: str):
  """Compiled z_to_x of a teacher."""
  return jax.jit(teacher_case(name).model.z_to_x)


@functools.cache
def noisy_log_prob(name: str):
  """Compiled log_prob of a teacher with dropout keys."""
  teacher = teacher_case(name).model
  return jax.jit(lambda params, x, key: teacher.log_prob(params, x, None, key))


@functools.cache
def generate(name: str):
  """Compiled z_to_x of a student: (params, z, key) -> StudentOutput."""
  student = student_case(name).model
  return jax.jit(lambda params, z, key=None: student.z_to_x(params, z, None, key))


def _jacobians(function, params, events):
  num_dims = math.prod(events.shape[1:])
  one = jax.jacfwd(lambda event, params: jax.tree.map(jnp.ravel, function(params, event[None])))
  values = jax.jit(jax.vmap(one, (0, None)))(events, params)
  return jax.tree.map(lambda v: np.asarray(v).reshape(len(events), num_dims, num_dims), values)


@functools.cache
def teacher_jacobians(name: str) -> dict[str, np.ndarray]:
  """d z / d x and, where there is a conditional, d theta / d x by field: [B, T, T], entry [b, output, input].

  Of several numbers in a field for each dimension, a weighted sum.
  """
  model, params, events, *_ = teacher_case(name)

  def one_each(leaf):
    flat = leaf.reshape(len(leaf), events[0].size, -1)
    return flat @ (1 + jnp.arange(flat.shape[-1]) / 7)

  def outputs(params, x):
    theta = {} if model.conditional is None else model.conditional(params, x)._asdict()
    return {'z': model.x_to_z(params, x)[0], **jax.tree.map(one_each, theta)}

  return _jacobians(outputs, params, events)


@functools.cache
def teacher_reads(name: str) -> np.ndarray:
  """Whether theta [output] of a discrete teacher changes with the level of x [input]: [T, T], from one event."""
  model, params, events, *_ = teacher_case(name)
  num_dims = events[0].size
  x = jnp.broadcast_to(events[0].reshape(-1), (num_dims, num_dims))
  moved = (x + jnp.eye(num_dims)) % model.levels
  theta = jax.jit(lambda x: model.conditional(params, x.reshape(num_dims, *model.event_shape)))
  changed = jax.tree.map(lambda a, b: (a != b).reshape(num_dims, num_dims, -1).any(-1), theta(x), theta(moved))
  return np.any(np.stack(jax.tree.leaves(changed)), axis=0).T


@functools.cache
def student_jacobians(name: str) -> np.ndarray:
  """d x / d z, [B, T, T], entry [b, output, input]."""
  model, params, events, *_ = student_case(name)
  return _jacobians(lambda params, z: model.z_to_x(params, z).x, params, events)


def relative_error(a, b) -> float:
  """Largest |a - b| over max(1, max |b|)."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return float(np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(b))))
