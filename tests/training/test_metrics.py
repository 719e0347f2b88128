"""metrics.jsonl and pictures."""
import json

import numpy as np
from PIL import Image
import pytest

from inverse_matching.runtime import files
from inverse_matching.training.metrics import MetricsWriter


def lines(tmp_path):
  text = (tmp_path / 'metrics.jsonl').read_text()
  return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in text.splitlines()]


def test_metrics_are_lines_of_json(tmp_path):
  """One object a line, readable at once; what is not finite is null."""
  metrics = MetricsWriter(tmp_path, 0)
  metrics.write(1, {'loss': 2.5, 'bad': float('nan')})
  assert lines(tmp_path) == [{'step': 1, 'loss': 2.5, 'bad': None}]
  metrics.write(2, {'loss': 1.5})
  metrics.close()
  assert [row['step'] for row in lines(tmp_path)] == [1, 2]


def test_resume_drops_what_is_past_the_checkpoint(tmp_path):
  """Lines past the resumed step, and the line that was cut off by a kill."""
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "loss": 1}\n'
                                          '{"step": 3, "lo')
  metrics = MetricsWriter(tmp_path, 2)
  metrics.write(3, {'loss': 1.0})
  metrics.close()
  assert lines(tmp_path) == [{'step': 1, 'loss': 3}, {'step': 2, 'loss': 2}, {'step': 3, 'loss': 1.0}]


def test_image_grid():
  """Levels map to 0..255, images stand row by row, what is left over is white."""
  images = np.array([0, 8, 16], np.uint8).reshape(3, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
  grid = files.image_grid(images, columns=2, levels=17)
  assert grid.shape == (7, 7, 1) and grid.dtype == np.uint8
  assert (grid[1:3, 1:3] == 0).all() and (grid[1:3, 4:6] == 128).all() and (grid[4:6, 1:3] == 255).all()
  assert (grid[4:6, 4:6] == 255).all() and (grid[0] == 255).all() and (grid[:, 3] == 255).all()


@pytest.mark.parametrize('channels', [1, 3])
def test_png_round_trip(tmp_path, channels):
  """Each pixel becomes a square."""
  picture = np.random.default_rng(0).integers(0, 256, (2, 3, channels)).astype(np.uint8)
  files.write_png(tmp_path / 'a.png', picture, zoom=2)
  back = np.asarray(Image.open(tmp_path / 'a.png'))
  np.testing.assert_array_equal(back.reshape(4, 6, channels), np.repeat(np.repeat(picture, 2, 0), 2, 1))
