"""Figures of the paper by name."""
import functools
import pathlib
from typing import Any, Mapping

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.experiments import (
    appendix_a,
    budget,
    convergence,
    crossed,
    distillation,
    factors,
    gaussian,
    headroom,
    logit_lambda,
    sampling,
    sensitivity,
    teacher_course,
    teachers,
    vocoder,
    warm_start,
)
from inverse_matching.experiments.experiment import Experiment

SHARED = ('4', '5', '6')  # made together where several are asked for: of one teacher, one set of samples
STUDIES = {'appendix_a': appendix_a, 'budget': budget, 'convergence': convergence, 'crossed': crossed, 'factors': factors,
           'headroom': headroom, 'lambda': logit_lambda, 'sampling': sampling, 'sensitivity': sensitivity, 'teachers': teachers,
           'teacher_course': teacher_course, 'vocoder': vocoder, 'warm_start': warm_start}
FIGURES = {**gaussian.FIGURES, **{figure: functools.partial(distillation.run, numbers=[figure]) for figure in SHARED},
           **{name: module.run for name, module in STUDIES.items()}}
# The sections that a figure takes from the config, where not every config with a teacher has them.
SECTIONS = {**{name: name for name in STUDIES}, **{name: 'figures' for name in (*SHARED, 'vocoder')},
            'lambda': 'lambda_study', 'teachers': 'teachers_study'}


def reproduce(figure: str, config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Makes a figure, or several with commas between, in workdir; returns their tables as text.

  Raises:
    InputError: there is no such figure, or the config has no settings for it; nothing was run then.
  """
  names = figure.split(',')
  for name in names:
    registry.choose('figure', FIGURES, name)
    section = SECTIONS.get(name)
    if section and (section not in config or section == 'figures' and name not in config[section]):
      raise InputError(f'This config has no settings for figure {name}: give another --config, or none for the default.')
  experiment = Experiment(config, pathlib.Path(workdir), command, devices)
  together = [name for name in names if name in SHARED]
  tables = []
  for name in names:
    if name not in SHARED:
      tables.append(FIGURES[name](experiment))
    elif name == together[0]:
      tables.append(distillation.run(experiment, together))
  return '\n\n'.join(tables)
