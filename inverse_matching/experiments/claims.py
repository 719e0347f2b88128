"""The claims of sections 4.1.2 and 4.1.3 of the paper, each against our numbers."""
from typing import Any, Mapping, NamedTuple, Sequence

FLOW, RESNET = 'flow/', 'resnet/x_reconstruction_'

# Each is true if one arm has a smaller value than another: (section, text, metric, reference, lower arm, higher arm).
CAPSTONE = tuple(('4.1.3', f'a student can outperform its teacher ({RESNET}{noise})', 'kernel_distance', 'data',
                  RESNET + noise, 'teacher') for noise in ('l2_noise', 'l1_noise', 'l1_l2_noise'))
COMPARISONS = (
    ('4.1.2', 'reverse-KL students collapse: fewer of the teacher\'s modes are covered', 'coverage', 'teacher',
     FLOW + 'reverse_kl', 'teacher'),
    ('4.1.2', 'reverse-KL students collapse: less diverse labels', 'label_entropy', 'teacher', FLOW + 'reverse_kl', 'teacher'),
    ('4.1.2', 'reverse-KL samples have striped textures', 'stripe_score', 'teacher', 'teacher', FLOW + 'reverse_kl'),
    ('3.2', 'reverse-KL samples are more likely under the teacher than its own', 'log_prob_mean_shift', 'teacher',
     'teacher', FLOW + 'reverse_kl'),
    ('4.1.2', 'z-reconstruction samples collapse to the same class', 'label_entropy', 'teacher',
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
    ('4.1.2', 'oracle prediction matches the teacher better than reverse KL', 'kernel_distance', 'teacher',
     FLOW + 'oracle_prediction', FLOW + 'reverse_kl'),
    ('4.1.3', 'l1 gives sharper samples than l2', 'sharpness', 'data', RESNET + 'l2', RESNET + 'l1'),
    ('4.1.3', 'noise improves l2 samples', 'kernel_distance', 'data', RESNET + 'l2_noise', RESNET + 'l2'),
    ('4.1.3', 'noise improves l1 samples', 'kernel_distance', 'data', RESNET + 'l1_noise', RESNET + 'l1'),
    ('4.1.3', 'noise of variance 0.5 improves l1 samples', 'kernel_distance', 'data',
     RESNET + 'l1_noise_variance', RESNET + 'l1'),
    ('4.1.3', 'samples of a ResNet under l1 with noise are more coherent globally than the teacher\'s', 'kernel_distance_8x8',
     'data', RESNET + 'l1_noise', 'teacher'),
    ('4.1.3', 'samples of a ResNet under l1 with noise lack low-level precision', 'sharpness', 'data',
     RESNET + 'l1_noise', 'teacher'),
    *CAPSTONE,
    ('4', 'a bottleneck without skip connections compresses the noise: less variance', 'variance_ratio', 'teacher',
     RESNET + 'l2_bottleneck', RESNET + 'l2'),
    ('4', 'a skip connection around the bottleneck restores coverage', 'coverage', 'teacher',
     RESNET + 'l2_bottleneck', RESNET + 'l2_bottleneck_skip'),
)


class Claim(NamedTuple):
  """A sentence of the paper and what decides it."""
  section: str
  text: str
  number: str
  verdict: str  # such as 'agrees', 'disagrees', 'not decided'


def claims(rows: Sequence[Mapping[str, Any]], comparisons: Sequence[tuple[str, ...]] = COMPARISONS) -> list[Claim]:
  """One Claim for each comparison whose two rows are there; decided where their 95% intervals do not overlap."""
  by_key = {(row['arm'], row['metric'], row['reference']): row for row in rows}
  decided = []
  for section, text, metric, reference, *arms in comparisons:
    pair = [by_key[arm, metric, reference] for arm in arms if (arm, metric, reference) in by_key]
    if len(pair) == 2:
      number = ', '.join(f'{row["arm"]} {_show(row)}' for row in pair)
      decided.append(Claim(section, text, f'{metric} against {reference}: {number}', _verdict(*pair)))
  return decided


def _verdict(lower: Mapping[str, Any], higher: Mapping[str, Any]) -> str:
  if lower['low'] is None or higher['low'] is None:
    return 'not decided'
  return 'agrees' if lower['high'] < higher['low'] else 'disagrees' if higher['high'] < lower['low'] else 'not decided'


def _show(row: Mapping[str, Any]) -> str:
  if row['value'] is None:
    return 'not finite'
  return f'{row["value"]:.3g}' if row['low'] is None else f'{row["value"]:.3g} [{row["low"]:.3g}, {row["high"]:.3g}]'
