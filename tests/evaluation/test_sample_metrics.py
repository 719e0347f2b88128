"""Rows of arms whose quality is known, with a stand-in for the classifier."""
import json

import numpy as np
import pytest
import scipy.special

from inverse_matching.data.images import dataset as images
from inverse_matching.evaluation import sample_metrics, set_distances, texture
from inverse_matching.runs.classifier import Observer

DIGITS = images.digits().data
TRAIN, HELD_OUT = DIGITS.train.pixels, DIGITS.held_out.pixels
CENTRES = np.stack([TRAIN[DIGITS.train.labels == k].mean(0).reshape(-1) for k in range(10)])
PROJECTION = np.random.default_rng(0).normal(size=(64, 6)) / 64


def stand_in() -> Observer:
  """Linear features, and classes by the nearest mean image."""
  flat = lambda pixels: np.asarray(pixels, np.float64).reshape(len(pixels), -1)

  def probabilities(pixels):
    logits = -np.square(flat(pixels)[:, None] - CENTRES).sum(-1) / 50
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)

  return Observer(lambda pixels: ((flat(pixels) @ PROJECTION).astype(np.float32), probabilities(pixels)), 10, 1.0, 'stand-in')


CLASSIFIER = stand_in()
SETTINGS = dict(memorisation=set_distances.memorisation(TRAIN, HELD_OUT), levels=17, seed=0)
FROM_TRAIN, OTHERS = TRAIN[:300], TRAIN[300:600]


@pytest.fixture(scope='module')
def references():
  """Some training images play the teacher."""
  make = lambda pixels, others: sample_metrics.make_reference(pixels, others, CLASSIFIER, levels=17, num=300, seed=0)
  return {'teacher': make(FROM_TRAIN, OTHERS), 'data': make(HELD_OUT, TRAIN)}


def rows_of(arm, pixels, references):
  """(metric, reference) -> row."""
  rows = sample_metrics.sample_rows(arm, pixels, references, CLASSIFIER, **SETTINGS)
  found = {(row['metric'], row['reference']): row for row in rows}
  assert len(found) == len(rows)
  return found


@pytest.fixture(scope='module')
def good(references):
  """Rows of other images of the same law."""
  return rows_of('teacher', OTHERS, references)


def test_rows_are_complete(good, references):
  """Each metric against each reference, with an interval around the value and a floor, as JSON."""
  metrics = {metric for metric, reference in good if reference == 'teacher'}
  assert metrics == {metric for metric, reference in good if reference == 'data'} == set(references['data'].floors)
  assert {reference for _, reference in good} == {'teacher', 'data', 'train'}
  for row in good.values():
    assert row['arm'] == 'teacher' and row['n'] == 300 and row['seed'] == 0
    assert row['low'] <= row['value'] <= row['high']
    assert all(type(row[name]) in (float, int) for name in ('value', 'low', 'high', 'floor'))
  json.dumps(list(good.values()), allow_nan=False)


def test_a_second_set_of_teacher_samples_is_the_floor(good):
  """The same numbers, but for the order of the samples and what a set has by itself."""
  for metric in ('kernel_distance', 'frechet_distance', 'precision', 'recall', 'density', 'coverage', 'sliced_wasserstein',
                 'label_total_variation', 'classes_present'):
    row = good[metric, 'teacher']
    np.testing.assert_allclose(row['value'], row['floor'], rtol=1e-9, atol=1e-12)


def test_samples_of_the_law_are_near_the_floors(good):
  """Against held-out images: the interval of an unbiased distance holds 0."""
  assert good['kernel_distance', 'data']['low'] < 0 < good['kernel_distance', 'data']['high']
  for metric in ('precision', 'recall', 'coverage', 'density', 'two_sample_accuracy', 'label_entropy', 'sharpness'):
    assert abs(good[metric, 'data']['value'] - good[metric, 'data']['floor']) < 0.12
  assert good['classes_present', 'data']['value'] == 10
  full = {'classes_present', 'coverage', 'memorisation_ratio'}  # all classes, all balls, all training images
  assert all(row['high'] - row['low'] > 1e-6 for (metric, _), row in good.items() if metric not in full)


def test_noisy_samples_are_far(references, good):
  """Every metric that should see noise does."""
  noise = np.random.default_rng(1).integers(0, 17, (300, 8, 8, 1))
  for (metric, reference), row in rows_of('noise', noise, references).items():
    if metric in ('kernel_distance', 'frechet_distance', 'sliced_wasserstein', 'sharpness', 'two_sample_accuracy'):
      assert row['low'] > good[metric, reference]['high'], metric
    if metric in ('precision', 'coverage', 'density'):
      assert row['high'] < good[metric, reference]['low'], metric


