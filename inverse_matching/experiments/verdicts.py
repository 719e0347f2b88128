"""What a verdict is, in every study: a claim of the paper, and how numbers over seeds decide it."""
from typing import Any, NamedTuple, Sequence

import numpy as np

from inverse_matching.evaluation import statistics
from inverse_matching.experiments import scales

ENOUGH = 3  # training seeds, with which a network's claim can be decided
NUM_FLIPS = 20_000


class Claim(NamedTuple):
  """A sentence of the paper and what decides it."""
  section: str
  text: str
  number: str
  verdict: str  # agrees, disagrees, not decided, indicated: agrees or disagrees, no headroom, not meaningful at this scale


def of_pairs(a: Sequence[float], b: Sequence[float], scale: scales.Scale) -> dict[str, Any]:
  """How much higher `a` is than `b`, both [n], of two training seeds or more: fields of a row.

  The difference is the mean over the seeds with a 95% t interval, of a metric whose scale is the log as a ratio. The verdict is
  higher or lower where the interval excludes no difference, all seeds agree, and there are ENOUGH of them.
  """
  differences = [float(of_a) - float(of_b) for of_a, of_b in zip(scale.forward(a), scale.forward(b), strict=True)]
  value, low, high = statistics.over_seeds(differences)
  agree = len({difference > 0 for difference in differences}) == 1
  is_decided = len(differences) >= ENOUGH and agree and (low > 0 or high < 0)
  shown = (scale.shown(number) for number in (value, low, high))
  return {'scale': scale.name, **dict(zip(('difference', 'low', 'high'), shown)), 'num_train_seeds': len(differences),
          'verdict': ('higher' if value > 0 else 'lower') if is_decided else 'not decided'}


def sign_flip(differences: Sequence[float], *, seed: int = 0) -> float:
  """The two-sided p-value of the paired sign-flip test that differences [n] are symmetric about 0.

  Over all 2^n signs where they are no more than NUM_FLIPS, else over as many random ones (and those given).
  """
  differences = np.asarray(differences, np.float64)
  n = len(differences)
  if 2**n <= NUM_FLIPS:
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
  else:
    signs = np.concatenate([np.ones((1, n)), np.random.default_rng(seed).choice([-1, 1], (NUM_FLIPS, n))])
  means = np.abs(signs @ differences) / n
  return float(np.mean(means >= np.abs(differences.mean()) * (1 - 1e-12)))


def holm(p_values: Sequence[float]) -> list[float]:
  """Holm's adjusted p-values, in the order given."""
  p_values = np.asarray(p_values, np.float64)
  order = np.argsort(p_values, kind='stable')
  steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
  adjusted = np.empty_like(p_values)
  adjusted[order] = np.minimum(steps, 1.0)
  return adjusted.tolist()
