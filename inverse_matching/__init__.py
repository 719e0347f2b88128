"""Probability distillation by inverse matching: autoregressive teachers distilled into samplers of one pass.

The names below are the door of the library; the folders hold the rest. They are imported when they are first asked for, so
that `import inverse_matching` costs nothing.
"""
import importlib
from typing import Any

__version__ = '0.1.0'

_DOOR = {
    'Batch': 'types', 'Gaussian': 'types', 'Student': 'types', 'StudentOutput': 'types', 'Teacher': 'types',
    'InputError': 'errors',
    'autoregressive': 'teachers.build', 'chain': 'teachers.build', 'from_transform': 'teachers.build',
    'flow': 'students.flow',
    'standard_normal': 'elementwise.priors',
    'dequantise_logit': 'data.images.dequantise', 'dequantise_uniform': 'data.images.dequantise',
    'solve': 'solvers',
    'losses': '',
}
__all__ = [*_DOOR]


def __getattr__(name: str) -> Any:
  if name not in _DOOR:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  if not _DOOR[name]:  # a folder
    return importlib.import_module(f'{__name__}.{name}')
  return getattr(importlib.import_module(f'{__name__}.{_DOOR[name]}'), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_DOOR])
