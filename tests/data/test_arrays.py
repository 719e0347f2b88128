"""A user's own arrays: what is in the file is what is trained on, and what cannot be is refused in a sentence."""
import json

import numpy as np
import pytest
import scipy.stats

from inverse_matching import teachers
from inverse_matching.data import catalogue
from inverse_matching.errors import InputError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 200, (30, 4, 6), dtype=np.uint8)
LABELS = np.arange(30) % 3
ROWS = RNG.normal(size=(40, 3)) * [1, 100, 1e-3] + [5, -1e4, 0]


@pytest.fixture
def load(tmp_path):
  """(data, settings of config.data) -> Source: an array as .npy, a dict as .npz."""

  def load(data, **settings):
    path = tmp_path / ('x.npz' if isinstance(data, dict) else 'x.npy')
    np.savez(path, **data) if isinstance(data, dict) else np.save(path, data)
    return catalogue.load({'name': 'arrays', 'path': str(path), **settings})

  return load


def rows_of(parts):
  """As a sorted list, to compare sets of examples."""
  return sorted(tuple(row.reshape(-1)) for part in parts for row in part)


def test_a_run_does_not_go_on_with_another_file(tmp_path):
  """Its content is noted with its place, and a link may take that place."""
  path = tmp_path / 'mine.npy'
  np.save(path, PIXELS)
  noted = catalogue.settled({'name': 'arrays', 'path': str(path)})
  assert catalogue.load(noted).space.epoch_size == 27
  path.rename(tmp_path / 'elsewhere.npy')
  with pytest.raises(InputError, match=r'mine.npy, where there is no file now: put that file, or a link to it, there'):
    catalogue.load(noted)
  path.symlink_to(tmp_path / 'elsewhere.npy')
  assert catalogue.load(noted).space.epoch_size == 27
  path.unlink()
  np.save(path, PIXELS[::-1])
  with pytest.raises(InputError, match='is another file than the one that was trained on'):
    catalogue.load(noted)


@pytest.mark.parametrize('data', [PIXELS, PIXELS[..., None].astype(np.int64), {'x': PIXELS}, {'images': PIXELS}])
def test_images(load, data):
  """Every image is in one of two parts, without and with labels; the channel axis is added."""
  source = load(data, held_out=0.2)
  parts = source.data.train.pixels, source.data.held_out.pixels
  assert [len(part) for part in parts] == [24, 6] and source.space.event_shape == (4, 6, 1) and source.space.levels == 256
  assert rows_of(parts) == rows_of([PIXELS]) and source.data.train.labels is source.data.held_out.labels is None
  split = load(data, held_out=0.2, num_validation=4)
  assert rows_of([split.data.train.pixels, split.data.validation.pixels]) == rows_of(parts[:1])


def test_labels_stay_with_their_images(load):
  """Through the split by chance."""
  source = load({'x': PIXELS, 'labels': LABELS}, split_seed=3)
  number = {tuple(image.reshape(-1)): label for image, label in zip(PIXELS, LABELS)}
  for part in (source.data.train, source.data.held_out):
    assert [number[tuple(image.reshape(-1))] for image in part.pixels] == list(part.labels)


def test_a_part_that_is_held_out_already(load):
  """Has its images with their labels, and no others."""
  source = load({'x': PIXELS[:20], 'labels': LABELS[:20], 'held_out': PIXELS[20:], 'held_out_labels': LABELS[20:]})
  number = {tuple(image.reshape(-1)): label for image, label in zip(PIXELS, LABELS)}
  for part, given in ((source.data.train, PIXELS[:20]), (source.data.held_out, PIXELS[20:])):
    assert rows_of([part.pixels]) == rows_of([given])
    assert [number[tuple(image.reshape(-1))] for image in part.pixels] == list(part.labels)


def test_parts_of_a_sorted_file_have_all_classes(load):
  """What is set apart for validation, and the first images of each part, by which models are judged; split_seed chooses."""
  labels = np.repeat(np.arange(5), 40)
  x = labels[:, None, None] * np.ones((1, 2, 2), np.uint8)
  given = {'x': x, 'labels': labels, 'held_out': x, 'held_out_labels': labels}
  source = load(given, num_validation=40)
  for part in (source.data.validation.labels, source.data.train.labels[:40], source.data.held_out.labels[:40]):
    assert set(part) == set(range(5))
  again, other = (load(given, num_validation=40, split_seed=seed).data.validation.labels for seed in (0, 1))
  np.testing.assert_array_equal(again, source.data.validation.labels)
  assert np.any(other != again)
  rows = np.repeat([[0.0], [1.0]], 100, 0)
  table = load({'x': rows, 'held_out': rows}, num_validation=40).data
  assert 0 < (table.validation > 0).mean() < 1 and 0 < (table.held_out[:40] > 0).mean() < 1


@pytest.mark.parametrize('largest,stated,levels', [(1, None, 2), (16, None, 17), (127, None, 128), (128, None, 256),
                                                   (255, None, 256), (300, None, 301), (100, 200, 200)])
def test_levels(load, largest, stated, levels):
  """Found or stated."""
  assert load(np.arange(2 * 12).reshape(2, 3, 4) % 2 * largest, held_out=0.5, levels=stated).space.levels == levels


