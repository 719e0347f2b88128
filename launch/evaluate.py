"""Evaluates a teacher or a student, writes evaluation.json and prints the table.

    python -m launch.evaluate --workdir=runs/student --teacher=runs/teacher
"""
import pathlib

from absl import flags

from inverse_matching.evaluation import evaluate

from . import common, wording

FLAGS = common.FLAGS
common.define_flags()
flags.DEFINE_string('teacher', None, 'Workdir of the teacher, if --workdir is a student.')
flags.DEFINE_integer('num_samples', 1000, 'Number of samples to compare.', lower_bound=8)
flags.DEFINE_integer('seed', 100, 'Seed of the evaluation; not one of training or of pairs.', lower_bound=0,
                     upper_bound=2**32 - 1)
flags.DEFINE_integer('step', None, 'Of the checkpoint in --workdir to evaluate; default: the last.')
flags.DEFINE_string('output', None, 'Folder for evaluation.json, the classifier of the metrics and teacher samples; default: '
                    'the workdir, and for the last two that of the teacher.')


def main() -> None:
  print(evaluate.evaluate_run(FLAGS.workdir, FLAGS.teacher, num=FLAGS.num_samples, seed=FLAGS.seed,
                              command=wording.command(), devices=FLAGS.devices, output=FLAGS.output, step=FLAGS.step))
  print(f'{pathlib.Path(FLAGS.output or FLAGS.workdir) / "evaluation.json"} holds these numbers.')


if __name__ == '__main__':
  common.run(main)
