"""Utterances of different lengths as examples of one length."""
from typing import Mapping, Sequence

import grain
import numpy as np

from inverse_matching.errors import InputError


def crops(utterances: Sequence[Mapping[str, np.ndarray]], *, num_frames: int, burn_in: int) -> grain.MapDataset:
  """Crops of `num_frames` frames whose counted parts cover each utterance, every time step the same number of times or more.

  A crop is read from a model's state at the start of an utterance. Where it begins later, the `burn_in` frames in front of
  what counts give the model a past; nothing is carried from crop to crop. Behind the end of an utterance there are zeros, which
  do not count.

  Args:
    utterances: each with 'x' [T] and 'cond' [F, D], T a multiple of F, and perhaps 'z' [T].
    num_frames: of a crop.
    burn_in: frames.

  Returns:
    Crops by index, dicts of 'x', 'mask' (and 'z') [num_frames * hop] and 'cond' [num_frames, D].

  Raises:
    InputError: a crop does not have more frames than its burn-in.
  """
  counted = num_frames - burn_in
  if burn_in < 0 or counted < 1:
    raise InputError(f'A crop of {num_frames} frames with a burn-in of {burn_in} counts nothing: make config.data.crop_frames '
                     'larger or config.data.burn_in_frames smaller.')
  # Half a crop apart, so that what stands at the end of one stands in the middle of the next.
  places = [(i, start) for i, utterance in enumerate(utterances)
            for start in range(0, max(len(utterance['cond']) - burn_in, 1), max(counted // 2, 1))]

  def crop(place: tuple[int, int]) -> dict[str, np.ndarray]:
    index, start = place
    utterance = utterances[index]
    hop = len(utterance['x']) // len(utterance['cond'])

    def cut(value: np.ndarray, step: int) -> np.ndarray:
      out = np.zeros((num_frames * step, *value.shape[1:]), np.float32)
      part = value[start * step:(start + num_frames) * step]
      out[:len(part)] = part
      return out

    mask = np.ones(len(utterance['x']), np.float32)
    mask[:(start + burn_in) * hop if start else 0] = 0
    samples = {name: cut(utterance[name], hop) for name in ('x', 'z') if name in utterance}
    return {**samples, 'mask': cut(mask, hop), 'cond': cut(utterance['cond'], 1)}

  return grain.MapDataset.range(len(places)).map(lambda i: crop(places[i]))
