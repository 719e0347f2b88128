"""Which checkpoint has the best samples."""
import types

import numpy as np
import pytest

from inverse_matching.data.images.dataset import Images, Split
from inverse_matching.evaluation import set_distances
from inverse_matching.experiments import selection
from inverse_matching.experiments.distillation import Outcome
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs.classifier import Observer


def outcome_of(images, num):
  """With what the choice of a checkpoint asks of it, for `num` samples; features are the pixels."""
  context = types.SimpleNamespace(observer=Observer(lambda pixels: (pixels.reshape(len(pixels), -1) / 16, None)), seed=7,
                                  samples=types.SimpleNamespace(z=np.zeros((num, 2, 2, 1))), settings={'seed': 7})
  run = types.SimpleNamespace(source=types.SimpleNamespace(data=images), teacher='the teacher')
  return Outcome(run, {}, context, [], {}, None)


def test_distance_to_the_validation_part():
  """By hand, to as many images as there are samples; to training images where none are set apart; never to held-out ones."""
  train, validation, held_out, pixels = (
      np.random.default_rng(seed).integers(low, 17, (20, 2, 2, 1)) for seed, low in enumerate((0, 6, 12, 3)))
  images = Images(Split(train), Split(held_out), 17, Split(validation))
  for given, to in ((images, validation), (images._replace(validation=None), train)):
    found = selection.distance_to_validation(outcome_of(given, 12))(pixels)
    expected = set_distances.kernel_statistic(pixels / 16, to[:12] / 16)(np.arange(20), np.arange(12))
    assert found == pytest.approx(expected)


def test_the_distance_of_every_checkpoint(tmp_path, monkeypatch):
  """Of samples of noise of the next seed; they are kept with the run, and not drawn again."""
  distances, drawn = {100: 0.3, 200: 0.1, 300: 0.2}, []
  outcome = outcome_of(None, 12)

  def prior_draws(teacher, seed, index):
    assert (teacher, seed, index.tolist()) == ('the teacher', 8, list(range(12)))
    return 'noise'

  def generate(student_run, z, devices):
    drawn.append(student_run.params)
    return (student_run.params, z)

  monkeypatch.setattr(selection.runs, 'prior_draws', prior_draws)
  monkeypatch.setattr(selection.runs, 'generate', generate)
  monkeypatch.setattr(selection.runs, 'load_student',
                      lambda workdir, run, step=300: types.SimpleNamespace(params=np.float32(step)))
  monkeypatch.setattr(selection.examples, 'to_pixels', lambda run, x: x)
  monkeypatch.setattr(selection.checkpoint, 'steps', lambda workdir: list(distances))
  to_validation = {(step, 'noise'): value for step, value in distances.items()}.__getitem__
  experiment = Experiment({}, tmp_path, 'command')
  for _ in range(2):
    assert selection.along(experiment, outcome, to_validation, tmp_path / 'student', 12) == distances
  assert drawn == list(distances) and (tmp_path / 'student' / 'steps_12.json').exists()
