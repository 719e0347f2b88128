"""Makes a model to pass on of a run: a folder of a few files that every command takes as a workdir and none writes into.

    python -m launch.export --workdir=runs/teacher --output=models/teacher --note='thin strokes'
"""
from absl import flags

from inverse_matching.evaluation import export

from . import common

FLAGS = common.FLAGS
common.define_flags(distributed=False)
flags.DEFINE_string('output', None, 'The new folder.', required=True)
flags.DEFINE_string('note', '', 'For the card: what the model is bad at.')
flags.DEFINE_integer('step', None, 'Of the checkpoint to take; default: the last.', lower_bound=0)


def main() -> None:
  export.export(FLAGS.workdir, FLAGS.output, note=FLAGS.note, step=FLAGS.step)
  print(f'{FLAGS.output}: a model, to be given as --workdir or --teacher.')


if __name__ == '__main__':
  common.run(main)
