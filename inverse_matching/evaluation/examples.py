"""Examples as the metrics see them, integer images or standardised rows, and as the teacher does."""
from typing import Any

import numpy as np

from inverse_matching import random
from inverse_matching.data.images.dataset import Images, Split
from inverse_matching.data.table import Table
from inverse_matching.errors import InputError
from inverse_matching.evaluation import statistics
from inverse_matching.runs import TeacherRun
from inverse_matching.runtime.processes import map_examples

OUT = 3.0  # a Gaussian conditional has a tail: of a teacher of MNIST that does not run away 4% of the samples are beyond 1.5


def values_of(run: TeacherRun, part: str) -> np.ndarray:
  """The examples of a part of the data as the metrics see them, [N, *event]: integer images, or standardised rows.

  Raises:
    InputError: these data are neither.
  """
  data = run.source.data
  return getattr(data, part) if isinstance(data, Table) else getattr(images_of(run), part).pixels


def to_values(run: TeacherRun, x: np.ndarray) -> np.ndarray:
  """The same of x [N, *event] in the teacher's space."""
  return to_pixels(run, x) if run.space.levels is not None else np.asarray(x)


def images_of(run: TeacherRun) -> Images:
  """The data of a teacher of images; InputError if it is of something else."""
  data = run.source.data
  if not isinstance(data, Images):
    raise InputError('These numbers are those of images, and this is a model of something else: speech is measured by '
                     'launch.reproduce --figure=vocoder.')
  return data


def to_pixels(run: TeacherRun, x: np.ndarray) -> np.ndarray:
  """Integers [N, *event] of x [N, *event] in the teacher's space."""
  return np.asarray(run.space.codec.to_data(x))


def range_rows(arm: str, run: TeacherRun, x: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
  """The share of samples x [N, *event] of images that have a sub-pixel far out of the range of all images, by OUT times half of
  its width from its middle: of a sampler that runs away, one sub-pixel drawing the next one farther out. Its floor is 0."""
  if run.space.levels is None:
    return []
  low, high = run.space.codec.range
  farthest = np.abs(np.asarray(x) - (low + high) / 2).reshape(len(x), -1).max(-1)
  is_out = ~(farthest <= OUT * (high - low) / 2)  # which what is not finite is too
  return [statistics.row(arm, 'out_of_range', None, statistics.share(is_out), n=len(x), seed=seed, floor=0.0)]


def encode_split(run: TeacherRun, split: Split | np.ndarray, seed: int, devices: int | None = None, *,
                 num: int | None = None) -> np.ndarray:
  """x [N, *event] in the teacher's space of the first `num` images, or all; dequantisation noise from the seed. Rows of a table
  are there already."""
  if not isinstance(split, Split):
    return split[:num]
  to_x = map_examples(lambda _, pixels, p: run.space.codec.to_x(pixels, random.keys_at(seed, p)), devices)
  pixels = split.pixels[:num]
  return to_x(None, pixels, np.arange(len(pixels), dtype=np.uint32))
