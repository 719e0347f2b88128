"""Seconds per image of the exact solvers and of one pass, side by side on one device, for any image size.

    python -m benchmarks.sampling --size=28 --batches=16 --num_blocks=3 --num_filters=32

Random weights, so the sweeps of the fixed points are those of an untrained teacher, which are few; the time of `cached` and
`ancestral` does not depend on the weights. `launch.reproduce --figure=sampling` measures a trained teacher.
"""
from absl import app, flags
import jax

from inverse_matching import students, teachers
from inverse_matching.evaluation import tables, timing
from inverse_matching.experiments import sampling
from inverse_matching.runtime import files
from launch import wording

FLAGS = flags.FLAGS


def main(argv) -> None:
  del argv
  shape = (FLAGS.size, FLAGS.size, FLAGS.channels)
  network = dict(num_blocks=FLAGS.num_blocks, num_filters=FLAGS.num_filters, num_levels=FLAGS.num_levels)
  teacher, student = teachers.make('pixelcnn', shape, **network), students.make('flow', shape, **network)
  params, student_params = teacher.init(jax.random.key(0)), student.init(jax.random.key(1))
  rows = []
  for batch in map(int, FLAGS.batches):
    timed = timing.sampling_rows(teacher, params, {'flow': (student, student_params)}, batch=batch, seed=0, rounds=FLAGS.rounds)
    rows += [{**row, 'teacher': 'random weights'} for row in timed]
  print(tables.plain(sampling.table(rows)))
  if FLAGS.output:
    settings = {**network, 'rounds': FLAGS.rounds}
    files.write_json(FLAGS.output, {'command': wording.command(), 'settings': settings, 'rows': rows})


if __name__ == '__main__':
  flags.DEFINE_integer('size', 28, 'Rows and columns of an image.', lower_bound=1)
  flags.DEFINE_integer('channels', 1, 'Of an image.', lower_bound=1)
  flags.DEFINE_integer('num_blocks', 3, 'Of the teacher.')
  flags.DEFINE_integer('num_filters', 32, 'Of the teacher.')
  flags.DEFINE_integer('num_levels', 3, 'Of the teacher.')
  flags.DEFINE_list('batches', ['16'], 'Batch sizes.')
  flags.DEFINE_integer('rounds', 3, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
