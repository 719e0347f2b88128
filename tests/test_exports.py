"""Every training step and every sampler is lowered for GPUs and TPUs, on a machine that has neither: lowered, not run.

The programs are those of the commands: what the code gives to `pmap` and `jit` is caught at the call and exported.
"""
import collections
import contextlib
import functools
import re
from unittest import mock

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import steps
from configs import digits, vocoder
from inverse_matching import losses, runs
from inverse_matching.nets import operations
from inverse_matching.recipes import images
from inverse_matching.runs import utterances
from inverse_matching.runtime import devices, processes

ACCELERATORS = ('cuda', 'tpu')
BATCH = 8
# What a program may ask its runtime for beside StableHLO.
TARGETS = {'Sharding', 'SPMDFullToShardShape', 'SPMDShardToFullShape'}
ARMS = [arm for arm in digits.get_config('smoke').arms]
SPEECH_ARMS = [arm for arm in vocoder.get_config('smoke').arms]
KINDS = [kind for kind in images.KINDS if kind != 'gaussian']
DISCRETE = ('categorical', 'discretized_mixture_of_logistics')


class Program:
  """What was exported for one platform."""

  def __init__(self, exported):
    text, self.num_devices = exported.mlir_module(), exported.nr_devices
    self.targets = set(re.findall(r'custom_call @(\w+)|call_target_name = "(\w+)"', text))
    self.targets = {name for pair in self.targets for name in pair if name}
    self.operations = collections.Counter(re.findall(r'\bstablehlo\.(\w+)', text))
    lines = [line for line in text.splitlines() if re.search(r'stablehlo\.(convolution|dot_general)', line)]
    self.rounded = [line for line in lines if 'bf16>' not in line and line.count('HIGHEST') < 2]

  @property
  def products(self):
    """The number of convolutions and matrix products."""
    return self.operations['convolution'] + self.operations['dot_general']


@contextlib.contextmanager
def exporting(*platforms):
  """Inside, what jit and pmap make is exported at its call, not run, and returns zeros. Gives dicts platform -> Program.

  It is an error to ask for the backend while tracing: a program is traced on one and may run on another. Otherwise it is the
  first of the platforms.
  """
  found, tracing = [], []

  def catching(transform):

    def make(function, **settings):
      made = jax_jit(transform(function, **settings))

      def call(*args):
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
          return made(*args)
        tracing.append(True)
        exports = {platform: export.export(made, platforms=[platform])(*args) for platform in platforms}
        tracing.pop()
        found.append({platform: Program(each) for platform, each in exports.items()})
        each = exports[platforms[0]]
        return jax.tree.unflatten(each.out_tree, [jnp.zeros(a.shape, a.dtype) for a in each.out_avals])

      return call

    return make

  def backend():
    assert not tracing, 'The backend is asked for while tracing: use jax.lax.platform_dependent.'
    return {'cuda': 'gpu'}.get(platforms[0], platforms[0])

  jax_jit = jax.jit
  with mock.patch.multiple(jax, jit=catching(jax.jit), pmap=catching(jax.pmap), default_backend=backend):
    yield found


def check(programs):
  """Each is there for every accelerator; nothing in it calls the host; products of float32 are exact."""
  assert programs
  for program in programs:
    assert set(program) == set(ACCELERATORS)
    for each in program.values():
      assert each.operations and each.targets <= TARGETS
      assert not {'send', 'recv', 'infeed', 'outfeed'} & set(each.operations)
      assert not each.rounded, 'an accelerator rounds the factors of these'


def zeros(shapes):
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def params_of(model):
  return zeros(jax.eval_shape(model.init, jax.random.key(0)))


@functools.cache
def config_of(variant, arm=None):
  """That of the digits or of the vocoder, small, for a kind of teacher and a student."""
  words = [word for word in ('smoke', variant, arm) if word not in ('speech', None)]
  return (vocoder if variant == 'speech' else digits).get_config(','.join(words)).to_dict()


def export_step(variant, arm, num_devices, batch=BATCH, platforms=ACCELERATORS):
  """Exports the training step of a student, or of the teacher where there is no arm; -> platform -> Program."""
  with exporting(*platforms) as programs:
    step, arguments = steps.training_step(config_of(variant, arm), arm is None, batch, num_devices)
    step(*zeros(arguments))
  program, = programs
  return program


QUICK = [('gaussian', None, 1), ('transformer', 'resnet/x_reconstruction_l1_noise', 8), ('speech', 'flow/regularized_kl', 1)]
STEPS = [
    *(('gaussian', arm, 1) for arm in [None, *ARMS]),
    *((kind, None, 1) for kind in KINDS),
    *((kind, arm, 1) for kind in KINDS for arm in ('resnet/x_reconstruction_l1', 'flow/reverse_kl')
      if not (kind in DISCRETE and arm == 'flow/reverse_kl')),
    *(('speech', arm, 1) for arm in [None, *SPEECH_ARMS]),
    *((variant, arm, 8) for variant, arm in (('gaussian', None), ('gaussian', 'flow/reverse_kl_path'),
                                             ('speech', 'flow/oracle_prediction')))]


def test_every_objective_has_its_line():
  """Each is met by an arm, and maximum likelihood by the teachers."""
  assert {config_of(variant, arm)['loss']['name'] for variant, arm, _ in STEPS if arm} == set(losses.LOSSES)


@pytest.mark.parametrize('variant,arm,num_devices',
                         [*QUICK, *(pytest.param(*step, marks=pytest.mark.slow) for step in STEPS if step not in QUICK)])
