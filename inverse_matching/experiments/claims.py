"""The claims of sections 4.1.2 and 4.1.3 of the paper, each against our numbers.

With 3 training seeds or more a claim is decided if the 95% t interval of the difference over the seeds excludes 0 and all seeds
agree: then it `agrees` or `disagrees`. With fewer, an interval over the examples that excludes 0 is an indication, no more.
Else it is `not decided`. There is `no headroom` where what should be beaten is at the floor: as good as can be measured.
"""
import math
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from inverse_matching.evaluation import statistics
from inverse_matching.experiments import scales
from inverse_matching.experiments.verdicts import ENOUGH, Claim

FLOW, RESNET = 'flow/', 'resnet/x_reconstruction_'
NEAR_ONE = 1.25  # the floor of a ratio is within this factor of 1, or the ratio means nothing
TOLD_APART = 0.7  # accuracy of telling a teacher's samples from data above which the teacher does not draw such data


class Comparison(NamedTuple):
  """A claim that is true if one arm has a smaller value of a metric than another."""
  section: str
  text: str
  metric: str
  reference: str
  lower: str
  higher: str


CAPSTONE = tuple(Comparison('4.1.3', f'a student can outperform its teacher ({RESNET}{noise})', 'kernel_distance', 'data',
                            RESNET + noise, 'teacher') for noise in ('l2_noise', 'l1_noise', 'l1_l2_noise'))
COMPARISONS = tuple(Comparison(*fields) for fields in (
    ('4.1.2', 'reverse-KL students collapse: fewer of the teacher\'s modes are covered', 'coverage', 'teacher',
     FLOW + 'reverse_kl', 'teacher'),
    ('4.1.2', 'reverse-KL students collapse: less diverse labels', 'label_entropy', 'teacher', FLOW + 'reverse_kl', 'teacher'),
    ('4.1.2', 'reverse-KL samples have striped textures', 'stripe_score', 'teacher', 'teacher', FLOW + 'reverse_kl'),
    ('4.1.2', 'reverse-KL samples have striped textures: more of what is fine is in stripes', 'stripe_share', 'teacher',
     'teacher', FLOW + 'reverse_kl'),
    ('3.2', 'reverse-KL samples are more likely under the teacher than its own', 'log_prob_mean_shift', 'teacher',
     'teacher', FLOW + 'reverse_kl'),
    ('4.1.2', 'z-reconstruction samples collapse to the same class: less diverse labels', 'label_entropy', 'teacher',
     FLOW + 'z_reconstruction', 'teacher'),
    ('4.1.2', 'z-reconstruction collapses in spite of a low z-reconstruction cost (bad local minimum): lower than that of '
     'oracle prediction', 'z_reconstruction_l2', 'teacher', FLOW + 'z_reconstruction', FLOW + 'oracle_prediction'),
    ('4.1.2', 'x-reconstruction reconstructs training images better than oracle prediction does', 'x_reconstruction_l2',
     'train', FLOW + 'x_reconstruction', FLOW + 'oracle_prediction'),
    ('4.1.2', 'the encodings of the data are further from the prior than those of teacher samples', 'encoding_kernel_distance',
     'prior', 'teacher', 'train'),
    ('4.1.2', 'oracle samples match the teacher\'s better than x-reconstruction\'s', 'kernel_distance', 'teacher',
     FLOW + 'oracle_prediction', FLOW + 'x_reconstruction'),
    ('4.1.2', 'x-reconstruction samples are smoother than oracle samples', 'sharpness', 'teacher',
     FLOW + 'x_reconstruction', FLOW + 'oracle_prediction'),
    ('4.1.2', 'x-reconstruction samples are smoother than oracle samples: less power at fine scales', 'log_power_ratio_fine',
     'teacher', FLOW + 'x_reconstruction', FLOW + 'oracle_prediction'),
    ('4.1.2', 'oracle prediction matches the teacher better than reverse KL', 'kernel_distance', 'teacher',
     FLOW + 'oracle_prediction', FLOW + 'reverse_kl'),
    ('4.1.3', 'l1 gives sharper samples than l2', 'sharpness', 'data', RESNET + 'l2', RESNET + 'l1'),
    ('4.1.3', 'l2 keeps global details better than l1', 'kernel_distance_8x8', 'data', RESNET + 'l2', RESNET + 'l1'),
    ('4.1.3', 'l2 keeps global details better than l1, with noise', 'kernel_distance_8x8', 'data', RESNET + 'l2_noise',
     RESNET + 'l1_noise'),
    ('4.1.3', 'noise improves l2 samples', 'kernel_distance', 'data', RESNET + 'l2_noise', RESNET + 'l2'),
    ('4.1.3', 'noise improves l1 samples', 'kernel_distance', 'data', RESNET + 'l1_noise', RESNET + 'l1'),
    ('4.1.3', 'noise of variance 0.5 improves l1 samples', 'kernel_distance', 'data',
     RESNET + 'l1_noise_variance', RESNET + 'l1'),
    ('4.1.3', 'samples of a ResNet under l1 with noise are more coherent globally than the teacher\'s', 'kernel_distance_8x8',
     'data', RESNET + 'l1_noise', 'teacher'),
    ('4.1.3', 'samples of a ResNet under l1 with noise lack low-level precision: their power at fine scales is '
     'farther from that of the data than the teacher\'s', 'fine_power_error', 'data', 'teacher', RESNET + 'l1_noise'),
    *CAPSTONE,
    ('4', 'a bottleneck without skip connections compresses the noise: less variance', 'variance_ratio', 'teacher',
     RESNET + 'l2_bottleneck', RESNET + 'l2'),
    ('4', 'a skip connection around the bottleneck restores coverage', 'coverage', 'teacher',
     RESNET + 'l2_bottleneck', RESNET + 'l2_bottleneck_skip'),
))


