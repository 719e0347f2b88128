"""What it costs to spread a training step: pmap against plain jit on one device, and more devices for the same or more work.

    python -m benchmarks.scaling --output=scaling.json
    python -m benchmarks.scaling --size=28 --precision=bfloat16 --output=scaling_28x28.json

The step is that of a teacher on random images, by default with the network of the digits. On a CPU n devices run in a process
that is held on n cores, since one device would borrow the cores of the others; the processes take turns, step by step.
"""
import contextlib
import multiprocessing
import os
import time
from typing import Any, Callable

from absl import app, flags
import jax
import numpy as np

from benchmarks import interleaved
from benchmarks.rows import tell
from inverse_matching import losses, random, teachers
from inverse_matching.runtime import devices, onednn
from inverse_matching.runtime.devices import map_step, replicate
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Batch

FLAGS = flags.FLAGS


def _make_step(teacher):
  optimizer = make_optimizer(learning_rate=1e-3, decay_rate=1.0, steps_per_epoch=1, grad_clip=10.0)
  prepare = lambda raw: Batch(x=raw['x'], key=random.keys_at(0, raw['position']))
  step = make_train_step(losses.maximum_likelihood(teacher), optimizer, ema_decay=0.999, prepare=prepare)
  return step, lambda: init_state(teacher.init(jax.random.key(0)), optimizer)


def _runner(name: str, n: int, batch_size: int, shape: tuple[int, int, int], network: dict[str, Any]) -> Callable[[], float]:
  """A function of no arguments that makes a step of so many examples on n devices, waits for it and returns its seconds."""
  step, init = _make_step(teachers.make('pixelcnn', shape, **network))
  x = np.random.default_rng(0).normal(size=(batch_size, *shape)).astype(np.float32)
  batch = {'x': x, 'position': np.arange(len(x), dtype=np.uint32)}
  options = onednn.compiler_options() if network.get('dtype') else None
  if name == 'jit':
    mapped = jax.jit(lambda state, constants, batch: step.update(state, step.measure(state, constants, batch)),
                     donate_argnums=0, compiler_options=options and dict(options))
    held = [jax.jit(init)()]
  else:
    mapped, held = map_step(step, n, options), [replicate(init(), n)]

  def run():
    start = time.perf_counter()
    held[0], metrics = mapped(held[0], None, batch)
    jax.block_until_ready(metrics)
    return time.perf_counter() - start

  run()  # compiles
  return run


def _serve(connection, cores: set[int], name: str, n: int, *settings: Any) -> None:
  """In a process of its own, which ends with the one that started it: a runner, called whenever there is a message."""
  os.sched_setaffinity(0, cores)
  devices.make_cpu_devices(n)
  run = _runner(name, n, *settings)
  connection.send('ready')
  with contextlib.suppress(EOFError):
    while connection.recv():
      connection.send(run())


def _elsewhere(name: str, n: int, *settings: Any) -> Callable[[], float]:
  """The same as `_runner`, in a process that is held on n cores, or on all there are if those are fewer."""
  here, there = multiprocessing.Pipe()
  cores = set(sorted(os.sched_getaffinity(0))[:n])
  multiprocessing.get_context('spawn').Process(target=_serve, args=(there, cores, name, n, *settings), daemon=True).start()
  there.close()
  here.recv()

  def run():
    here.send('go')
    return here.recv()

  return run


def measure(counts: list[int], make_runner: Callable, rounds: int, batch_size: int) -> list[dict[str, Any]]:
  """Rows {"step", "devices", "batch", "seconds", "ratio", "low", "high"}: the median time of a step, and the median and the
  quartiles over the rounds of a ratio: of `pmap` the time over that of `jit`; of `weak` (as much work for each device) and
  `strong` (as much in all) that of one device over that of all, which is 1 and n where devices cost nothing."""
  cases = [('jit', 1, batch_size), ('pmap', 1, batch_size)]
  cases += [case for n in counts if n > 1 for case in (('weak', n, n * batch_size), ('strong', n, batch_size))]
  runs = {case: make_runner(*case) for case in cases}
  times = [{case: run() for case, run in runs.items()} for _ in range(rounds)]  # interleaved
  seconds = {case: np.array([of[case] for of in times]) for case in cases}
  jit, one = (seconds[case] for case in cases[:2])
  rows = []
  for (name, n, batch), values in seconds.items():
    ratio = {'ratio': None, 'low': None, 'high': None} if name == 'jit' else interleaved.ratio(
        *((one, jit) if name == 'pmap' else (one, values)))
    rows.append({'step': name, 'devices': n, 'batch': batch, 'seconds': float(np.median(values)), **ratio})
  return rows


def main(argv) -> None:
  del argv
  network = dict(num_blocks=FLAGS.num_blocks, num_filters=FLAGS.num_filters, num_levels=FLAGS.num_levels, dropout=FLAGS.dropout)
  devices.make_cpu_devices(FLAGS.devices)
  device, available = jax.local_devices()[0], jax.local_device_count()
  pinned = device.platform == 'cpu' and hasattr(os, 'sched_setaffinity')
  counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= min(available, FLAGS.devices or available)]
  dtype = {'dtype': 'bfloat16'} if FLAGS.precision == 'bfloat16' else {}
  settings = (FLAGS.size, FLAGS.size, FLAGS.channels), {**network, **dtype}
  make_runner = lambda *case: (_elsewhere if pinned else _runner)(*case, *settings)
  rows = measure(counts, make_runner, FLAGS.rounds, FLAGS.batch_size)
  tell(rows, {**network, 'size': FLAGS.size, 'precision': FLAGS.precision, 'rounds': FLAGS.rounds,
              'device': f'{device.platform} {device.device_kind}'}, FLAGS.output)


if __name__ == '__main__':
  flags.DEFINE_integer('size', 8, 'Rows and columns of an image.', lower_bound=1)
  flags.DEFINE_integer('channels', 1, 'Of an image.', lower_bound=1)
  flags.DEFINE_integer('num_blocks', 1, 'Of the network.')
  flags.DEFINE_integer('num_filters', 24, 'Of the network.')
  flags.DEFINE_integer('num_levels', 3, 'Of the network.')
  flags.DEFINE_float('dropout', 0.3, 'Of the network.')
  flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16'], 'Of the numbers inside the network.')
  flags.DEFINE_integer('batch_size', 64, 'Examples of one device in a step.')
  flags.DEFINE_integer('devices', None, 'The most devices; default: the local ones, on a CPU one for each core.', lower_bound=1)
  flags.DEFINE_integer('rounds', 40, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
