"""Utterances of different lengths as examples of one length."""
from typing import Mapping, Sequence

import grain
import numpy as np

from inverse_matching.errors import InputError

AHEAD = 1  # frames behind what counts: a model may look that far, and behind a crop there would be false zeros


def windows(num_frames: int, size: int) -> list[tuple[int, int]]:
  """Where crops of an utterance count, (first frame, frame after the last), so that each frame has the same weight.

  The utterance is cut into blocks of equal length. Every two neighbours are a window, so that what stands at the end of one
  stands in the middle of the next; the first and the last block are one each. A loss is a mean over what a crop counts: a frame
  in a window of two blocks has half the weight of one in a window of one, so the former are there twice.

  Args:
    num_frames: of the utterance.
    size: frames of a window, at most.
  """
  num_blocks = -(-num_frames // (size // 2))
  edges = [round(k * num_frames / num_blocks) for k in range(num_blocks + 1)]
  pairs = [(edges[k - 1], edges[k + 1]) for k in range(1, num_blocks)]
  return [(edges[0], edges[1]), *pairs, *pairs, (edges[-2], edges[-1])]


def crops(utterances: Sequence[Mapping[str, np.ndarray]], *, num_frames: int, burn_in: int) -> grain.MapDataset:
  """Crops of `num_frames` frames whose counted parts cover each utterance evenly, see `windows`.

  A crop is read from a model's state at the start of an utterance. Where it begins later, the `burn_in` frames in front of
  what counts give the model a past; nothing is carried from crop to crop. One frame or more behind what counts is there too,
  but for the end of the utterance. Behind that there are zeros, which do not count.

  Args:
    utterances: each with 'x' [T] and 'cond' [F, D], T a multiple of F, and perhaps 'z' [T].
    num_frames: of a crop.
    burn_in: frames.

  Returns:
    Crops by index, dicts of 'x', 'mask' (and 'z') [num_frames * hop] and 'cond' [num_frames, D].

  Raises:
    InputError: a crop has fewer than 3 frames more than its burn-in.
  """
  size = num_frames - burn_in - AHEAD
  if burn_in < 0 or size < 2:
    raise InputError(f'A crop of {num_frames} frames with a burn-in of {burn_in} has too little that counts: make '
                     'config.data.crop_frames larger or config.data.burn_in_frames smaller.')
  places = [(i, *window) for i, utterance in enumerate(utterances) for window in windows(len(utterance['cond']), size)]

  def crop(place: tuple[int, int, int]) -> dict[str, np.ndarray]:
    index, first, after = place
    utterance, start = utterances[index], max(first - burn_in, 0)
    hop = len(utterance['x']) // len(utterance['cond'])

    def cut(value: np.ndarray, step: int) -> np.ndarray:
      out = np.zeros((num_frames * step, *value.shape[1:]), np.float32)
      part = value[start * step:(start + num_frames) * step]
      out[:len(part)] = part
      return out

    mask = np.zeros(len(utterance['x']), np.float32)
    mask[first * hop:after * hop] = 1
    samples = {name: cut(utterance[name], hop) for name in ('x', 'z') if name in utterance}
    return {**samples, 'mask': cut(mask, hop), 'cond': cut(utterance['cond'], 1)}

  return grain.MapDataset.range(len(places)).map(lambda i: crop(places[i]))
