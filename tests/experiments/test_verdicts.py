"""Tests over seeds against enumeration, and their level by simulation."""
import itertools

import numpy as np
import pytest

from inverse_matching.experiments import verdicts


def test_sign_flip_is_exact_for_few():
  """All signs, one by one; three seeds that agree cannot go below 1/4."""
  differences = [0.3, -0.1, 0.9, 0.4]
  means = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=4)]
  assert verdicts.sign_flip(differences) == np.mean(np.array(means) >= abs(np.sum(differences)) - 1e-12)
  assert verdicts.sign_flip([1.0, 2.0, 3.0]) == 0.25


def test_sign_flip_holds_its_level():
  """By random signs, of laws that are symmetric and not normal; and it sees a shift."""
  p_values = [verdicts.sign_flip(np.random.default_rng(seed).standard_t(2, size=32), seed=seed) for seed in range(300)]
  assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
  assert verdicts.sign_flip(np.random.default_rng(0).normal(size=32) + 1) < 1e-3


def test_holm():
  """By hand; monotone; never below the raw value nor above 1."""
  assert verdicts.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
  assert verdicts.holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_keeps_the_rate_of_any_false_claim():
  """Of 8 true null hypotheses, one or more rejected in 5% of studies."""
  p_values = np.random.default_rng(0).uniform(size=(4000, 8))
  assert 0.035 < np.mean([min(verdicts.holm(row)) < 0.05 for row in p_values]) < 0.06
