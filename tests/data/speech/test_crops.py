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


@pytest.mark.parametrize('num_frames, burn_in', [(10, 0), (10, 4), (5, 4), (30, 7)])
def test_every_sample_counts(num_frames, burn_in):
  """In some crop, with its own features and noise, and with its burn-in in front of it."""
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
    assert place == 0 and counted[0] == 0 or counted[0] == burn_in * HOP, 'the past is that of the utterance, or burn_in frames'
    np.testing.assert_array_equal(crop['x'][:counted[0]], x[0] - np.arange(counted[0], 0, -1))
    assert not crop['x'][counted[-1] + 1:].any(), 'zeros behind the end'
    seen |= set(x)
  assert seen == set(np.concatenate([u['x'] for u in UTTERANCES]))


def test_crops_overlap_by_half_of_what_counts():
  """No place is always the end of a crop."""
  examples = crops.crops([utterance(40, 0)], num_frames=12, burn_in=4)
  starts = [crop['cond'][0, 0] / HOP for crop in examples]
  assert starts == [*range(0, 36, 4)]


def test_stack_is_all_of_them():
  """As arrays, in order."""
  examples = crops.crops(UTTERANCES, num_frames=10, burn_in=4)
  stacked = source.stack(examples)
  assert len(stacked['x']) == len(examples)
  np.testing.assert_array_equal(stacked['cond'][-1], examples[len(examples) - 1]['cond'])


@pytest.mark.parametrize('num_frames, burn_in', [(4, 4), (4, -1)])
def test_a_crop_that_counts_nothing_is_refused(num_frames, burn_in):
  """With the fields to change."""
  with pytest.raises(InputError, match='counts nothing.*crop_frames'):
    crops.crops(UTTERANCES, num_frames=num_frames, burn_in=burn_in)
