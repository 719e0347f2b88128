"""Verdicts follow from intervals of differences, over training seeds where there are enough, and from nothing else."""
import numpy as np
import pytest
import scipy.stats

from inverse_matching.evaluation import statistics, tables
from inverse_matching.experiments import claims

X, ORACLE = 'flow/x_reconstruction', 'flow/oracle_prediction'
Z, KL = 'flow/z_reconstruction', 'flow/reverse_kl'
RESNET = 'resnet/x_reconstruction_'

# The start of the sentence of each comparison, the metric and the reference that it is about, the arm that it says is lower,
# and the other.
DIRECTIONS = (
    ('reverse-KL students collapse: fewer', 'coverage', 'teacher', KL, 'teacher'),
    ('reverse-KL students collapse: less diverse labels', 'label_entropy', 'teacher', KL, 'teacher'),
    ('reverse-KL samples have striped textures', 'stripe_score', 'teacher', 'teacher', KL),
    ('reverse-KL samples have striped textures: more of what is fine', 'stripe_share', 'teacher', 'teacher', KL),
    ('reverse-KL samples are more likely under the teacher', 'log_prob_mean_shift', 'teacher', 'teacher', KL),
    ('z-reconstruction samples collapse to the same class', 'label_entropy', 'teacher', Z, 'teacher'),
    ('z-reconstruction collapses in spite of a low z-reconstruction cost', 'z_reconstruction_l2', 'teacher', Z, ORACLE),
    ('x-reconstruction reconstructs training images better', 'x_reconstruction_l2', 'train', X, ORACLE),
    ('the encodings of the data are further from the prior', 'encoding_kernel_distance', 'prior', 'teacher', 'train'),
    ('oracle samples match the teacher\'s better than x-reconstruction\'s', 'kernel_distance', 'teacher', ORACLE, X),
    ('x-reconstruction samples are smoother than oracle samples', 'sharpness', 'teacher', X, ORACLE),
    ('x-reconstruction samples are smoother than oracle samples: less power', 'log_power_ratio_fine', 'teacher', X, ORACLE),
    ('oracle prediction matches the teacher better than reverse KL', 'kernel_distance', 'teacher', ORACLE, KL),
    ('l1 gives sharper samples than l2', 'sharpness', 'data', f'{RESNET}l2', f'{RESNET}l1'),
    ('l2 keeps global details better than l1', 'kernel_distance_8x8', 'data', f'{RESNET}l2', f'{RESNET}l1'),
    ('l2 keeps global details better than l1, with noise', 'kernel_distance_8x8', 'data', f'{RESNET}l2_noise',
     f'{RESNET}l1_noise'),
    ('noise improves l2 samples', 'kernel_distance', 'data', f'{RESNET}l2_noise', f'{RESNET}l2'),
    ('noise improves l1 samples', 'kernel_distance', 'data', f'{RESNET}l1_noise', f'{RESNET}l1'),
    ('noise of variance 0.5 improves l1 samples', 'kernel_distance', 'data', f'{RESNET}l1_noise_variance', f'{RESNET}l1'),
    ('samples of a ResNet under l1 with noise are more coherent globally', 'kernel_distance_8x8', 'data', f'{RESNET}l1_noise',
     'teacher'),
    ('samples of a ResNet under l1 with noise lack low-level precision', 'fine_power_error', 'data', 'teacher',
     f'{RESNET}l1_noise'),
    *((f'a student can outperform its teacher ({RESNET}{noise})', 'kernel_distance', 'data', RESNET + noise, 'teacher')
      for noise in ('l2_noise', 'l1_noise', 'l1_l2_noise')),
    ('a bottleneck without skip connections compresses the noise', 'variance_ratio', 'teacher', f'{RESNET}l2_bottleneck',
     f'{RESNET}l2'),
    ('a skip connection around the bottleneck restores coverage', 'coverage', 'teacher', f'{RESNET}l2_bottleneck',
     f'{RESNET}l2_bottleneck_skip'))


