"""A teacher along its training."""
import json

from commands import launched
from PIL import Image
import pytest

from inverse_matching.experiments.experiment import Rows


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
