"""Trains a teacher by maximum likelihood.

    python -m launch.train_teacher --config=configs/digits.py --workdir=runs/teacher
"""
import shlex
import sys

from inverse_matching import runs
from inverse_matching.runs import status

from . import common, config_flag, wording

FLAGS = common.FLAGS
common.define_flags(config='digits', loads=False)


def main() -> None:
  config_flag.tell_unread(('data', 'teacher', 'optimizer', 'train'), sys.argv)
  runs.train_teacher(config_flag.with_overlay('teacher_study', sys.argv), FLAGS.workdir, FLAGS.devices)
  where = shlex.quote(FLAGS.workdir)
  wording.say(status.describe(FLAGS.workdir), 'Next, for example:', f'  python -m launch.sample --workdir={where}',
             f'  python -m launch.distill{wording.config_word()} --teacher={where} --workdir=STUDENT')


if __name__ == '__main__':
  common.run(main)