class Difference(NamedTuple):
  """How much larger one arm is than another, with a 95% interval."""
  value: float
  low: float
  high: float
  num_train_seeds: int
  is_decided: bool  # the interval excludes 0, and every seed agrees
  scale: scales.Scale  # that the numbers are in

  def verdict(self, if_larger: str, if_smaller: str) -> str:
    """What is decided, or with fewer than ENOUGH training seeds indicated."""
    if not self.is_decided:
      return 'not decided'
    verdict = if_larger if self.value > 0 else if_smaller
    return verdict if self.num_train_seeds >= ENOUGH else f'indicated: {verdict}'

  def __str__(self) -> str:
    value, low, high = map(self.scale.shown, self[:3])
    seeds = f'over {self.num_train_seeds} training seeds' if self.num_train_seeds >= ENOUGH else 'over examples'
    return f'{self.scale.name} {value:.3g} [{low:.3g}, {high:.3g}] {seeds}'


def claims(rows: Sequence[Mapping[str, Any]], comparisons: Sequence[Comparison] = COMPARISONS) -> list[Claim]:
  """One Claim for each comparison both of whose arms are there.

  Args:
    rows: of one seed of the samples, of one or several training seeds (`train_seed`).
    comparisons: what to look at.
  """
  decided = []
  for c in comparisons:
    lower, higher = (_by_train_seed(rows, arm, c) for arm in (c.lower, c.higher))
    if lower and higher:
      found = difference(rows, c)
      shown = [*(f'{arm} {_show(of)}' for arm, of in ((c.lower, lower), (c.higher, higher))), *([str(found)] if found else [])]
      decided.append(Claim(c.section, c.text, f'{c.metric} against {c.reference}: {", ".join(shown)}',
                           _verdict(rows, c, found, lower, higher)))
  return decided


def _by_train_seed(rows: Sequence[Mapping[str, Any]], arm: str, c: Comparison) -> dict[int | None, Mapping[str, Any]]:
  """Training seed -> row of an arm; of the teacher, which is the same for all, the seed is None."""
  return {row.get('train_seed'): row for row in rows
          if (row['arm'], row['metric'], row['reference']) == (arm, c.metric, c.reference)}


def difference(rows: Sequence[Mapping[str, Any]], c: Comparison) -> Difference | None:
  """`higher` less `lower`; None where a value is not finite, has no interval, or no training seed is common to both.

  With ENOUGH training seeds that both arms have, over these, in pairs: no arm's variance is taken for that of another, which no
  test of three seeds could justify. A teacher has one training, and adds the interval over its examples. Else over the examples
  of the first seed, from both intervals (Zou and Donner, 2008): as if they were independent, which is too wide where arms share
  the reference; decided then if the other seeds agree.
  """
  lower, higher = (_by_train_seed(rows, arm, c) for arm in (c.lower, c.higher))
  scale = scales.of(c.metric)
  if any(row['value'] is None or row['value'] <= 0 and scale is scales.LOG for row in (*lower.values(), *higher.values())):
    return None
  seeds = _common(lower, higher)
  if not seeds:
    return None
  row_of = lambda of, seed: of.get(seed, of.get(None))
  values = lambda of: scale.forward([row_of(of, seed)['value'] for seed in seeds])
  differences = values(higher) - values(lower)
  same_sign = bool(np.all(differences > 0) or np.all(differences < 0))
  if len(seeds) >= ENOUGH:
    mean, _, end = statistics.over_seeds(differences)
    half = end - mean
    (lower_down, lower_up), (higher_down, higher_up) = (_reach(of.get(None), scale) or (0.0, 0.0) for of in (lower, higher))
    low, high = mean - math.hypot(half, higher_down, lower_up), mean + math.hypot(half, higher_up, lower_down)
    return Difference(mean, low, high, len(seeds), bool(low > 0 or high < 0) and same_sign, scale)
  reaches = [_reach(row_of(of, seeds[0]), scale) for of in (lower, higher)]
  if None in reaches:
    return None
  (lower_down, lower_up), (higher_down, higher_up) = reaches
  first = float(differences[0])
  low, high = first - math.hypot(higher_down, lower_up), first + math.hypot(higher_up, lower_down)
  return Difference(first, low, high, len(seeds), bool(low > 0 or high < 0) and same_sign, scale)


