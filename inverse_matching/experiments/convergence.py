"""Are the networks of an experiment converged? Each trains on from its weights, at its initial rate again, and hardly gains."""
import functools
import math
import pathlib
from typing import Any, Callable

from absl import logging

from inverse_matching import losses, runs
from inverse_matching.experiments import courses, distillation
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import exported
from inverse_matching.runtime.overlays import merge
from inverse_matching.training.loop import NotFinite
from inverse_matching.training.metrics import held_out_losses

GAIN = 0.01  # of the held-out loss, below which a network counts as converged


def run(experiment: Experiment) -> str:
  """Writes convergence.json; returns the table.

  config.convergence has arms, and the updates for which the teacher and each of these students train on. The rate falls from
  the initial one to 0 by a cosine: at a constant one a network loses at once what the low rates at the end of its schedule
  gained, and would always count as converged. A teacher that is an exported model, whose losses are not known, is left out.

  Rows have the arm, the updates, the held-out loss before and after, its minimum before, gain (the share of it that was gained)
  and the state, see `state`. convergence.json is written after every network.
  """
  config, path, _, devices = experiment
  settings = config['convergence']
  for each in distillation.student_configs(config, settings['arms']).items():
    exported.require_run(distillation.student_folder(path, *each))
  has_losses = not exported.is_model(path / 'teacher')
  outcome = distillation.carry_out(experiment, settings['arms'], more_stages=[
      *(['train the teacher on'] if has_losses else []), *(f'train {arm} on' for arm in settings['arms'])])
  stages, teacher_run = outcome.stages, outcome.teacher_run
  again = lambda config: dict(rate=config['optimizer']['learning_rate'], updates=settings['updates'],
                              every=settings['updates'], schedule='cosine')
  folder = lambda arm: path / 'convergence' / arm
  about = {**distillation.settings(config, teacher_run), 'convergence': settings}
  rows = [_row('teacher', path / 'teacher', folder('teacher'), functools.partial(
      stages.run, 'train the teacher on', runs.train_teacher, merge(config, courses.overlay(**again(config))),
      folder('teacher'), devices, init_from=path / 'teacher'))] if has_losses else []
  for arm, of_arm in distillation.student_configs(config, settings['arms']).items():
    student = distillation.student_folder(path, arm, of_arm)
    pairs = outcome.stores.get(losses.stored(of_arm['loss']))
    rows.append(_row(arm, student, folder(arm), functools.partial(
        stages.run, f'train {arm} on', courses.train, experiment, of_arm, folder(arm), teacher_run, pairs=pairs,
        init_from=student, **again(of_arm))))
    experiment.write('convergence', about, rows)
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