def test_training_steps(variant, arm, num_devices):
  """Of every objective and kind of model in the configs, on one device and on several, with the mean over them."""
  program = export_step(variant, arm, num_devices)
  check([program])
  for each in program.values():
    assert each.num_devices == num_devices and each.operations['all_reduce']


@pytest.mark.parametrize('variant,solver,num_devices', [
    ('gaussian', 'fixed_point', 1), ('speech', 'cached', 1),
    *(pytest.param(*each, marks=pytest.mark.slow) for each in [
        *(('gaussian', solver, n) for solver in ('ancestral', 'cached') for n in (1, 8)), ('gaussian', 'fixed_point', 8),
        *(('transformer', solver, 1) for solver in ('ancestral', 'cached', 'fixed_point')),
        *((kind, 'auto', 1) for kind in KINDS if kind != 'transformer'),
        *(('speech', solver, 1) for solver in ('ancestral', 'fixed_point'))])])
def test_samplers_of_teachers(variant, solver, num_devices):
  """Of every solver and kind of teacher, as launch.sample and launch.make_pairs call them; also T of what was drawn."""
  config = config_of(variant)
  space, (teacher, _) = steps.space_of(config['data']), steps.models(config)
  run = runs.TeacherRun(config, space, teacher, params_of(teacher), '', None)
  with exporting(*ACCELERATORS) as programs:
    if variant == 'speech':
      conds, hop = [np.zeros((5, space.model_settings['num_features']), np.float32)] * 2, space.codec.hop
      z = utterances.prior_draws(teacher, 0, np.arange(2, dtype=np.uint32), [5, 5], hop)
      x = utterances.solver_fn(teacher, solver, num_devices)(run.params, z, conds)
      assert [each.shape for each in x] == [(5 * hop,)] * 2
    else:
      assert runs.draw_pairs(run, 3, 0, solver=solver, devices=num_devices)['x'].shape == (3, *space.event_shape)
  check(programs)
  loops = [sum(each.operations['while'] for each in program.values()) for program in programs]
  assert max(loops) >= len(ACCELERATORS), 'T^-1 is among them'


@pytest.mark.parametrize('variant,arm', [
    ('gaussian', 'flow/x_reconstruction'), ('gaussian', 'resnet/x_reconstruction_l1'), ('speech', 'flow/x_reconstruction')])
def test_samplers_of_students(variant, arm):
  """One pass, over the devices, as launch.sample calls it."""
  config = config_of(variant, arm)
  space, (_, student) = steps.space_of(config['data']), steps.models(config)
  with exporting(*ACCELERATORS) as programs:
    if variant == 'speech':
      cond = np.zeros((5, space.model_settings['num_features']), np.float32)
      zs = [np.zeros(5 * space.codec.hop, np.float32)] * (8 * utterances.CHUNK)  # for all devices
      utterances.student_fn(student, 8)(params_of(student), zs, [cond] * len(zs))
    else:
      generate = processes.map_examples(lambda params, z: student.z_to_x(params, z).x, 8)
      generate(params_of(student), np.zeros((8 * devices.ACCELERATOR_CHUNK, *space.event_shape), np.float32))
  check(programs)
  assert [each.num_devices for program in programs for each in program.values()] == [8, 8]


def gradient(dtype):
  """(function, arguments): the gradients of a convolution of nets/operations.py, and where they are asked for."""

  def value(kernel, x):
    return jnp.sum(operations.convolution(x, kernel, jnp.zeros(1, dtype), padding=((1, 0), (1, 1)))**2)

  return jax.grad(value, (0, 1)), (np.zeros((2, 3, 1, 1), dtype), np.zeros((8, 8, 8, 1), dtype))


def test_products_for_kernels_on_a_cpu_alone():
  """A CPU computes a convolution in float32, and in bfloat16 the gradient of its kernel, as matrix products; accelerators see
  the plain convolution."""
  found = {}
  for dtype in (jnp.float32, jnp.bfloat16):
    function, args = gradient(dtype)
    with exporting(*ACCELERATORS, 'cpu') as programs:
      jax.jit(function)(*args)
    found[dtype] = {platform: program.operations for platform, program in programs[-1].items()}
  for of_dtype in found.values():
    assert of_dtype['cuda'] == of_dtype['tpu'] and of_dtype['cuda']['dot_general'] == 0 and of_dtype['cuda']['convolution'] == 3
  counts = {dtype: (of_dtype['cpu']['dot_general'], of_dtype['cpu']['convolution']) for dtype, of_dtype in found.items()}
  assert counts == {jnp.float32: (9, 0), jnp.bfloat16: (6, 2)}


def test_no_choice_is_left_to_the_run():
  """What was chosen for the CPU at lowering is no conditional in what XLA compiles."""
  function, args = gradient(jnp.bfloat16)
  compiled = jax.jit(function).lower(*args).compile().as_text()
  assert 'convolution(' in compiled and 'conditional(' not in compiled


def test_what_would_fail_here():
  """A call of the host, and a question for the backend while tracing."""

  def calls_host(x):
    return jax.pure_callback(np.sin, x, x)

  def asks(x):
    return x if jax.default_backend() == 'cpu' else 2 * x

  for function, message in ((calls_host, 'lowering platform'), (asks, 'platform_dependent')):
    with exporting(*ACCELERATORS), pytest.raises((ValueError, AssertionError), match=message):
      jax.jit(function)(jnp.ones(3))
