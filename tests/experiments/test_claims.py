"""Verdicts follow from intervals, and from nothing else."""
from inverse_matching.evaluation import statistics, tables
from inverse_matching.experiments import claims


def row(arm, low, high, metric='sharpness', reference='teacher'):
  return statistics.row(arm, metric, reference, ((low + high) / 2, low, high), n=10, seed=0, floor=0.5)


def verdict(x_reconstruction, oracle):
  rows = [row('flow/x_reconstruction', *x_reconstruction), row('flow/oracle_prediction', *oracle)]
  found = [claim for claim in claims.claims(rows) if 'smoother' in claim.text]
  assert len(found) == 1
  return found[0].verdict


def test_a_claim_agrees_disagrees_or_is_not_decided():
  assert verdict((0.1, 0.2), (0.3, 0.4)) == 'agrees'
  assert verdict((0.3, 0.4), (0.1, 0.2)) == 'disagrees'
  assert verdict((0.1, 0.35), (0.3, 0.4)) == 'not decided'


def test_claims_without_their_rows_are_left_out():
  assert claims.claims([row('teacher', 0.0, 1.0)]) == []


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
  rows = [row(arm, low, low + 0.1, 'kernel_distance', 'data') for arm, low in (
      ('teacher', 0.5), ('resnet/x_reconstruction_l1_noise', 0.1), ('resnet/x_reconstruction_l2_noise', 0.9),
      ('resnet/x_reconstruction_l1', 0.1))]
  found = claims.claims(rows, claims.CAPSTONE)
  assert [(claim.text.split('_')[-2], claim.verdict) for claim in found] == [('l2', 'disagrees'), ('l1', 'agrees')]
  assert set(found) <= set(claims.claims(rows))
