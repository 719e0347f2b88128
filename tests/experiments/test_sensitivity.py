"""How far T^-1(z) moves as z does."""
import json

from commands import launched
import numpy as np
from PIL import Image
import pytest

from inverse_matching.experiments import sensitivity
from inverse_matching.experiments.experiment import Rows

NUM, SHAPE = 400, (4, 4, 1)
Z, OTHER = np.random.default_rng(0).normal(size=(2, NUM, *SHAPE)).astype(np.float32)


def test_every_point_is_a_prior_draw():
  """z(e) has unit variance, correlates with z as sqrt(1 - e^2), and is the other draw at e = 1."""
  points = sensitivity.points(Z, OTHER)
  np.testing.assert_allclose(points[-1], OTHER)
  for weight, each in zip(sensitivity.WEIGHTS, points):
    assert np.var(each) == pytest.approx(1, abs=0.05)
    assert np.mean(each * Z) == pytest.approx(np.sqrt(1 - weight**2), abs=0.05)


def _rows(function):
  moved = np.stack([function(each) for each in sensitivity.points(Z, OTHER)])
  return sensitivity.moved_rows('teacher', function(Z), moved, seed=0)


def test_a_linear_map_has_the_number_of_every_linear_map():
  """E |A (z(e) - z)|^2 / E |A (v - z)|^2 = 1 - sqrt(1 - e^2) for an ill-conditioned A too: within the interval at every e."""
  matrix = np.random.default_rng(1).normal(size=(16, 16)) * np.logspace(-2, 1, 16)
  rows = _rows(lambda z: (z.reshape(NUM, 16) @ matrix + 3).reshape(z.shape))
  for row, weight in zip(rows, sensitivity.WEIGHTS, strict=True):
    assert row['reference'] == str(weight) and row['floor'] == pytest.approx(1 - np.sqrt(1 - weight**2))
    assert row['low'] - 1e-9 <= row['floor'] <= row['high'] + 1e-9
  assert rows[-1]['value'] == 1


def test_a_map_that_jumps_moves_farther():
  """sign(z): it jumps with probability arccos(sqrt(1 - e^2)) / pi, of jumps at e = 1 in half of the cases."""
  for row, weight in zip(_rows(np.sign), sensitivity.WEIGHTS):
    assert row['value'] == pytest.approx(2 * np.arccos(np.sqrt(1 - weight**2)) / np.pi, rel=0.25)
    assert weight == 1 or row['value'] > row['floor']


@pytest.mark.slow
def test_the_figure(tmp_path):
  """The teacher of the smoke test; it is read again where it was made."""
  command = ('reproduce', '--figure=sensitivity', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  launched(*command)
  first = (tmp_path / 'sensitivity.json').read_bytes()
  rows = Rows(json.loads(first)['rows'])
  assert rows.distinct('reference') == [str(weight) for weight in sensitivity.WEIGHTS]
  assert all(row['low'] <= row['value'] <= row['high'] for row in rows)
  assert Image.open(tmp_path / 'sensitivity.png').width > 600
  launched(*command)
  assert (tmp_path / 'sensitivity.json').read_bytes() == first