def test_copies_and_collapse(references):
  """Copies of training images are memorised; one image for all has full precision, no recall, one class; all is finite."""
  memorised = lambda rows: rows['memorisation_ratio', 'train']
  copies = rows_of('copies', TRAIN[600:900], references)
  assert memorised(copies)['high'] == 0 and memorised(copies)['floor'] > 0.8
  assert memorised(copies)['floor'] == np.median(SETTINGS['memorisation'].data)
  collapsed = rows_of('collapsed', np.repeat(TRAIN[:1], 300, axis=0), references)
  value = lambda metric: collapsed[metric, 'data']['value']
  assert value('precision') == 1 and value('recall') < 0.1 and value('coverage') < 0.2
  assert value('classes_present') == 1 and value('label_entropy') == 0 and value('label_total_variation') > 0.5
  label, labels = (CLASSIFIER.see(pixels)[1].argmax(1) for pixels in (TRAIN[:1], references['data'].samples.values))
  assert value('label_divergence') == pytest.approx(-np.log(np.mean(labels == label)), rel=0.02)  # not its converse
  assert value('label_divergence') == pytest.approx(np.log(10), rel=0.15)  # one class of ten that are about balanced
  blank = rows_of('blank', np.zeros((300, 8, 8, 1), int), references)
  for rows in (collapsed, blank):
    assert all(np.isfinite([row['value'], row['low'], row['high']]).all() for row in rows.values())


def test_black_and_white_images_are_apart_by_the_width_of_a_projection():
  """Grey levels count from 0 to 1: |1 . direction| in the mean, of 64 dimensions, whatever the number of levels."""
  expected = 8 * scipy.special.gamma(32) / (np.sqrt(np.pi) * scipy.special.gamma(32.5))
  found = []
  for levels in (2, 17, 256):
    black, white = (sample_metrics.sample_set(np.full((10, 8, 8, 1), level), CLASSIFIER) for level in (0, levels - 1))
    found.append(sample_metrics._against(black, white, levels, 0, intervals=False)['sliced_wasserstein'][0])
  np.testing.assert_allclose(found, found[0], rtol=1e-9)
  assert found[0] == pytest.approx(expected, rel=4 * np.sqrt((np.pi / 2 - 1) / set_distances.NUM_DIRECTIONS))


def test_large_references_are_thinned():
  """At most `num` images, so that the cost is that of the arms."""
  reference = sample_metrics.make_reference(TRAIN, HELD_OUT, CLASSIFIER, levels=17, num=50, seed=0)
  assert len(reference.samples.values) == len(reference.samples.features) == 50


def test_metrics_of_images_by_hand():
  """The coarse kernel distance is of pixels from -1 to 1; ratios of power are those of means; others are means."""
  noise = np.random.default_rng(1).integers(0, 17, FROM_TRAIN.shape)
  unit = lambda pixels: 2 * pixels / 16 - 1
  arm, reference = (sample_metrics.sample_set(pixels, CLASSIFIER) for pixels in (noise, FROM_TRAIN))
  found = {metric: value for metric, (value, _, _) in sample_metrics._against(arm, reference, 17, 0, intervals=False).items()}
  coarse = set_distances.kernel_statistic(unit(noise), unit(FROM_TRAIN))(np.arange(300), np.arange(300))
  assert 'kernel_distance_8x8' not in found  # it would be of all that these images have
  large = (each._replace(values=each.values.repeat(2, 1).repeat(2, 2)) for each in (arm, reference))
  value, _, _ = sample_metrics._against(*large, 17, 0, intervals=False)['kernel_distance_8x8']
  assert value == pytest.approx(coarse) != pytest.approx(found['kernel_distance'])
  powers = [texture.band_power(pixels / 16).mean(0) for pixels in (noise, FROM_TRAIN)]
  ratios = [found[f'log_power_ratio_{band}'] for band in texture.BANDS]
  np.testing.assert_allclose(ratios, np.log(powers[0] / powers[1]), atol=0.05)  # but for the power of rounding
  assert found['fine_power_error'] == abs(ratios[-1]) > 0.3
  alone = sample_metrics._alone(arm, 17, 0)
  for metric, of_image in (('sharpness', texture.sharpness), ('stripe_score', texture.stripe_score),
                           ('stripe_share', texture.stripe_share)):
    assert alone[metric][0] == pytest.approx(of_image(noise).mean())
