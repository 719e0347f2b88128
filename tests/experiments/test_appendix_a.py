"""The paths of appendix A, and the count of label changes."""
import numpy as np
import pytest

from inverse_matching.experiments import appendix_a

NUM, DIMS = 5, 784
POINTS = appendix_a.paths(np.random.default_rng(0).normal(size=(2 * NUM, DIMS)))
ROOT = np.sqrt(DIMS)


def test_the_norm_changes_and_the_direction_does_not():
  """z = r sqrt(T) u with |u| = 1: the paper's 23 radii."""
  z = POINTS['norm']
  assert z.shape == (NUM, 23, DIMS)
  np.testing.assert_allclose(np.linalg.norm(z, axis=2), np.tile(np.array(appendix_a.RADII) * ROOT, (NUM, 1)))
  u = z / np.linalg.norm(z, axis=2, keepdims=True)
  np.testing.assert_allclose(u, np.repeat(u[:, :1], 23, axis=1), atol=1e-12)
  assert np.abs(u[0, 0] @ u[1, 0]) < 0.2, 'the directions are not independent'


def test_the_other_path_goes_as_far_at_a_fixed_norm():
  """Both begin at one point, and their displacements have equal lengths; those below 1 go the other way than those above."""
  norm, sphere = POINTS['norm'], POINTS['sphere']
  start = sphere[:, appendix_a.CENTRE]
  np.testing.assert_allclose(start, norm[:, appendix_a.CENTRE])
  np.testing.assert_allclose(np.linalg.norm(sphere, axis=2), np.full((NUM, 23), ROOT))
  lengths = [np.linalg.norm(z - start[:, None], axis=2) for z in (norm, sphere)]
  np.testing.assert_allclose(*lengths, atol=1e-9)
  moved = sphere - start[:, None]
  assert np.all(np.sum(moved[:, 0] * moved[:, -1], axis=1) < 0)
  tangent = moved[:, -1] / np.linalg.norm(moved[:, -1], axis=1, keepdims=True)
  assert np.all(np.abs(np.sum(tangent * start, axis=1)) < 0.16 * ROOT), 'a displacement along u'


def test_labels_are_counted():
  """Known labels: a class that depends on the norm, and one that depends on nothing."""
  radii = np.array(appendix_a.RADII)
  of_norm = np.tile((radii > 0.97).astype(int) + (radii > 1.25), (6, 1))
  assert appendix_a.changes(of_norm).tolist() == [2] * 6
  rows = {(r['arm'], r['metric'], r['reference']): r for r in appendix_a.label_rows(
      {'norm': of_norm, 'sphere': np.ones((6, 23), int)}, seed=0)}
  assert len(rows) == 3 * 24
  for arm, value in (('norm', 2.0), ('sphere', 0.0), ('norm - sphere', 2.0)):
    row = rows[arm, 'label_changes', None]
    assert (row['value'], row['low'], row['high'], row['n']) == (value, value, value, 6)
  for r, value in (('0.700', 1.0), ('0.960', 1.0), ('0.980', 0.0), ('1.000', 0.0), ('1.250', 0.0), ('1.300', 1.0)):
    assert rows['norm', 'label_differs', r]['value'] == rows['norm - sphere', 'label_differs', r]['value'] == value
    assert rows['sphere', 'label_differs', r]['value'] == 0.0


def test_intervals_are_over_the_directions():
  """Half of the directions change at the last step: a share of 0.5 with the interval of a coin."""
  labels = np.zeros((200, 23), int)
  labels[:100, -1] = 1
  rows = appendix_a.label_rows({'norm': labels, 'sphere': 0 * labels}, seed=0)
  row, = [r for r in rows if (r['arm'], r['metric'], r['reference']) == ('norm', 'label_differs', '1.300')]
  assert row['value'] == 0.5
  assert row['high'] - row['low'] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200), rel=0.15)
