"""The claims of sections 4.1.2 and 4.1.3 of the paper, each against our numbers."""
from typing import Any, Iterable, Mapping, NamedTuple, Sequence


class Claim(NamedTuple):
  """A sentence of the paper and what decides it."""
  section: str
  text: str
  number: str
  verdict: str  # such as 'agrees', 'disagrees', 'not decided'


class _Rows:
  """Rows by (arm, metric, reference)."""

  def __init__(self, rows: Iterable[Mapping[str, Any]]):
    self._rows = {(r['arm'], r['metric'], r['reference']): r for r in rows}

  def get(self, arm: str, metric: str, reference: str | None) -> Mapping[str, Any]:
    return self._rows[arm, metric, reference]

  def compare(self, section: str, text: str, metric: str, reference: str | None, lower: str, higher: str) -> Claim | None:
    """The claim that `lower` has the smaller value; decided where the 95% intervals do not overlap."""
    try:
      a, b = self.get(lower, metric, reference), self.get(higher, metric, reference)
    except KeyError:
      return None
    if None in (a['low'], b['low']):
      verdict = 'not decided'
    else:
      verdict = 'agrees' if a['high'] < b['low'] else 'disagrees' if b['high'] < a['low'] else 'not decided'
    against = f' against {reference}' if reference else ''
    return Claim(section, text, f'{metric}{against}: {lower} {_show(a)}, {higher} {_show(b)}', verdict)


def _show(row: Mapping[str, Any]) -> str:
  if row['value'] is None:
    return 'not finite'
  return f'{row["value"]:.3g}' if row['low'] is None else f'{row["value"]:.3g} [{row["low"]:.3g}, {row["high"]:.3g}]'


def capstone(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
  """The question of section 4.1.3 for each ResNet trained with noise: is it nearer to held-out data than its teacher?"""
  table = _Rows(rows)
  found = [table.compare('4.1.3', f'a student can outperform its teacher ({arm})', 'kernel_distance', 'data', arm, 'teacher')
           for arm in (f'resnet/x_reconstruction_{name}' for name in ('l2_noise', 'l1_noise', 'l1_l2_noise'))]
  return [claim for claim in found if claim is not None]


def claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
  """One Claim for each sentence that the rows can decide."""
  table = _Rows(rows)
  flow = {name: f'flow/{name}' for name in ('reverse_kl', 'z_reconstruction', 'x_reconstruction', 'oracle_prediction')}
  resnet = lambda name: f'resnet/x_reconstruction_{name}'
  ours = [
      table.compare('4.1.2', 'reverse-KL students collapse: fewer of the teacher\'s modes are covered', 'coverage', 'teacher',
                    flow['reverse_kl'], 'teacher'),
      table.compare('4.1.2', 'reverse-KL students collapse: less diverse labels', 'label_entropy', 'teacher',
                    flow['reverse_kl'], 'teacher'),
      table.compare('4.1.2', 'reverse-KL samples have striped textures', 'stripe_score', 'teacher', 'teacher',
                    flow['reverse_kl']),
      table.compare('3.2', 'reverse-KL samples are more likely under the teacher than its own', 'log_prob_mean_shift',
                    'teacher', 'teacher', flow['reverse_kl']),
      table.compare('4.1.2', 'z-reconstruction samples collapse to the same class', 'label_entropy', 'teacher',
                    flow['z_reconstruction'], 'teacher'),
      table.compare('4.1.2', 'z-reconstruction collapses in spite of a low z-reconstruction cost (bad local minimum): lower '
                    'than that of oracle prediction', 'z_reconstruction_l2', 'teacher', flow['z_reconstruction'],
                    flow['oracle_prediction']),
      table.compare('4.1.2', 'x-reconstruction reconstructs training images better than oracle prediction does',
                    'x_reconstruction_l2', 'train', flow['x_reconstruction'], flow['oracle_prediction']),
      table.compare('4.1.2', 'the encodings of the data are further from the prior than those of teacher samples',
                    'encoding_kernel_distance', 'prior', 'teacher', 'train'),
      table.compare('4.1.2', 'oracle samples match the teacher\'s better than x-reconstruction\'s', 'kernel_distance',
                    'teacher', flow['oracle_prediction'], flow['x_reconstruction']),
      table.compare('4.1.2', 'x-reconstruction samples are smoother than oracle samples', 'sharpness', 'teacher',
                    flow['x_reconstruction'], flow['oracle_prediction']),
      table.compare('4.1.2', 'oracle prediction matches the teacher better than reverse KL', 'kernel_distance', 'teacher',
                    flow['oracle_prediction'], flow['reverse_kl']),
      table.compare('4.1.3', 'l1 gives sharper samples than l2', 'sharpness', 'data', resnet('l2'), resnet('l1')),
      table.compare('4.1.3', 'noise improves l2 samples', 'kernel_distance', 'data', resnet('l2_noise'), resnet('l2')),
      table.compare('4.1.3', 'noise improves l1 samples', 'kernel_distance', 'data', resnet('l1_noise'), resnet('l1')),
      table.compare('4.1.3', 'noise of variance 0.5 improves l1 samples', 'kernel_distance', 'data',
                    resnet('l1_noise_variance'), resnet('l1')),
      table.compare('4.1.3', 'samples of a ResNet under l1 with noise are more coherent globally than the teacher\'s',
                    'kernel_distance_8x8', 'data', resnet('l1_noise'), 'teacher'),
      table.compare('4.1.3', 'samples of a ResNet under l1 with noise lack low-level precision', 'sharpness', 'data',
                    resnet('l1_noise'), 'teacher'),
      *capstone(rows),
      table.compare('4', 'a bottleneck without skip connections compresses the noise: less variance', 'variance_ratio',
                    'teacher', resnet('l2_bottleneck'), resnet('l2')),
      table.compare('4', 'a skip connection around the bottleneck restores coverage', 'coverage', 'teacher',
                    resnet('l2_bottleneck'), resnet('l2_bottleneck_skip')),
  ]
  return [claim for claim in ours if claim is not None]
