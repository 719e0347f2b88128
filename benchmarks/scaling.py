"""What it costs to spread a training step: pmap against plain jit on one device, and more devices with as much work each.

    python -m benchmarks.scaling --output=scaling.json
    python -m benchmarks.scaling --devices=8 --size=28 --num_blocks=3 --num_filters=32 --batch_size=64

The step is that of a teacher on random images, by default with the network of the digits. On a CPU --devices makes devices that
share the cores, so that only the first number means much there.
"""
from unittest import mock

from absl import app, flags
import jax
import numpy as np

from benchmarks import interleaved
from inverse_matching import losses, random, teachers
from inverse_matching.evaluation import tables
from inverse_matching.runtime import files
from inverse_matching.runtime.devices import map_step, replicate
from inverse_matching.training import step as training_step
from inverse_matching.training.step import init_state, make_optimizer, make_train_step
from inverse_matching.types import Batch
from launch import common

FLAGS = flags.FLAGS


def _make_step(teacher):
  optimizer = make_optimizer(learning_rate=1e-3, decay_rate=1.0, steps_per_epoch=1, grad_clip=10.0)
  prepare = lambda raw: Batch(x=raw['x'], key=random.keys_at(0, raw['position']))
  step = make_train_step(losses.maximum_likelihood(teacher), optimizer, ema_decay=0.999, prepare=prepare)
  return step, lambda: init_state(teacher.init(jax.random.key(0)), optimizer)


def _runner(mapped, state, batch):
  """A function of no arguments that makes a step and waits for it."""
  held = [state]

  def run():
    held[0], metrics = mapped(held[0], None, batch)
    jax.block_until_ready(metrics)

  run()  # compiles
  return run


def measure(shape: tuple[int, int, int], network: dict, batch_size: int, rounds: int) -> list[dict]:
  """Rows {"step", "devices", "batch", "seconds", "ratio", "low", "high"}: the median time of a step, and the median and the
  quartiles over the rounds of a ratio: of `pmap` the time over that of `jit`, of `weak` that of one device over that of all,
  which is 1 where devices cost nothing."""
  teacher = teachers.make('pixelcnn', shape, **network)
  step, init = _make_step(teacher)
  rng = np.random.default_rng(0)
  counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= jax.local_device_count()]
  runs = {}
  for n in counts:
    size = n * batch_size
    batch = {'x': rng.normal(size=(size, *shape)).astype(np.float32), 'position': np.arange(size, dtype=np.uint32)}
    runs[n] = _runner(map_step(step, n), replicate(init(), n), batch)
    if n == 1:
      with mock.patch.object(training_step, 'mean_over_devices', lambda tree: tree):  # there is no axis to take it over
        runs['jit'] = _runner(jax.jit(step, donate_argnums=0), jax.jit(init)(), batch)
  seconds = interleaved.seconds(runs, rounds)
  rows = []
  for name, n, ratio in [('jit', 1, None), ('pmap', 1, seconds[1] / seconds['jit']),
                         *(('weak', n, seconds[1] / seconds[n]) for n in counts[1:])]:
    low, value, high = (None,) * 3 if ratio is None else np.quantile(ratio, (0.25, 0.5, 0.75))
    rows.append({'step': name, 'devices': n, 'batch': n * batch_size,
                 'seconds': float(np.median(seconds['jit' if name == 'jit' else n])), 'ratio': value, 'low': low, 'high': high})
  return rows


def main(argv) -> None:
  del argv
  if FLAGS.devices is not None:
    jax.config.update('jax_num_cpu_devices', FLAGS.devices)
  network = dict(num_blocks=FLAGS.num_blocks, num_filters=FLAGS.num_filters, num_levels=FLAGS.num_levels, dropout=FLAGS.dropout)
  rows = measure((FLAGS.size, FLAGS.size, FLAGS.channels), network, FLAGS.batch_size, FLAGS.rounds)
  cell = lambda value: f'{value:.4g}' if isinstance(value, float) else '' if value is None else str(value)
  print(tables.plain([list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]))
  if FLAGS.output:
    device = jax.local_devices()[0]
    files.write_json(FLAGS.output, {'command': common.command(), 'settings': {
        **network, 'rounds': FLAGS.rounds, 'device': f'{device.platform} {device.device_kind}'}, 'rows': rows})


if __name__ == '__main__':
  flags.DEFINE_integer('size', 8, 'Rows and columns of an image.', lower_bound=1)
  flags.DEFINE_integer('channels', 1, 'Of an image.', lower_bound=1)
  flags.DEFINE_integer('num_blocks', 1, 'Of the network.')
  flags.DEFINE_integer('num_filters', 24, 'Of the network.')
  flags.DEFINE_integer('num_levels', 3, 'Of the network.')
  flags.DEFINE_float('dropout', 0.3, 'Of the network.')
  flags.DEFINE_integer('batch_size', 64, 'Examples of a device in a step.')
  flags.DEFINE_integer('devices', None, 'On a CPU, how many devices to make; default: the local ones.', lower_bound=1)
  flags.DEFINE_integer('rounds', 40, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
