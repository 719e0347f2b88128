"""Trains a teacher by maximum likelihood.

    python -m launch.train_teacher --config=configs/digits.py --workdir=runs/teacher
"""
from inverse_matching import runs

from . import common, config_flag

FLAGS = common.FLAGS
common.define_flags(config='digits', loads=False)


def main() -> None:
  runs.train_teacher(config_flag.value(), FLAGS.workdir, FLAGS.devices)


if __name__ == '__main__':
  common.run(main)
