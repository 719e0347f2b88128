"""Figures of the paper by name."""
import functools
from typing import Any, Mapping

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.experiments import distillation, gaussian, sampling

FIGURES = {**gaussian.FIGURES, **{figure: functools.partial(distillation.run, figure=figure) for figure in ('4', '5')},
           'sampling': sampling.run}


def reproduce(figure: str, config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Makes a figure, or several with commas between, in workdir; returns their tables as text.

  Raises:
    InputError: there is no such figure; nothing was run then.
  """
  names = figure.split(',')
  for name in names:
    if name not in FIGURES:
      raise InputError(f'Unknown figure {name!r}{registry.nearest(name, FIGURES)}: use one of {", ".join(FIGURES)}.')
  return '\n\n'.join(FIGURES[name](config, workdir, command, devices) for name in names)