def _reach(row: Mapping[str, Any] | None, scale: scales.Scale) -> tuple[float, float] | None:
  """How far the interval over the examples of a row reaches down and up; None: it has none."""
  if row is None or row['low'] is None or scale is scales.LOG and row['low'] <= 0:
    return None
  value, low, high = map(float, scale.forward([row['value'], row['low'], row['high']]))
  return value - low, high - value


def effect(rows: Sequence[Mapping[str, Any]], arm: str, baseline: str, metric: str, reference: str) -> dict[str, Any] | None:
  """How much smaller a metric of an arm is than that of a baseline, as a row of a summary; None: one has no such number.

  Its verdict is nearer, farther, not decided, or that there is nothing to judge, see above; of fewer than ENOUGH training seeds
  it is an indication.
  """
  comparison = Comparison('', '', metric, reference, arm, baseline)
  of_arm, of_baseline = (_by_train_seed(rows, name, comparison) for name in (arm, baseline))
  if not of_arm or not of_baseline:
    return None
  found = difference(rows, comparison)
  if found is None:
    return None
  return {'arm': arm, 'baseline': baseline, 'metric': metric, 'reference': reference, 'scale': found.scale.name,
          'nearer_by': found.value, 'low': found.low, 'high': found.high, 'num_train_seeds': found.num_train_seeds,
          'verdict': _nothing_to_judge(rows, comparison, of_arm, of_baseline) or found.verdict('nearer', 'farther')}


def _common(lower: Mapping[int | None, Any], higher: Mapping[int | None, Any]) -> list[int | None]:
  """The training seeds that both have; the teacher has all."""
  if None in lower or None in higher:
    return [seed for seed in (*lower, *higher) if seed is not None] or [None]
  return [seed for seed in lower if seed in higher]


def _verdict(rows: Sequence[Mapping[str, Any]], c: Comparison, found: Difference | None, lower: Mapping,
             higher: Mapping) -> str:
  nothing = _nothing_to_judge(rows, c, lower, higher)
  return nothing or ('not decided' if found is None else found.verdict('agrees', 'disagrees'))


def _nothing_to_judge(rows: Sequence[Mapping[str, Any]], c: Comparison, lower: Mapping, higher: Mapping) -> str | None:
  """Why a comparison means nothing, whatever its numbers; None: it means something."""
  (low_row, high_row) = (next(iter(of.values())) for of in (lower, higher))
  if c.metric == 'variance_ratio' and not 1 / NEAR_ONE < low_row['floor'] < NEAR_ONE:
    return 'not meaningful at this scale'
  if c.reference == 'data' and any(arm.startswith('teacher') for arm in (c.lower, c.higher)) and any(
      row['value'] > TOLD_APART for row in rows
      if (row['arm'], row['metric'], row['reference']) == ('teacher', 'two_sample_accuracy', 'data')):
    return 'not meaningful at this scale'
  if scales.is_kernel_distance(c.metric) and high_row['low'] is not None and high_row['low'] <= high_row['floor']:
    return 'no headroom'
  return None


def _show(of: Mapping[int | None, Mapping[str, Any]]) -> str:
  if len(of) > 1:
    values = [row['value'] for row in of.values()]
    return 'not finite' if None in values else ' / '.join(f'{value:.3g}' for value in values)
  row, = of.values()
  if row['value'] is None:
    return 'not finite'
  return f'{row["value"]:.3g}' if row['low'] is None else f'{row["value"]:.3g} [{row["low"]:.3g}, {row["high"]:.3g}]'
