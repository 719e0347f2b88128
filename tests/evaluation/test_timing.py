"""Rows of what a sample costs."""
import constructors
import jax
import numpy as np
import pytest

from inverse_matching.evaluation import timing

KEYS = {'solver', 'shape', 'batch', 'seconds_per_image', 'sweeps', 'sweeps_max', 'speedup_over_ancestral',
        'speedup_over_best_exact', 'passes', 'timed_dims'}


def measure(name, **settings):
  case = constructors.teacher_case(name)
  shape = case.model.event_shape
  student = constructors.dense_flow(shape)
  models = {'flow': (student, student.init(jax.random.key(0)))}
  rows = timing.sampling_rows(case.model, case.params, models, batch=4, seed=0, rounds=1, **settings)
  return {row['solver']: row for row in rows}


def test_rows():
  """Ratios are those of the seconds; sweeps are those of the solvers; a teacher without a cache has fewer solvers."""
  rows = measure('dense', warm_start='flow')
  assert list(rows) == ['ancestral', 'fixed_point', 'fixed_point from flow', 'teacher pass', 'flow']
  best = min(rows[name]['seconds_per_image'] for name in list(rows)[:3])
  for row in rows.values():
    assert set(row) == KEYS and row['batch'] == 4 and row['shape'] == [6]
    seconds = row['seconds_per_image']
    assert row['speedup_over_ancestral'] == pytest.approx(rows['ancestral']['seconds_per_image'] / seconds)
    assert row['speedup_over_best_exact'] == pytest.approx(best / seconds)
    assert row['passes'] == pytest.approx(seconds / rows['teacher pass']['seconds_per_image'])
  assert rows['ancestral']['sweeps'] == 6 and 1 < rows['fixed_point']['sweeps'] <= rows['fixed_point']['sweeps_max'] <= 6
  assert rows['flow']['sweeps'] == 1


@pytest.mark.slow
def test_cached_sampling_is_timed_where_it_serves():
  """And each position once is one sweep."""
  rows = measure('pixelcnn')
  assert 'cached' in rows and rows['cached']['sweeps'] == 1


def test_chains_and_teachers_that_no_solver_serves():
  """A chain takes T sweeps a block; a teacher from a transform is timed by its own z_to_x."""
  rows = measure('chain')
  assert rows['ancestral']['sweeps'] == 2 * 5 and 2 < rows['fixed_point']['sweeps'] <= 2 * 5
  rows = measure('gaussian')
  assert list(rows) == ['auto', 'teacher pass', 'flow']
  assert rows['auto']['speedup_over_ancestral'] is None and rows['auto']['speedup_over_best_exact'] == 1


def test_long_ancestral_runs_are_scaled(monkeypatch):
  """Timed on two of six dimensions, and scaled by three."""
  monkeypatch.setattr(timing, 'ANCESTRAL_DIMS', 5)
  monkeypatch.setattr(timing, 'TIMED_DIMS', 2)
  monkeypatch.setattr(timing, '_median_seconds', lambda functions, rounds: dict.fromkeys(functions, 1.0))
  rows = measure('dense')
  assert rows['ancestral']['timed_dims'] == 2 and rows['ancestral']['sweeps'] == 6
  np.testing.assert_allclose(rows['fixed_point']['speedup_over_ancestral'], 3)
