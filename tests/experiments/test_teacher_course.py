"""A teacher along its training."""
import json

from commands import launched
import numpy as np
from PIL import Image
import pytest
import small_run

from inverse_matching.evaluation import examples
from inverse_matching.experiments import teacher_course
from inverse_matching.experiments.experiment import Experiment, Rows


@pytest.mark.slow
def test_every_checkpoint_is_measured(tmp_path):
  """In the order of the updates; the bits are those of the held-out loss at each."""
  launched('reproduce', '--figure=teacher_course', '--config=configs/digits.py:smoke', f'--workdir={tmp_path}')
  rows = Rows(json.loads((tmp_path / 'teacher_course.json').read_text())['rows'])
  assert rows.distinct('updates') == [26, 52]
  for metric in ('bits_per_dim', 'nats_below_data', 'two_sample_accuracy', 'coverage', 'memorisation_ratio'):
    assert all(row['low'] <= row['value'] <= row['high'] for row in rows.where(metric=metric)) and rows.where(metric=metric)
  first, last = rows.where(metric='bits_per_dim').values('value')
  assert last < first
  assert Image.open(tmp_path / 'teacher_course.png').width > 600


def test_samples_are_less_likely_than_data_by_so_many_nats(tmp_path, monkeypatch):
  """By hand: mean log p of images minus that of samples, with an interval around it."""
  run = small_run.RUN
  drawn = np.random.default_rng(0).normal(size=(16, *small_run.EVENT)).astype(np.float32) / 2
  monkeypatch.setattr(teacher_course.runs, 'load_teacher', lambda workdir, step: run)
  monkeypatch.setattr(teacher_course.runs, 'draw_pairs', lambda run, num, seed, devices: {'x': drawn[:num]})
  monkeypatch.setattr(teacher_course.jax, 'clear_caches', lambda: None)
  config = {'teacher_course': {'num_samples': 16, 'seed': 3}}
  rows, pixels = teacher_course._measure(Experiment(config, tmp_path, 'command', 1), 100, lambda values: [])
  x = examples.encode_split(run, run.source.data.held_out, 3, 1)
  of_data, of_samples = (np.asarray(run.teacher.log_prob(run.params, values), np.float64) for values in (x, drawn))
  row, = Rows(rows).where(metric='nats_below_data')
  assert row['value'] == pytest.approx(of_data.mean() - of_samples.mean(), rel=1e-4) and abs(row['value']) > 1
  error = 1.96 * np.sqrt(of_data.var() / len(of_data) + of_samples.var() / len(of_samples))
  assert (row['high'] - row['value'], row['value'] - row['low']) == pytest.approx((error, error), rel=1e-4)
  np.testing.assert_array_equal(pixels, examples.to_pixels(run, drawn))