def row(arm, low, high, metric='sharpness', reference='teacher', train_seed=None, floor=0.5):
  return {**statistics.row(arm, metric, reference, ((low + high) / 2, low, high), n=10, seed=0, floor=floor),
          'train_seed': train_seed}


def smoother(rows):
  """The claim that x-reconstruction has the smaller sharpness."""
  claim, = (claim for claim in claims.claims(rows) if claim.text.endswith('smoother than oracle samples'))
  return claim


def seeds(arm, values, **settings):
  return [row(arm, value - 0.001, value + 0.001, train_seed=seed, **settings) for seed, value in enumerate(values)]


def test_every_comparison_has_its_direction():
  """Which arm is lower, in which number, against teacher samples, data or training images, is what the sentence says."""
  assert len({c.text for c in claims.COMPARISONS}) == len(claims.COMPARISONS)
  for c, (text, *fields) in zip(claims.COMPARISONS, DIRECTIONS, strict=True):
    assert c.text.startswith(text) and [c.metric, c.reference, c.lower, c.higher] == fields


def test_one_training_seed_indicates():
  verdict = lambda x, oracle: smoother([row(X, *x), row(ORACLE, *oracle)]).verdict
  assert verdict((0.1, 0.2), (0.3, 0.4)) == 'indicated: agrees'
  assert verdict((0.3, 0.4), (0.1, 0.2)) == 'indicated: disagrees'
  assert verdict((0.1, 0.35), (0.3, 0.4)) == 'not decided'
  # The intervals overlap, and that of the difference excludes 0.
  assert verdict((0.200, 0.230), (0.229, 0.259)) == 'indicated: agrees'


def test_two_training_seeds_indicate_only():
  assert smoother(seeds(X, [0.1, 0.1]) + seeds(ORACLE, [0.5, 0.5])).verdict == 'indicated: agrees'
  assert smoother(seeds(X, [0.1, 0.6]) + seeds(ORACLE, [0.5, 0.5])).verdict == 'not decided'  # the second disagrees


def test_three_training_seeds_decide():
  verdict = lambda x, oracle: smoother(seeds(X, x) + seeds(ORACLE, oracle)).verdict
  assert verdict([0.10, 0.11, 0.12], [0.30, 0.31, 0.29]) == 'agrees'
  assert verdict([0.30, 0.31, 0.29], [0.10, 0.11, 0.12]) == 'disagrees'
  assert verdict([0.10, 0.30, 0.20], [0.15, 0.28, 0.24]) == 'not decided'
  assert verdict([0.10, 0.101, 0.11], [0.108, 0.109, 0.109]) == 'not decided'  # one seed disagrees


def test_seeds_of_one_sign_do_not_decide_where_the_interval_holds_0():
  """One training in which the arms are far apart says little of the next."""
  rows = seeds(X, [0.100, 0.101, 0.099]) + seeds(ORACLE, [0.102, 0.30, 0.101])
  c, = (c for c in claims.COMPARISONS if c.text.endswith('smoother than oracle samples'))
  found = claims.difference(rows, c)
  assert found.low < 0 < found.high and not found.is_decided and smoother(rows).verdict == 'not decided'


def test_an_interval_does_not_decide_where_a_seed_disagrees():
  """Which takes five seeds: of three with one that disagrees no t interval excludes 0."""
  of = lambda arm, values: seeds(arm, values, metric='coverage')
  rows = of('a', [0.10, 0.10, 0.10, 0.10, 0.10]) + of('b', [0.20, 0.21, 0.20, 0.21, 0.09])
  found = claims.difference(rows, claims.Comparison('', '', 'coverage', 'teacher', 'a', 'b'))
  assert found.value == pytest.approx(0.082) and found.low > 0 and not found.is_decided