def test_a_table(load):
  """Standardised by its training part; back in its own units; and again from its facts."""
  source = load(ROWS, num_validation=5)
  table, codec = source.data, source.space.codec
  assert [len(part) for part in (table.train, table.validation, table.held_out)] == [31, 5, 4]
  np.testing.assert_allclose(table.train.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(table.train.std(0), 1, rtol=1e-5)
  found = np.sort(codec.to_data(np.concatenate([table.train, table.validation, table.held_out])), 0)
  np.testing.assert_allclose(found, np.sort(ROWS, 0), rtol=1e-5, atol=1e-8)
  again = catalogue.space(json.loads(json.dumps(source.space.facts)))
  np.testing.assert_array_equal(again.codec.to_data(table.train), codec.to_data(table.train))
  assert again.event_shape == source.space.event_shape == (3,) and again.levels is None


def test_nats_of_a_table_are_in_its_own_units(load):
  """Of the standard normal law in the teacher's space, those of the normal law with the training part's moments."""
  source = load(ROWS)
  teacher = teachers.make('gaussian', (3,))
  params = {'mean': np.zeros(3, np.float32), 'matrix': np.eye(3, dtype=np.float32)}
  nats = source.space.codec.log_likelihood(teacher.log_prob(params, source.data.held_out))
  rows = source.space.codec.to_data(source.data.held_out)
  train = source.space.codec.to_data(source.data.train)
  expected = scipy.stats.norm.logpdf(rows, train.mean(0), train.std(0)).sum(1)
  np.testing.assert_allclose(nats, expected, rtol=1e-4)


WRONG = {
    'floats as images': (PIXELS / 200, 'float64 [30, 4, 6] as x: images are integers', 'numpy.round(255 * x).astype("uint8")'),
    'negative': (PIXELS.astype(int) - 1, 'with values from -1: images are integers 0..levels - 1'),
    'channels first': (np.zeros((9, 3, 8, 8), np.uint8), '1 or 3 channels, which come last'),
    'a vector': (np.zeros(9, np.uint8), 'images are [N, H, W]'),
    'integers [N, D]': (np.zeros((9, 4), int), 'a table is [N, D] of floats'),
    'empty': (np.zeros((0, 4, 4), np.uint8), 'give two examples or more'),
    'one example': (PIXELS[:1], 'give two examples or more'),
    'text': (np.array([['a'], ['b']]), 'give integers (images) or floats (a table)'),
    'not a number': (np.where(np.arange(120).reshape(40, 3) == 7, np.nan, ROWS), '1 of its values are not finite',
                     'row 2, column 1'),
    'a constant column': (ROWS * [1, 0, 1], 'Column 1 of the table is constant in the training part'),
    'objects': (np.array([{}, {}]), 'cannot be read as arrays', 'without objects'),
    'unknown names': ({'x': PIXELS, 'y': LABELS}, 'holds x, y: name its arrays x, labels, held_out'),
    'no x': ({'held_out': PIXELS, 'labels': LABELS}, 'of which x alone must be there'),
    'too few labels': ({'x': PIXELS, 'labels': LABELS[:3]}, 'one for each of the 30 examples of x'),
    'labels of floats': ({'x': PIXELS, 'labels': LABELS / 2}, 'labels are integers from 0'),
    'labels of one part': ({'x': PIXELS, 'labels': LABELS, 'held_out': PIXELS}, 'give labels and held_out_labels, or neither'),
    'labels of one class': ({'x': PIXELS, 'labels': 0 * LABELS}, 'are all the same: leave them out'),
    'parts of two shapes': ({'x': PIXELS, 'held_out': PIXELS[:, :3]}, 'must have one shape and type'),
    'parts of two types': ({'x': ROWS, 'held_out': PIXELS}, 'must have one shape and type'),
}


@pytest.mark.parametrize('name', WRONG)
def test_what_is_wrong_in_the_file(load, name):
  """One sentence that says what was found and what is allowed."""
  data, *words = WRONG[name]
  with pytest.raises(InputError) as error:
    load(data)
  assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize('settings,message', [
    ({'levels': 100}, 'values up to 199, but config.data.levels is 100: set it to 200 or more'),
    ({'held_out': 1.0}, 'held_out must be a share between 0 and 1'),
    ({'held_out': 0.001}, 'which is 0 of 30 examples'),
    ({'split_seed': -1}, 'split_seed must be at least 0'),
    ({'num_validation': 27}, 'there are 27 training images'),
])
def test_wrong_settings(load, settings, message):
  """As for other data."""
  with pytest.raises(InputError, match=message):
    load(PIXELS, **settings)


def test_no_file(tmp_path, load):
  """Not named, not there, a folder, or of another format."""
  (tmp_path / 'x.txt').write_text('1,2')
  for path, message in ((None, 'path is not set'), (f'{tmp_path}/none.npy', 'which is no file'),
                        (str(tmp_path), 'which is no file'),
                        (f'{tmp_path}/x.txt', 'cannot be read as arrays')):
    with pytest.raises(InputError, match=message):
      catalogue.load({'name': 'arrays', 'path': path})
  with pytest.raises(InputError, match='holds a table of floats: take a config such as configs/table.py'):
    load(ROWS, logit_lambda=0.1)
