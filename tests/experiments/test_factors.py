"""A half fraction of four factors."""
import itertools
import json

from commands import launched
import numpy as np
import pytest

from inverse_matching.experiments import factors


def test_the_design_is_balanced_and_orthogonal():
  """Every factor is as often high as low, with every level of every other; no main effect is one of two factors together."""
  x = np.array(factors.design())
  assert x.shape == (8, 4)
  np.testing.assert_array_equal(x.T @ x, 8 * np.eye(4))
  np.testing.assert_array_equal(x.sum(0), 0)
  for i, j in itertools.combinations(range(4), 2):
    np.testing.assert_array_equal((x[:, i] * x[:, j]) @ x, 0)


def test_effects_of_a_sum():
  """What is put in comes out, for each seed."""
  x = np.array(factors.design())
  values = np.array([5 + x @ [1.0, -2.0, 0.0, 0.5], 7 + x @ [0.0, 0.0, 3.0, 0.0]])
  np.testing.assert_allclose(factors.effects(values), [[2, -4, 0, 1], [0, 0, 6, 0]], atol=1e-12)


def test_high_is_the_second_level():
  """1 in the design takes the second of the two levels, -1 the first."""
  settings = {'levels': {factor: (f'{factor} low', f'{factor} high') for factor in factors.FACTORS}}
  for signs in factors.design():
    words = ['high' if sign == 1 else 'low' for sign in signs]
    assert factors._levels(settings, signs) == {factor: f'{factor} {word}' for factor, word in zip(factors.FACTORS, words)}


@pytest.mark.slow
def test_factors(tmp_path):
  """Eight runs a seed, an effect of each factor on each response."""
  launched('reproduce', '--figure=factors', '--config=configs/digits.py:smoke', '--config.factors.num_seeds=1',
           f'--workdir={tmp_path}')
  document = json.loads((tmp_path / 'factors.json').read_text())
  assert len(document['rows']) == 8 * 2 and len(document['summary']) == 8
  assert len({(row['batch_size'], row['learning_rate'], row['ema_decay'], row['start']) for row in document['rows']}) == 8