@pytest.mark.parametrize('lower,higher', [('a', 'b'), ('teacher', 'b'), ('a', 'teacher')])
def test_a_teacher_has_no_variance_over_seeds(lower, higher):
  """The interval is that of the paired differences; a teacher adds that of its examples."""
  values = {'a': [0.10, 0.12, 0.15], 'b': [0.30, 0.31, 0.36], 'teacher': [0.2] * 3}
  rows = [row('teacher', 0.15, 0.25, 'coverage'), *(row for arm in 'ab' for row in seeds(arm, values[arm], metric='coverage'))]
  found = claims.difference(rows, claims.Comparison('', '', 'coverage', 'teacher', lower, higher))
  differences = np.subtract(values[higher], values[lower])
  interval = scipy.stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
  half, mean = np.hypot(interval.high - np.mean(differences), 0.05 * ('teacher' in (lower, higher))), np.mean(differences)
  np.testing.assert_allclose(found[:3], [mean, mean - half, mean + half])


def test_a_difference_within_the_error_of_the_teacher_does_not_decide():
  """However little the trainings differ; and of a skewed interval it is the side towards the student that counts."""
  students = seeds('a', [0.150, 0.152, 0.149], metric='coverage')
  of = lambda low, high: claims.difference(
      [{**row('teacher', low, high, 'coverage'), 'value': 0.17}, *students],
      claims.Comparison('', '', 'coverage', 'teacher', 'a', 'teacher'))
  assert not of(0.12, 0.22).is_decided and not of(0.12, 0.171).is_decided and of(0.169, 0.22).is_decided


def test_an_effect_of_few_trainings_is_an_indication():
  effect = lambda a, b: claims.effect(seeds('a', a, metric='coverage') + seeds('b', b, metric='coverage'), 'a', 'b', 'coverage',
                                      'teacher')
  assert effect([0.1], [0.3])['verdict'] == 'indicated: nearer'
  assert effect([0.3, 0.3], [0.1, 0.1])['verdict'] == 'indicated: farther'
  assert effect([0.5, 0.9], [0.7, 0.6])['verdict'] == 'not decided'
  assert effect([0.10, 0.11, 0.12], [0.3, 0.31, 0.29])['verdict'] == 'nearer'
  assert claims.effect(seeds('a', [0.1]), 'a', 'b', 'sharpness', 'teacher') is None


@pytest.mark.parametrize('accuracy,verdict', [(0.69, 'nearer'), (0.71, 'not meaningful at this scale')])
def test_an_effect_against_a_teacher_that_does_not_draw_such_data_means_nothing(accuracy, verdict):
  """As a claim, and whenever in its training; of effects against other arms, or on its own samples, it says nothing."""
  rows = [row('teacher', accuracy - 0.01, accuracy + 0.01, 'two_sample_accuracy', 'data')]
  for reference in ('data', 'teacher'):
    rows += [*seeds('a', [0.10, 0.11, 0.12], reference=reference), *seeds('b', [0.3, 0.31, 0.29], reference=reference),
             *(row(name, 0.29, 0.31, reference=reference) for name in ('teacher', 'teacher at 0.167'))]
  effect = lambda baseline, reference: claims.effect(rows, 'a', baseline, 'sharpness', reference)['verdict']
  assert effect('teacher', 'data') == effect('teacher at 0.167', 'data') == verdict
  assert effect('b', 'data') == effect('teacher', 'teacher') == 'nearer'


def test_the_interval_over_examples_of_skewed_intervals():
  """Down go the lower half of the higher arm and the upper half of the lower one; up, the others (Zou and Donner, 2008)."""
  rows = [{**row('a', 0.18, 0.26, 'coverage'), 'value': 0.20}, {**row('b', 0.26, 0.31, 'coverage'), 'value': 0.30}]
  found = claims.difference(rows, claims.Comparison('', '', 'coverage', 'teacher', 'a', 'b'))
  np.testing.assert_allclose(found[:3], [0.10, 0.10 - np.sqrt(0.04**2 + 0.06**2), 0.10 + np.sqrt(0.01**2 + 0.02**2)])
  assert found.is_decided and found.num_train_seeds == 1


