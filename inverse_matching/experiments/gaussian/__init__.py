"""Gaussian teachers and students: sections 3.1, 3.2 and 4.1.1 of the paper as numbers.

Every experiment is run(config, workdir, command, devices) -> table as text; it writes NAME.json and NAME.png (`claims` reads
the JSON of the others and writes README.md). Each fits one device; `devices` is taken for the common call and not used.
"""
import functools
import pathlib

from inverse_matching.errors import InputError
from inverse_matching.experiments.gaussian import figure1, figure2, figure3, modes, norms, proposition1, spectra, stiffness
from inverse_matching.experiments.gaussian.claims import run as run_claims
from inverse_matching.experiments.stages import Stages

_RUNS = {'1': figure1.run, '2': figure2.run, '3': figure3.run, 'proposition1': proposition1.run, 'norms': norms.run,
         'spectra': spectra.run, 'modes': modes.run, 'stiffness': stiffness.run, 'claims': run_claims}


def _run(figure, config, workdir, command, devices=None):
  if 'gaussian' not in config:
    raise InputError(f'Figure {figure} takes configs/gaussian.py: leave --config out, or give that one.')
  name = f'figure{figure}' if figure.isdigit() else figure
  stages = Stages(pathlib.Path(workdir) / 'timing.json', 1)
  return stages.run(name, _RUNS[figure], config, workdir, command, devices)


FIGURES = {figure: functools.partial(_run, figure) for figure in _RUNS}
