"""Crops of utterances: what counts, where it stands, and that nothing is lost."""
import numpy as np
import pytest

from inverse_matching.data import source
from inverse_matching.data.speech import crops
from inverse_matching.errors import InputError

HOP = 4


def utterance(num_frames, first):
  """Samples and features that say where they stand."""
  x = first + np.arange(num_frames * HOP, dtype=np.float32)
  return {'x': x, 'z': -x, 'cond': x[::HOP, None] + np.zeros((1, 2), np.float32)}


UTTERANCES = [utterance(n, 1000 * (i + 1)) for i, n in enumerate((23, 3, 10, 11))]


@pytest.mark.parametrize('num_frames, burn_in', [(10, 0), (10, 4), (7, 4), (30, 7)])
def test_every_sample_counts(num_frames, burn_in):
  """In some crop, with its own features and noise, with its burn-in in front of it and its next frame behind it."""
  examples = crops.crops(UTTERANCES, num_frames=num_frames, burn_in=burn_in)
  seen = set()
  for crop in examples:
    assert crop['x'].shape == crop['mask'].shape == crop['z'].shape == (num_frames * HOP,)
    assert crop['cond'].shape == (num_frames, 2)
    counted = np.flatnonzero(crop['mask'])
    x = crop['x'][counted]
    np.testing.assert_array_equal(np.diff(x), 1)  # in one piece
    np.testing.assert_array_equal(crop['z'][counted], -x)
    np.testing.assert_array_equal(crop['cond'][counted // HOP, 0], x - x % HOP)
    place = int(x[0]) % 1000  # in its utterance
    assert counted[0] == min(place, burn_in * HOP), 'the past is that of the utterance, or burn_in frames'
    np.testing.assert_array_equal(crop['x'][:counted[0]], x[0] - np.arange(counted[0], 0, -1))
    behind = crop['cond'][counted[-1] // HOP + 1, 0]
    ends = (int(x[-1]) + 1) in {1000 * (i + 1) + len(u['x']) for i, u in enumerate(UTTERANCES)}
    assert behind == (0 if ends else x[-1] + 1), 'the next frame is there, or there is none'
    seen |= set(x)
  assert seen == set(np.concatenate([u['x'] for u in UTTERANCES]))


@pytest.mark.parametrize('length', [1, 3, 8, 24, 40, 101])
def test_every_frame_has_the_same_weight(length):
  """In the sum over crops of means over what they count, but for blocks that are a frame longer than others."""
  weights = np.zeros(length)
  found = crops.windows(length, 8)
  for first, after in found:
    assert 0 < after - first <= 8
    weights[first:after] += 1 / (after - first)
  assert weights.min() > 0.75 * weights.max()
  if length % 4 == 0:
    np.testing.assert_allclose(weights, weights[0])


def test_what_ends_a_window_is_within_another():
  """No place is always the end of what counts, but the ends of the utterance."""
  found = crops.windows(40, 8)
  for _, after in found[:-1]:
    assert after == 40 or any(first < after < other for first, other in found)


def test_stack_is_all_of_them():
  """As arrays, in order."""
  examples = crops.crops(UTTERANCES, num_frames=10, burn_in=4)
  stacked = source.stack(examples)
  assert len(stacked['x']) == len(examples)
  np.testing.assert_array_equal(stacked['cond'][-1], examples[len(examples) - 1]['cond'])


@pytest.mark.parametrize('num_frames, burn_in', [(4, 4), (6, 4), (4, -1)])
def test_a_crop_that_counts_nothing_is_refused(num_frames, burn_in):
  """With the fields to change."""
  with pytest.raises(InputError, match='too little that counts.*crop_frames'):
    crops.crops(UTTERANCES, num_frames=num_frames, burn_in=burn_in)