def test_the_interval_over_seeds():
  """The t interval of the log ratio, in pairs, whatever other arms there are."""
  x, oracle = [0.10, 0.12, 0.15], [0.30, 0.31, 0.39]
  c, = (c for c in claims.COMPARISONS if c.text.endswith('smoother than oracle samples'))
  found = claims.difference(seeds(X, x) + seeds(ORACLE, oracle), c)
  expected = scipy.stats.ttest_rel(np.log(oracle), np.log(x)).confidence_interval(0.95)
  np.testing.assert_allclose(found[1:3], expected)
  assert found.scale.name == 'ratio' and found.num_train_seeds == 3 and 'over 3 training seeds' in str(found)
  others = [row for i in range(5) for row in seeds(f'other{i}', [0.200, 0.201, 0.199])]
  assert claims.difference(seeds(X, x) + seeds(ORACLE, oracle) + others, c) == found


def test_arms_of_unequal_spread_are_seldom_told_apart_without_a_difference():
  """One arm that varies three times as much as the others between trainings, and they as little as they do: 5%, and no more."""
  rng, c, decided = np.random.default_rng(0), claims.Comparison('', '', 'coverage', 'data', 'a', 'b'), []
  of = lambda arm, spread: seeds(arm, 10 + spread * rng.normal(size=3), metric='coverage', reference='data')
  for _ in range(600):
    rows = [*of('a', 3.0), *of('b', 1.0), *(row for i in range(6) for row in of(f'other{i}', 1.0))]
    decided.append(claims.difference(rows, c).is_decided)
  assert np.mean(decided) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(decided))


def test_kernel_distances_are_compared_in_a_symmetric_log():
  """A student that collapses more in some trainings than in others is farther in all; near the floor the scale is linear."""
  c = claims.Comparison('', '', 'kernel_distance', 'teacher', 'good', 'collapsed')
  of = lambda arm, values: seeds(arm, values, metric='kernel_distance', floor=0.0)
  rows = of('good', [0.0113, 0.0114, 0.0109]) + of('collapsed', [41.5, 11.4, 41.2])
  found = claims.difference(rows, c)
  logs = np.arcsinh([4150, 1140, 4120]) - np.arcsinh([1.13, 1.14, 1.09])
  assert found.is_decided and found.value == pytest.approx(np.mean(logs)) and 'asinh' in str(found)
  near = claims.difference(of('good', [-0.001, 0.0, 0.001]) + of('collapsed', [0.001, 0.002, 0.003]), c)
  assert near.value == pytest.approx(0.2, rel=0.02)


def test_intervals_over_seeds_cover():
  """Seeds that share their data order too: at least 95% of the intervals hold the truth."""
  c, covered = claims.Comparison('', '', 'coverage', 'data', 'a', 'b'), []
  for seed in range(400):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=3)
    a, b = 1.0 + 0.5 * shared + rng.normal(size=3), 1.3 + 0.5 * shared + rng.normal(size=3)
    of = lambda arm, values: seeds(arm, values, metric='coverage', reference='data')
    found = claims.difference(of('a', a) + of('b', b), c)
    covered.append(found.low <= 0.3 <= found.high)
  assert np.mean(covered) >= 0.94


def test_a_teacher_stands_beside_every_training_seed():
  rows = [row('teacher', 0.5, 0.7, 'kernel_distance', 'data', floor=0.0),
          *seeds('resnet/x_reconstruction_l1_noise', [0.3, 0.31, 0.29], metric='kernel_distance', reference='data')]
  claim, = claims.claims(rows, claims.CAPSTONE)
  assert claim.verdict == 'agrees' and 'over 3 training seeds' in claim.number


def test_claims_without_their_rows_are_left_out():
  assert claims.claims([row('teacher', 0.0, 1.0)]) == []


def test_what_is_at_the_floor_cannot_be_beaten():
  """Whatever a student does."""
  for low in (0.1, 0.9):
    rows = [row('teacher', 0.45, 0.55, 'kernel_distance', 'data'),
            row('resnet/x_reconstruction_l1_noise', low, low + 0.1, 'kernel_distance', 'data')]
    assert [claim.verdict for claim in claims.claims(rows, claims.CAPSTONE)] == ['no headroom']


