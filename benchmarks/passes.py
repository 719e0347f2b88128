"""Milliseconds an example of one pass of teacher and student, by how many examples a device takes at once.

    taskset -c 0 python -m benchmarks.passes --size=28 --num_blocks=2 --num_filters=24

Random weights and random data: the time does not depend on them.
"""
from absl import app, flags
import jax
import numpy as np

from benchmarks import interleaved
from benchmarks.rows import tell
from inverse_matching import random, students, teachers
from inverse_matching.runtime import devices

FLAGS = flags.FLAGS


def measure(shape: tuple[int, int, int], network: dict, num: int, chunks: list[int], rounds: int) -> list[dict]:
  """Rows {"pass", "shape", "chunk", "seconds_per_example", "ratio" (of the largest chunk's time to this, with quartiles)}."""
  teacher, student = teachers.make('pixelcnn', shape, **network), students.make('flow', shape, **network)
  teacher_params, student_params = teacher.init(jax.random.key(0)), student.init(jax.random.key(1))
  z = np.asarray(random.normal(random.keys_at(0, np.arange(num, dtype=np.uint32)), shape))
  runs = {}
  for chunk in chunks:
    encode = devices.map_examples(lambda params, x: teacher.x_to_z(params, x)[0], 1, chunk)
    generate = devices.map_examples(lambda params, z: student.z_to_x(params, z).x, 1, chunk)
    runs['T(x)', chunk] = lambda encode=encode: encode(teacher_params, z)
    runs['S(z)', chunk] = lambda generate=generate: generate(student_params, z)
  for run in runs.values():
    run()
  seconds = interleaved.seconds(runs, rounds)
  return [{'pass': name, 'shape': list(shape), 'chunk': chunk, 'seconds_per_example': float(np.median(values)) / num,
           **interleaved.ratio(seconds[name, max(chunks)], values)} for (name, chunk), values in seconds.items()]


def main(argv) -> None:
  del argv
  jax.config.update('jax_default_matmul_precision', 'highest')  # as the commands have it
  shape = (FLAGS.size, FLAGS.size, FLAGS.channels)
  network = dict(num_blocks=FLAGS.num_blocks, num_filters=FLAGS.num_filters, num_levels=FLAGS.num_levels)
  chunks = FLAGS.chunk or sorted({devices.choose_chunk(np.zeros((1, *shape))), 16, devices.DEFAULT_CHUNK})
  rows = measure(shape, network, FLAGS.num, chunks, FLAGS.rounds)
  tell(rows, {**network, 'num': FLAGS.num, 'rounds': FLAGS.rounds}, FLAGS.output)


if __name__ == '__main__':
  flags.DEFINE_integer('size', 28, 'Rows and columns of an image.', lower_bound=1)
  flags.DEFINE_integer('channels', 1, 'Of an image.', lower_bound=1)
  flags.DEFINE_integer('num_blocks', 2, 'Of the networks.')
  flags.DEFINE_integer('num_filters', 24, 'Of the networks.')
  flags.DEFINE_integer('num_levels', 3, 'Of the networks.')
  flags.DEFINE_integer('num', 256, 'Examples.', lower_bound=1)
  flags.DEFINE_multi_integer('chunk', [], 'Examples at once; default: as many as a run takes, 16 and 64.')
  flags.DEFINE_integer('rounds', 3, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
