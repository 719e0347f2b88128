"""Examples per second of a training step, and what share of a large matrix product's rate it reaches.

    taskset -c 0 python -m benchmarks.train_step --size=28 --num_blocks=3 --num_filters=32
    python -m benchmarks.train_step --size=28 --num_blocks=3 --num_filters=32 --devices=2

On two CPU cores, with --steps=maximum_likelihood, the first took 3.76 s, 54% of the rate of a large matrix product on that
core; the second took 1.87 s, half of it.

Random weights and random data: the time does not depend on them. On a CPU `taskset` chooses the cores and --devices makes
devices of them.
"""
import time
from typing import Sequence

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import tell
from inverse_matching import losses, random, students, teachers
from inverse_matching.runtime import onednn
from inverse_matching.runtime.devices import choose_microbatch, map_step, peak_memory, replicate
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Batch

FLAGS = flags.FLAGS
MATRIX = 2048
RESNET = dict(num_blocks=8, num_filters=64, dilations=(1, 2, 4))  # of configs/mnist.py:paper
OBJECTIVES = ('z_reconstruction', 'x_reconstruction', 'oracle_prediction', 'reverse_kl')


def _state(init, optimizer, num_devices):
  return replicate(init_state(init(jax.random.key(0)), optimizer), num_devices)


def measure(shape: tuple[int, int, int], network: dict, batch_size: int, num_devices: int, rounds: int,
            steps: list[str], precision: str = 'float32', student_name: str = 'flow',
            microbatches: Sequence[int] = ()) -> list[dict]:
  """Rows {"step", "shape", "batch", "devices", "seconds", "examples_per_second", "gflops_per_step", "share_of_matmul", ...}:
  medians of interleaved rounds. FLOPs are those that XLA counts in the compiled program of one device, times the devices."""
  dtype = {'dtype': 'bfloat16'} if precision == 'bfloat16' else {}
  teacher, to_train = (teachers.make('pixelcnn', shape, **network, **each) for each in ({}, dtype))
  student = students.make(student_name, shape, **(RESNET if student_name == 'resnet' else network), **dtype)
  options = onednn.compiler_options() if dtype else None
  teacher_params = replicate(teacher.init(jax.random.key(1)), num_devices)
  optimizer = make_optimizer(learning_rate=1e-3, decay_rate=1.0, steps_per_epoch=1, grad_clip=None)
  keys = random.keys_at(0, jnp.arange(batch_size, dtype=jnp.uint32))
  x, z = (random.normal(random.stream(keys, purpose), shape) for purpose in ('noise', 'prior'))
  raw = {'x': np.asarray(x), 'z': np.asarray(z), 'position': np.arange(batch_size, dtype=np.uint32)}
  prepare = {name: lambda raw, f=fields: Batch(key=random.keys_at(0, raw['position']), **{k: raw[k] for k in f})
             for name, fields in {'x_reconstruction': 'x', 'maximum_likelihood': 'x', 'oracle_prediction': 'xz'}.items()}
  runs, flops = {}, {}
  for name in steps:
    loss = losses.maximum_likelihood(to_train) if name == 'maximum_likelihood' else losses.make(name, teacher, student)
    init = teacher.init if name == 'maximum_likelihood' else student.init
    step = make_train_step(loss, optimizer, ema_decay=0.999, prepare=prepare.get(name, lambda raw: Batch(
        key=random.keys_at(0, raw['position']))))
    share = jax.tree.map(lambda a: a[:batch_size // num_devices], raw)
    flops[name] = num_devices * _flops(loss, init, teacher_params, prepare.get(name), share)
    for microbatch in microbatches or [choose_microbatch(raw, num_devices, options)]:
      mapped, state = map_step(step, num_devices, options, microbatch=microbatch), [_state(init, optimizer, num_devices)]

      def run(mapped=mapped, state=state):
        state[0], metrics = mapped(state[0], teacher_params, raw)
        jax.block_until_ready(metrics)

      runs[name, microbatch] = run
  matrix = jax.random.normal(jax.random.key(2), (MATRIX, MATRIX))
  product = jax.jit(lambda a: a @ a)
  runs['matmul', None] = lambda: jax.block_until_ready(product(matrix))
  seconds, compile_seconds = {name: [] for name in runs}, {}
  for name, run in runs.items():
    start = time.perf_counter()
    run()
    compile_seconds[name] = time.perf_counter() - start
  for _ in range(rounds):
    for name, run in runs.items():
      start = time.perf_counter()
      run()
      seconds[name].append(time.perf_counter() - start)
  median = {name: float(np.median(values)) for name, values in seconds.items()}
  rate = 2 * MATRIX**3 / median.pop(('matmul', None))
  return [{'step': name, 'shape': list(shape), 'batch': batch_size, 'microbatch': microbatch, 'devices': num_devices,
           'seconds': value, 'examples_per_second': batch_size / value, 'gflops_per_step': flops[name] / 1e9,
           'share_of_matmul': flops[name] / value / rate, 'matmul_gflops_per_second': rate / 1e9,
           'compile_seconds': compile_seconds[name, microbatch], **peak_memory()}
          for (name, microbatch), value in median.items()]


def _flops(loss, init, teacher_params, prepare, raw) -> float:
  """Of value and gradient, in XLA's count; a loop's body counts once."""
  prepare = prepare or (lambda raw: Batch(key=random.keys_at(0, raw['position'])))
  params = jax.eval_shape(init, jax.random.key(0))
  mean = lambda params, raw: jnp.mean(loss(params, teacher_params, prepare(raw))[0])
  return jax.jit(jax.value_and_grad(mean)).lower(params, raw).cost_analysis()['flops']


def main(argv) -> None:
  del argv
  if FLAGS.devices > 1:
    jax.config.update('jax_num_cpu_devices', FLAGS.devices)
  jax.config.update('jax_default_matmul_precision', 'highest')  # as the commands have it
  network = dict(num_blocks=FLAGS.num_blocks, num_filters=FLAGS.num_filters, num_levels=FLAGS.num_levels)
  rows = measure((FLAGS.size, FLAGS.size, FLAGS.channels), network, FLAGS.batch_size, FLAGS.devices, FLAGS.rounds, FLAGS.steps,
                 FLAGS.precision, FLAGS.student, FLAGS.microbatch)
  tell(rows, {**network, 'rounds': FLAGS.rounds, 'precision': FLAGS.precision, 'student': FLAGS.student}, FLAGS.output)


if __name__ == '__main__':
  flags.DEFINE_integer('size', 28, 'Rows and columns of an image.', lower_bound=1)
  flags.DEFINE_integer('channels', 1, 'Of an image.', lower_bound=1)
  flags.DEFINE_integer('num_blocks', 3, 'Of the networks.')
  flags.DEFINE_integer('num_filters', 32, 'Of the networks.')
  flags.DEFINE_integer('num_levels', 3, 'Of the networks.')
  flags.DEFINE_integer('batch_size', 64, 'Examples in a step.')
  flags.DEFINE_integer('devices', 1, 'Local devices; on a CPU so many are made.', lower_bound=1)
  flags.DEFINE_multi_enum('steps', ['maximum_likelihood', 'x_reconstruction', 'oracle_prediction'],
                          ['maximum_likelihood', *OBJECTIVES], 'What to time.')
  flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16'], 'Inside the network that trains.')
  flags.DEFINE_enum('student', 'flow', ['flow', 'resnet'], 'With the settings of the networks, or those of mnist:paper.')
  flags.DEFINE_multi_integer('microbatch', [], 'Examples that a device takes at once; default: as many as a run would take.')
  flags.DEFINE_integer('rounds', 3, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
