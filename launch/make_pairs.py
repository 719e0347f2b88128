"""Writes pairs (z, x = T^-1(z)) of a trained teacher, for oracle prediction.

    python -m launch.make_pairs --teacher=runs/teacher --num=8192 --workdir=runs/pairs
"""
import shlex

from absl import flags

from inverse_matching import runs, solvers

from . import common, wording

FLAGS = common.FLAGS
common.define_flags()
flags.DEFINE_string('teacher', None, 'Workdir of the teacher.', required=True)
flags.DEFINE_integer('num', None, 'Number of pairs.', required=True, lower_bound=1)
flags.DEFINE_integer('seed', 1, 'Seed of the prior draws; use another one for evaluation.', lower_bound=0,
                     upper_bound=2**32 - 1)
flags.DEFINE_enum('solver', 'auto', solvers.SOLVERS, 'How T^-1 is computed.')
flags.DEFINE_enum('pairs_from', 'z', runs.PAIRS_FROM,
                  'z: x = T^-1(z). sample: x ~ teacher.sample and z = T(x), equal in law, needs no inverse. data: z = T(x) of '
                  'training data x.')


def main() -> None:
  runs.make_pairs(runs.load_teacher(FLAGS.teacher), FLAGS.workdir, num=FLAGS.num, seed=FLAGS.seed, solver=FLAGS.solver,
                  pairs_from=FLAGS.pairs_from, devices=FLAGS.devices)
  objective = 'x_reconstruction' if FLAGS.pairs_from == 'data' else 'oracle_prediction'
  wording.say(f'{FLAGS.workdir}: {FLAGS.num} pairs. Next, for example:',
             f'  python -m launch.distill --config=CONFIG --config.loss.name={objective} '
             f'--teacher={shlex.quote(FLAGS.teacher)} --pairs={shlex.quote(FLAGS.workdir)} --workdir=STUDENT')


if __name__ == '__main__':
  common.run(main)
