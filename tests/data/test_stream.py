"""The digits and the stream of batches."""
import grain
import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from inverse_matching.data import catalogue
from inverse_matching.data.stream import Stream
from inverse_matching.errors import InputError


def load(**settings):
  return catalogue.load({'name': 'digits', 'levels': 17, **settings})


@pytest.fixture(scope='module')
def digits():
  return load().data


def as_set(split):
  return [(image.tobytes(), int(label)) for image, label in zip(split.pixels, split.labels)]


def test_digits_split(digits):
  """1,617 and 180 images of 17 levels; together they are the 1,797 of scikit-learn, each once, with their labels."""
  from sklearn.datasets import load_digits
  assert len(digits.train.pixels) == len(digits.train.labels) == 1617 and len(digits.held_out.pixels) == 180
  assert load().space.event_shape == (8, 8, 1) and digits.levels == 17
  everything = np.concatenate([digits.train.pixels, digits.held_out.pixels])
  assert everything.min() == 0 and everything.max() == 16 and everything.dtype == np.uint8
  bunch = load_digits()
  expected = [(image.astype(np.uint8).tobytes(), int(label)) for image, label in zip(bunch.images, bunch.target)]
  assert sorted(as_set(digits.train) + as_set(digits.held_out)) == sorted(expected)
  assert set(as_set(digits.train)).isdisjoint(as_set(digits.held_out))
  assert np.bincount(digits.held_out.labels, minlength=10).min() > 5, 'the split is not mixed'


def test_digits_split_depends_on_its_seed_alone(digits):
  """The same seed, the same split; another seed, another."""
  again = load().data
  np.testing.assert_array_equal(again.train.pixels, digits.train.pixels)
  other = load(split_seed=1).data
  assert set(as_set(other.held_out)) != set(as_set(digits.held_out))


def test_wrong_data_settings_get_a_sentence():
  """Levels, share and name."""
  with pytest.raises(InputError, match='config.data.levels is 256, but digits has 17 grey levels'):
    load(levels=256)
  with pytest.raises(InputError, match='held_out must be a share between 0 and 1, got 1.0'):
    load(held_out=1.0)
  with pytest.raises(InputError, match="Unknown data set 'digit' .did you mean 'digits'"):
    load(name='digit')


@hypothesis.settings(max_examples=15)
@hypothesis.given(size=strategies.integers(2, 40), batch_size=strategies.integers(1, 12), seed=strategies.integers(0, 100))
def test_stream(size, batch_size, seed):
  """Each epoch is a permutation, positions count up, stream[step] depends on step alone, in any order of asking."""
  stream = Stream({'x': np.arange(size) * 10, 'y': np.arange(size)}, batch_size, seed)
  assert stream.steps_per_epoch == int(np.ceil(size / batch_size))
  num_steps = -(-3 * size // batch_size)
  backwards = {step: stream[step] for step in reversed(range(num_steps))}
  again = Stream({'x': np.arange(size) * 10, 'y': np.arange(size)}, batch_size, seed)
  for step in range(num_steps):
    for name, value in again[step].items():
      np.testing.assert_array_equal(value, backwards[step][name])
  seen = np.concatenate([backwards[step]['y'] for step in range(num_steps)])
  np.testing.assert_array_equal(np.concatenate([backwards[step]['x'] for step in range(num_steps)]), seen * 10)
  positions = np.concatenate([backwards[step]['position'] for step in range(num_steps)])
  np.testing.assert_array_equal(positions, np.arange(num_steps * batch_size))
  assert positions.dtype == np.uint32
  for epoch in range(3):
    np.testing.assert_array_equal(np.sort(seen[epoch * size:(epoch + 1) * size]), np.arange(size))


def test_the_order_is_that_of_grain():
  """The indices of a seeded, shuffled range: results that were made with it do not change."""
  order = grain.MapDataset.range(20).seed(3).shuffle().repeat(None)
  stream = Stream({'y': np.arange(20)}, 6, 3)
  np.testing.assert_array_equal(np.concatenate([stream[step]['y'] for step in range(8)]), [order[i] for i in range(48)])


def test_epochs_and_seeds_differ():
  """Every epoch has its own order, and every seed."""
  order = lambda seed, epoch: tuple(Stream({'y': np.arange(50)}, 50, seed)[epoch]['y'])
  assert len({order(seed, epoch) for seed in range(3) for epoch in range(4)}) == 12