@pytest.mark.parametrize('low,verdict', [(0.49, 'no headroom'), (0.5, 'no headroom'), (0.51, 'indicated: agrees')])
def test_the_interval_of_what_has_headroom_is_above_the_floor(low, verdict):
  """Its lower end, not the value alone, which is above here."""
  rows = [row('teacher', low, 0.7, 'kernel_distance', 'data', floor=0.5),
          row('resnet/x_reconstruction_l1_noise', 0.1, 0.2, 'kernel_distance', 'data')]
  assert [claim.verdict for claim in claims.claims(rows, claims.CAPSTONE)] == [verdict]


@pytest.mark.parametrize('accuracy,verdict', [
    (0.6, 'indicated: agrees'), (0.69, 'indicated: agrees'), (0.71, 'not meaningful at this scale'),
    (0.9, 'not meaningful at this scale')])
def test_a_teacher_that_does_not_draw_the_data_is_not_outperformed(accuracy, verdict):
  rows = [row('teacher', 0.8, 0.9, 'kernel_distance', 'data'),
          row('teacher', accuracy, accuracy, 'two_sample_accuracy', 'data'),
          row('resnet/x_reconstruction_l1_noise', 0.6, 0.7, 'kernel_distance', 'data')]
  assert [claim.verdict for claim in claims.claims(rows, claims.CAPSTONE)] == [verdict]


def test_a_ratio_whose_floor_is_not_near_one_means_nothing():
  rows = lambda floor: [row('resnet/x_reconstruction_l2' + more, low, low + 0.1, 'variance_ratio', floor=floor)
                        for more, low in (('_bottleneck', 0.2), ('', 0.9))]
  verdict = lambda floor: [claim.verdict for claim in claims.claims(rows(floor))]
  assert all(verdict(floor) == ['indicated: agrees'] for floor in (1 / 1.24, 1.02, 1.24))
  assert all(verdict(floor) == ['not meaningful at this scale'] for floor in (0.1, 1 / 1.26, 1.26, 12.8))


def test_values_that_are_not_finite_decide_nothing():
  rows = [{**row(X, 0.0, 1.0), 'value': None}, row(ORACLE, 0.3, 0.4)]
  assert smoother(rows).verdict == 'not decided' and 'not finite' in smoother(rows).number


def test_the_table_has_a_line_per_arm_and_the_floors_last():
  rows = [row('a', 0.0, 1.0), row('b', 1.0, 2.0), statistics.row('b', 'rank', None, 3.0, n=1, seed=0)]
  assert tables.by_arm(rows, intervals=False) == [
      ['arm', 'sharpness (teacher)', 'rank'], ['a', '0.5', ''], ['b', '1.5', '3'], ['floor', '0.5', '']]
  assert tables.by_arm(rows)[1][1] == '0.5 [0, 1]'
  assert tables.by_arm(rows, [('rank', None)]) == [['arm', 'rank'], ['b', '3'], ['floor', '']]
  assert tables.by_metric(rows)[0] == ['arm', 'a', 'b', 'floor']


def test_a_value_that_is_not_finite_is_said_so():
  rows = [{**row('a', 0.0, 1.0), 'value': None}]
  assert tables.by_arm(rows)[1] == ['a', 'not finite']


def test_capstone():
  """Each ResNet with noise against its teacher, at the distance to held-out data; also among all claims."""
  rows = [row(arm, low, low + 0.1, 'kernel_distance', 'data', floor=0.0) for arm, low in (
      ('teacher', 0.5), ('resnet/x_reconstruction_l1_noise', 0.1), ('resnet/x_reconstruction_l2_noise', 0.9),
      ('resnet/x_reconstruction_l1', 0.1))]
  found = claims.claims(rows, claims.CAPSTONE)
  assert [(claim.text.split('_')[-2], claim.verdict) for claim in found] == [
      ('l2', 'indicated: disagrees'), ('l1', 'indicated: agrees')]
  assert set(found) <= set(claims.claims(rows))
