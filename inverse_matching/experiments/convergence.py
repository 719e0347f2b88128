"""Are the networks of an experiment converged? Each trains on from its weights at the initial rate, and hardly gains."""
import functools
import math
import pathlib
from typing import Any, Callable

from absl import logging
import jax

from inverse_matching import losses, runs
from inverse_matching.experiments import distillation
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import exported
from inverse_matching.runtime.overlays import merge
from inverse_matching.training.loop import NotFinite
from inverse_matching.training.metrics import held_out_losses

GAIN = 0.01  # of the held-out loss, below which a network counts as converged


def run(experiment: Experiment) -> str:
  """Writes convergence.json; returns the table.

  config.convergence has arms, and the updates for which the teacher and each of these students train on, with a constant rate.

  Rows have the arm, the updates, the held-out loss before and after, its minimum before, gain (the share of it that was gained)
  and the state, see `state`. convergence.json is written after every network.
  """
  config, path, _, devices = experiment
  settings = config['convergence']
  for folder in (path / 'teacher', *(distillation.student_folder(path, *each) for each in
                                     distillation.student_configs(config, settings['arms']).items())):
    exported.require_run(folder)
  outcome = distillation.carry_out(experiment, settings['arms'], more_stages=[
      'train the teacher on', *(f'train {arm} on' for arm in settings['arms'])])
  stages, teacher_run = outcome.stages, outcome.teacher_run
  constant = {'optimizer': {'schedule': None, 'decay_rate': 1.0, 'warmup_epochs': None},
              'train': {'num_epochs': 1, 'epoch_updates': settings['updates'], 'evaluate_every_epochs': 1,
                        'checkpoint_every_epochs': 1, 'keep_checkpoints': 1}}
  folder = lambda arm: path / 'convergence' / arm
  about = {**distillation.settings(config, teacher_run), 'convergence': settings}
  rows = [_row('teacher', path / 'teacher', folder('teacher'), functools.partial(
      stages.run, 'train the teacher on', runs.train_teacher, merge(config, constant), folder('teacher'), devices,
      init_from=path / 'teacher'))]
  for arm, of_arm in distillation.student_configs(config, settings['arms']).items():
    student = distillation.student_folder(path, arm, of_arm)
    pairs = outcome.stores.get(losses.stored(of_arm['loss']))
    rows.append(_row(arm, student, folder(arm), functools.partial(
        stages.run, f'train {arm} on', runs.distill, merge(of_arm, constant), folder(arm), teacher_run, pairs, devices,
        init_from=student, features=distillation.features_folder(path, of_arm))))
    experiment.write('convergence', about, rows)
    jax.clear_caches()
  return experiment.write('convergence', about, rows).table(['arm', 'updates', 'before', 'after', 'minimum', 'gain', 'state'])


def _row(arm: str, workdir: pathlib.Path, continued: pathlib.Path, train_on: Callable[[], Any]) -> dict[str, Any]:
  try:
    train_on()
  except NotFinite as error:  # one of several, which must not end the study
    logging.warning('%s: %s', arm, error)
  losses, after = held_out_losses(workdir), held_out_losses(continued)
  before, minimum = losses[max(losses)], min(losses.values())
  last = max(after, default=None)
  after = after.get(last)
  gain = None if after is None or not math.isfinite(after) else (before - after) / abs(before)
  return {'arm': arm, 'metric': 'held_out_loss', 'updates': last, 'before': before, 'after': after, 'minimum': minimum,
          'gain': gain, 'state': state(before, minimum, gain)}


def state(before: float, minimum: float, gain: float | None) -> str:
  """Of a network: it `gains`, more than GAIN of its loss; its loss is `past its minimum`, by more than GAIN, which is a matter
  of too little data and not of too few updates; it `diverged` where it trained on; or it is `converged`."""
  if gain is None:
    return 'diverged'
  if gain >= GAIN:
    return 'gains'
  return 'past its minimum' if before - minimum > GAIN * abs(minimum) else 'converged'

