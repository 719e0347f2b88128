"""Data sets by name, their three parts, and spaces without their data."""
import json

import numpy as np
import pytest

from inverse_matching import random
from inverse_matching.data import catalogue
from inverse_matching.data.source import prepare_arrays
from inverse_matching.data.speech import world
from inverse_matching.data.speech.features import Features
from inverse_matching.errors import InputError

KEYS = random.keys_at(0, np.arange(4, dtype=np.uint32))


def load(**settings):
  return catalogue.load({'name': 'digits', 'logit_lambda': 0.01, **settings})


def again(space):
  """The space that its facts make, by way of JSON."""
  return catalogue.space(json.loads(json.dumps(space.facts)))


@pytest.mark.parametrize('logit_lambda', [None, 0.01])
def test_a_space_of_images_follows_from_its_facts(logit_lambda):
  """The same x of the same pixels, to the bit, and back; shapes and sizes."""
  source = load(logit_lambda=logit_lambda)
  one, two, pixels = source.space, again(source.space), source.data.train.pixels[:4]
  assert (one.event_shape, one.levels, one.epoch_size) == (two.event_shape, two.levels, two.epoch_size) == ((8, 8, 1), 17, 1617)
  x = one.codec.to_x(pixels, KEYS)
  np.testing.assert_array_equal(two.codec.to_x(pixels, KEYS), x)
  np.testing.assert_array_equal(two.codec.to_data(x), pixels)
  raw = {'pixels': pixels, 'position': np.arange(4, dtype=np.uint32)}
  np.testing.assert_array_equal(two.prepare(3)(raw).x, one.prepare(3)(raw).x)


def test_the_seed_decides_the_noise():
  """The same images at the same places have other noise, and other keys; what is no image has other keys."""
  raw = {'pixels': load().data.train.pixels[:4], 'position': np.arange(4, dtype=np.uint32)}
  one, two = (load().space.prepare(seed)(raw) for seed in (0, 1))
  assert not np.any(np.asarray(one.x) == np.asarray(two.x))
  arrays = {'x': np.ones((4, 2), np.float32), 'position': raw['position']}
  for first, second in ((one, two), (prepare_arrays(0)(arrays), prepare_arrays(1)(arrays))):
    assert not np.any(np.all(random.normal(first.key, (2,)) == random.normal(second.key, (2,)), axis=1))


def test_a_space_of_speech_follows_from_its_facts():
  """Features are normalised by the same numbers, float32 through JSON; what models take from it is the same."""
  width = len(world.names(8000, 24))
  rng = np.random.default_rng(0)
  features = Features(8000, 40, 24, rng.normal(size=width).astype(np.float32), rng.uniform(1, 2, width).astype(np.float32))
  facts = {'kind': 'speech', 'features': features.facts(), 'crop_frames': 10, 'burn_in_frames': 2, 'epoch_size': 7}
  one, two = catalogue.space(facts), again(catalogue.space(facts))
  for space in (one, two):
    np.testing.assert_array_equal(space.codec.mean, features.mean)
    np.testing.assert_array_equal(space.codec.std, features.std)
    assert space.event_shape == (None,) and space.model_settings == {'num_features': width} and space.epoch_size == 7
  x = rng.normal(size=(3, width)).astype(np.float32)
  np.testing.assert_allclose(two.codec.raw(two.codec.cond(np.zeros(120), x)), x, atol=1e-5)


def test_the_levels_are_those_of_the_data():
  """None takes them; others are refused."""
  assert load(levels=None).space.levels == load(levels=17).space.levels == 17


def test_validation_images_are_the_last_of_training():
  """Three parts without a common image; the held-out ones stand in where none are set apart, and stay as they are."""
  plain, split = load(), load(num_validation=100)
  assert plain.validation['pixels'] is plain.held_out['pixels'] and split.space.epoch_size == 1517
  np.testing.assert_array_equal(np.concatenate([split.train['pixels'], split.validation['pixels']]), plain.train['pixels'])
  np.testing.assert_array_equal(split.held_out['pixels'], plain.held_out['pixels'])
  assert len(split.data.train.labels) == 1517 and len(split.data.validation.labels) == 100
  for wrong in (0, 1617):
    with pytest.raises(InputError, match=f'num_validation is {wrong}, but there are 1617 training images: give 1 to 1616'):
      load(num_validation=wrong)


def test_an_unknown_kind_of_data():
  """Of another version, say."""
  with pytest.raises(InputError, match="Unknown kind of data 'tables'"):
    catalogue.space({'kind': 'tables'})
