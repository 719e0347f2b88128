"""Samples per second of the vocoder's networks: training steps, exact sampling from the teacher, one pass of the student.

    python -m benchmarks.vocoder
    python -m benchmarks.vocoder --rate=16000 --frame_sizes=80,10 --teacher_width=512 --num_layers=10 --width=64

The defaults are the sizes of configs/vocoder.py:demo. Random weights and random data: the time does not depend on them.
"""
import time
from typing import Any, Sequence

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import tell
from inverse_matching import losses, random, solvers, students, teachers
from inverse_matching.runtime.devices import map_step, replicate
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Batch

FLAGS = flags.FLAGS
STEPS = ('maximum_likelihood', 'x_reconstruction', 'regularized_kl')


def measure(teacher_settings: dict[str, Any], student_settings: dict[str, Any], *, rate: int, batches: list[int],
            seconds: float, steps: list[str], step_batches: dict[str, int], crop: float, rounds: int,
            microbatches: Sequence[int] = ()) -> list[dict[str, Any]]:
  """Rows of medians over interleaved rounds, on one device.

  Args:
    teacher_settings: of teachers.samplernn.
    student_settings: of students.wavenet.
    rate: samples per second of sound.
    batches: numbers of waveforms in a call of the samplers.
    seconds: of sound in each of them.
    steps: of STEPS. x_reconstruction takes pairs (T(x), x) as stored, so it does not run the teacher.
    step_batches: crops in each step.
    crop: seconds of sound in each of them.
    rounds: to take the median of.
    microbatches: numbers of crops that a step takes at once, each of which is timed; none: as many as a run would take.

  Returns:
    Rows {"what", "batch", "seconds" (of a call), "samples_per_second", "real_time_factor", "speedup_over_teacher" (of the
    student over T^-1 of the same batch, else None)}.
  """
  teacher = teachers.make('samplernn', (None,), **teacher_settings)
  student = students.make('wavenet', (None,), **student_settings)
  params, student_params = jax.jit(teacher.init)(jax.random.key(0)), jax.jit(student.init)(jax.random.key(1))
  hop = teacher_settings['frame_sizes'][0]

  def draw(batch, duration):
    frames = round(duration * rate / hop)
    cond = jax.random.normal(jax.random.key(2), (batch, frames, teacher_settings['num_features']))
    return jax.random.normal(jax.random.key(3), (batch, frames * hop)), cond

  runs, counts = {}, {}
  for name in steps:
    z, cond = draw(step_batches[name], crop)
    for microbatch in microbatches or [None]:
      what = name if microbatch is None else f'{name}, {microbatch} at once'
      runs[what, len(z)] = _step(name, teacher, student, params, student_params, z, cond, microbatch)
      counts[what, len(z)] = z.size
  decode = jax.jit(lambda params, z, cond: solvers.solve(teacher, params, z, cond).x)
  generate = jax.jit(lambda params, z, cond: student.z_to_x(params, z, cond).x)
  for batch in batches:
    z, cond = draw(batch, seconds)
    runs['teacher', batch] = lambda z=z, cond=cond: decode(params, z, cond)
    runs['student', batch] = lambda z=z, cond=cond: generate(student_params, z, cond)
    counts['teacher', batch] = counts['student', batch] = z.size
  times = {key: [] for key in runs}
  for run in runs.values():
    jax.block_until_ready(run())
  for _ in range(rounds):
    for key, run in runs.items():
      start = time.perf_counter()
      jax.block_until_ready(run())
      times[key].append(time.perf_counter() - start)
  median = {key: float(np.median(values)) for key, values in times.items()}
  return [{'what': what, 'batch': batch, 'seconds': value, 'samples_per_second': counts[what, batch] / value,
           'real_time_factor': counts[what, batch] / value / rate,
           'speedup_over_teacher': median['teacher', batch] / value if what == 'student' else None}
          for (what, batch), value in median.items()]


def _step(name, teacher, student, params, student_params, z, cond, microbatch):
  """A function that takes one training step, from the state that the one before left."""
  own = name == 'maximum_likelihood'
  distance = {'distance': 'l1'} if name == 'x_reconstruction' else {}
  loss = losses.maximum_likelihood(teacher) if own else losses.make(name, teacher, student, **distance)
  optimizer = make_optimizer(learning_rate=1e-3, decay_rate=1.0, steps_per_epoch=1, grad_clip=100.0)
  step = map_step(make_train_step(loss, optimizer, ema_decay=0.999, prepare=lambda raw: Batch(
      x=raw['x'], z=raw['z'], cond=raw['cond'], key=random.keys_at(0, raw['position']))), 1, microbatch=microbatch)
  state = [replicate(init_state(params if own else student_params, optimizer), 1)]
  teacher_params = None if own else replicate(params, 1)
  raw = {'x': 0.05 * z, 'z': z, 'cond': cond, 'position': jnp.arange(len(z), dtype=jnp.uint32)}
  raw = jax.tree.map(np.asarray, raw)

  def run():
    state[0], metrics = step(state[0], teacher_params, raw)
    return metrics

  return run


def main(argv) -> None:
  del argv
  teacher = dict(num_features=FLAGS.num_features, frame_sizes=tuple(map(int, FLAGS.frame_sizes)), width=FLAGS.teacher_width)
  student = dict(num_features=FLAGS.num_features, num_flows=FLAGS.num_flows, num_layers=FLAGS.num_layers, width=FLAGS.width,
                 remat=FLAGS.remat)
  settings = dict(rate=FLAGS.rate, batches=[int(batch) for batch in FLAGS.batches], seconds=FLAGS.seconds, steps=FLAGS.steps,
                  step_batches={name: FLAGS.teacher_batch if name == 'maximum_likelihood' else FLAGS.student_batch
                                for name in FLAGS.steps}, crop=FLAGS.crop, rounds=FLAGS.rounds, microbatches=FLAGS.microbatch)
  rows = measure(teacher, student, **settings)
  tell(rows, {**settings, 'teacher': teacher, 'student': student}, FLAGS.output)


if __name__ == '__main__':
  flags.DEFINE_integer('rate', 8000, 'Samples per second of sound.', lower_bound=1)
  flags.DEFINE_integer('num_features', 26, 'Of a frame.', lower_bound=0)
  flags.DEFINE_list('frame_sizes', ['40', '8'], 'Of the teacher, in samples.')
  flags.DEFINE_integer('teacher_width', 128, 'Units of a tier.')
  flags.DEFINE_integer('num_flows', 6, 'Of the student.')
  flags.DEFINE_integer('num_layers', 7, 'Of a flow.')
  flags.DEFINE_integer('width', 24, 'Channels of a layer.')
  flags.DEFINE_bool('remat', False, 'Whether the student computes activations again in the backward pass.')
  flags.DEFINE_list('batches', ['1', '8', '32'], 'Waveforms in a call of the samplers.')
  flags.DEFINE_float('seconds', 1.0, 'Of sound in each of them.')
  flags.DEFINE_multi_enum('steps', list(STEPS), STEPS, 'Training steps to time.')
  flags.DEFINE_integer('teacher_batch', 8, 'Crops in a step of the teacher.')
  flags.DEFINE_integer('student_batch', 4, 'Crops in a step of the student.')
  flags.DEFINE_float('crop', 0.3, 'Seconds of sound in a crop.')
  flags.DEFINE_multi_integer('microbatch', [], 'Crops that a step takes at once; default: as many as a run would take.')
  flags.DEFINE_integer('rounds', 5, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
