"""Evaluates a teacher or a student, writes evaluation.json in its workdir and prints the table.

    python -m launch.evaluate --workdir=runs/student --teacher=runs/teacher
"""
from absl import flags

from inverse_matching.evaluation import evaluate
from launch import common

FLAGS = common.FLAGS
common.define_flags()
flags.DEFINE_string('teacher', None, 'Workdir of the teacher, if --workdir is a student.')
flags.DEFINE_integer('num_samples', 1000, 'Number of samples to compare.', lower_bound=2)
flags.DEFINE_integer('seed', 2, 'Seed of the evaluation; not that of the training pairs.')


def main() -> None:
  print(evaluate.evaluate_run(FLAGS.workdir, FLAGS.teacher, num=FLAGS.num_samples, seed=FLAGS.seed,
                              command=common.command(), devices=FLAGS.devices))


if __name__ == '__main__':
  common.run(main)
