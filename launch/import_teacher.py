"""Makes a model of a teacher that was trained elsewhere: a folder that every command takes as a workdir and none writes into.

    python -m launch.import_teacher --config=configs/digits.py --config.teacher.name=my_module:teacher --weights=weights.npz \\
      --workdir=model
"""
import shlex

from absl import flags

from inverse_matching.evaluation import export

from . import common, config_flag, wording

FLAGS = common.FLAGS
common.define_flags(config='digits', distributed=False, loads=False)
flags.DEFINE_string('weights', None, 'File of the weights, .npz or .safetensors: each array by the names of the keys on the '
                    'way to it in the parameters of the teacher, joined by /.', required=True)
flags.DEFINE_string('note', '', 'For the card: what the model is bad at.')


def main() -> None:
  loss = export.import_teacher(config_flag.value(), FLAGS.weights, FLAGS.workdir, note=FLAGS.note)
  where = shlex.quote(FLAGS.workdir)
  wording.say(f'{FLAGS.workdir}: a teacher, with a loss of {loss:.5g} nats (of speech, for each sample) on held-out examples, '
             'which should be what it had where it was trained.',
             'Next, for example:', f'  python -m launch.sample --workdir={where} --output=SAMPLES',
             f'  python -m launch.evaluate --workdir={where} --output=NUMBERS',
             f'  python -m launch.distill{wording.config_word()} --teacher={where} --workdir=STUDENT')


if __name__ == '__main__':
  common.run(main)
