"""Runs a figure of the paper from the start to its numbers.

    python -m launch.reproduce --figure=4 --config=configs/digits.py --workdir=runs/digits
"""
from absl import flags

from inverse_matching import experiments
from launch import common

FLAGS = common.FLAGS
common.define_flags(config='configs/digits.py')
flags.DEFINE_string('figure', None, f'What to reproduce: {", ".join(experiments.FIGURES)}.', required=True)


def main() -> None:
  print(experiments.reproduce(FLAGS.figure, common.config(), FLAGS.workdir, common.command(), FLAGS.devices))


if __name__ == '__main__':
  common.run(main)
