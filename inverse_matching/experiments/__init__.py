"""Figures of the paper by name."""
from typing import Any, Mapping

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.experiments import figure4

FIGURES = {'4': figure4.run}


def reproduce(figure: str, config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Makes a figure and its numbers in workdir; returns the table as text. InputError if there is no such figure."""
  if figure not in FIGURES:
    raise InputError(f'Unknown figure {figure!r}{registry.nearest(figure, FIGURES)}: use one of {", ".join(FIGURES)}.')
  return FIGURES[figure](config, workdir, command, devices)
