"""Tells how far a run is, in progress or not: a line for each run in the folder or below it.

    python -m launch.status --workdir=runs/digits
"""
from absl import flags

from inverse_matching.runs import status

from . import common

FLAGS = common.FLAGS
flags.DEFINE_string('workdir', None, 'Folder of a run, or of a figure with its runs.', required=True)


def main() -> None:
  print(status.describe(FLAGS.workdir))


if __name__ == '__main__':
  common.run(main)
