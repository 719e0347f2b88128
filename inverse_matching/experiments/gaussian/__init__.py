"""Gaussian teachers and students: sections 3.1, 3.2 and 4.1.1 of the paper as numbers.

Every experiment is run(settings) -> Result, of which NAME.json and NAME.png are made (`claims` reads the JSON of the others and
writes README.md). Each fits one device.
"""
import functools
import types

from inverse_matching.errors import InputError
from inverse_matching.experiments import figures
from inverse_matching.experiments.experiment import Experiment, Stages
from inverse_matching.experiments.gaussian import (
  figure1,
  figure2,
  figure3,
  mechanism,
  modes,
  norms,
  proposition1,
  report,
  spectra,
  stiffness,
)

_MODULES = {'1': figure1, '2': figure2, '3': figure3, 'proposition1': proposition1, 'norms': norms, 'spectra': spectra,
            'modes': modes, 'stiffness': stiffness, 'mechanism': mechanism}


def _run(figure: str, experiment: Experiment) -> str:
  if 'gaussian' not in experiment.config:
    raise InputError(f'Figure {figure} takes configs/gaussian.py: leave --config out, or give that one.')
  name = f'figure{figure}' if figure.isdigit() else figure
  make = report.run if figure == 'claims' else functools.partial(_make, name, _MODULES[figure])
  return Stages(experiment.path / 'timing.json', [name]).run(name, make, experiment)


def _make(name: str, module: types.ModuleType, experiment: Experiment) -> str:
  config = experiment.config
  settings = config[name] if module in (figure1, proposition1) else config['gaussian'] | config[name]
  result = module.run(settings)
  for suffix, picture in result.pictures.items():
    figures.save(picture, experiment.path / f'{name}{suffix}.png')
  experiment.write(name, settings, result.rows)
  return result.table


FIGURES = {figure: functools.partial(_run, figure) for figure in (*_MODULES, 'claims')}
