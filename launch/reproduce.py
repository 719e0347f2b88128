"""Runs a figure of the paper from the start to its numbers.

    python -m launch.reproduce --figure=4 --config=configs/digits.py --workdir=runs/digits
    python -m launch.reproduce --figure=2 --workdir=runs/gaussian

Without --config, the Gaussian figures take configs/gaussian.py, figure 6 configs/cifar10.py, vocoder configs/vocoder.py, and
the others configs/digits.py.
"""
import sys

from absl import flags

from inverse_matching import experiments

from . import common, config_flag, wording

FLAGS = common.FLAGS


def _default_config(argv: list[str]) -> str:
  """The config of the first figure named; flags are not parsed yet when their defaults are set."""
  line = ' '.join(argv).replace('=', ' ').replace(',', ' ').split()
  named = [line[i + 1] for i, word in enumerate(line[:-1]) if word in ('--figure', '-figure')]
  figure = named[-1] if named else None
  if figure in experiments.gaussian.FIGURES:
    return 'gaussian'
  return {'6': 'cifar10', 'vocoder': 'vocoder'}.get(figure, 'digits')


common.define_flags(config=_default_config(sys.argv), distributed=False)  # its stages may be run so one by one
flags.DEFINE_string('figure', None, f'What to reproduce: {", ".join(experiments.FIGURES)}.', required=True)


def main() -> None:
  print(experiments.reproduce(FLAGS.figure, config_flag.value(), FLAGS.workdir, wording.command(), FLAGS.devices))


if __name__ == '__main__':
  common.run(main)
