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
    teacher_course,
    teachers,
    vocoder,
    warm_start,
)
from inverse_matching.experiments.experiment import Experiment

SHARED = ('4', '5', '6')  # made together where several are asked for: of one teacher, one set of samples
FIGURES = {**gaussian.FIGURES, **{figure: functools.partial(distillation.run, numbers=[figure]) for figure in SHARED},
           'appendix_a': appendix_a.run, 'lambda': logit_lambda.run, 'sampling': sampling.run, 'teachers': teachers.run,
           'vocoder': vocoder.run, 'headroom': headroom.run, 'warm_start': warm_start.run,
           'convergence': convergence.run, 'crossed': crossed.run,
           'factors': factors.run, 'teacher_course': teacher_course.run, 'budget': budget.run}
# The sections that a figure takes from the config, where not every config with a teacher has them.
SECTIONS = {'4': 'figures', '5': 'figures', '6': 'figures', 'appendix_a': 'appendix_a', 'lambda': 'lambda_study',
            'sampling': 'sampling', 'teachers': 'teachers_study', 'vocoder': 'figures', 'warm_start': 'warm_start',
            'headroom': 'headroom', 'convergence': 'convergence',
            'crossed': 'crossed', 'factors': 'factors',
            'teacher_course': 'teacher_course', 'budget': 'budget'}


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
