"""Distils a trained teacher into a student that samples in one pass.

    python -m launch.distill --config=configs/digits.py --teacher=runs/teacher --workdir=runs/student
"""
import shlex
import sys

from absl import flags

from inverse_matching import runs
from inverse_matching.errors import InputError
from inverse_matching.runs import status

from . import common, config_flag, wording

FLAGS = common.FLAGS
common.define_flags(config='digits')
flags.DEFINE_string('teacher', None, 'Workdir of the teacher.', required=True)
flags.DEFINE_string('pairs', None, 'Workdir of the pairs, made by launch.make_pairs; without it the student trains on the '
                    'teacher\'s data.')
flags.DEFINE_string('init_from', None, 'Workdir of a student of the same form, whose parameters this one begins with.')

flags.DEFINE_string('features', None, 'Workdir of the classifier whose layers config.loss.distance=features compares; it is '
                    'trained there first if there is none.')


def main() -> None:
  ignored = [name for name in config_flag.fields(sys.argv) if name.startswith('data.')]
  if ignored:
    raise InputError(f'--config.{ignored[0]} does not count here: a student is trained on the data of its teacher. Leave it '
                     'out.')
  config_flag.tell_unread(('student', 'loss', 'optimizer', 'train'), sys.argv)
  runs.distill(config_flag.value(), FLAGS.workdir, runs.load_teacher(FLAGS.teacher), FLAGS.pairs, FLAGS.devices,
               init_from=FLAGS.init_from, features=FLAGS.features)
  flags_next = f'--workdir={shlex.quote(FLAGS.workdir)} --teacher={shlex.quote(FLAGS.teacher)}'
  wording.say(status.describe(FLAGS.workdir), 'Next, for example:', f'  python -m launch.sample {flags_next}',
             f'  python -m launch.evaluate {flags_next}')


if __name__ == '__main__':
  common.run(main)
