"""Draws samples from a teacher or a student.

    python -m launch.sample --workdir=runs/student --teacher=runs/teacher --num_samples=64 --output=samples

A model of speech says again what a recording says:

    python -m launch.sample --workdir=runs/student --teacher=runs/teacher --wav=in.wav --output=out.wav
"""
import pathlib

from absl import flags

from inverse_matching import solvers
from inverse_matching.runs import exported
from inverse_matching.runs import samples as sample_runs

from . import common

FLAGS = common.FLAGS
common.define_flags()
flags.DEFINE_string('teacher', None, 'Workdir of the teacher, if --workdir is a student.')
flags.DEFINE_integer('num_samples', 64, 'Number of samples.', lower_bound=1)
flags.DEFINE_integer('seed', 0, 'Seed of the prior draws.', lower_bound=0, upper_bound=2**32 - 1)
flags.DEFINE_enum('solver', 'auto', solvers.SOLVERS, 'How a teacher is solved; a student needs none.')
flags.DEFINE_string('wav', None, 'Recording (wav or flac) for a model of speech, which speaks it again from its features.')
flags.DEFINE_string('output', None, 'Folder for samples.npz and samples.png, default: the workdir; with --wav, the wav file to '
                    'write, default: sample.wav there.')


def main() -> None:
  if FLAGS.output is None:
    exported.refuse(FLAGS.workdir)
  if FLAGS.wav is not None:
    output = FLAGS.output or pathlib.Path(FLAGS.workdir) / 'sample.wav'
    factor = sample_runs.copy_synthesis(FLAGS.workdir, FLAGS.wav, output, teacher_workdir=FLAGS.teacher, seed=FLAGS.seed,
                                        solver=FLAGS.solver, devices=FLAGS.devices)
    print(f'{output}: real-time factor {factor:.3f}')
    return
  output = FLAGS.output or FLAGS.workdir
  sample_runs.sample(FLAGS.workdir, output, teacher_workdir=FLAGS.teacher, num=FLAGS.num_samples, seed=FLAGS.seed,
                     solver=FLAGS.solver, devices=FLAGS.devices)
  print(f'{pathlib.Path(output) / "samples.npz"}: x and z of {FLAGS.num_samples} samples; samples.png beside it is a picture.')


if __name__ == '__main__':
  common.run(main)
