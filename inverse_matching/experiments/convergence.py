"""Are the networks of an experiment converged? Each trains on from its weights at the initial rate, and hardly gains."""
import functools
import math
import pathlib
from typing import Any

import jax

from inverse_matching import losses, runs
from inverse_matching.experiments import distillation
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import exported
from inverse_matching.runtime.overlays import merge
from inverse_matching.training.metrics import held_out_losses

GAIN = 0.01  # of the held-out loss, below which a network counts as converged


def run(experiment: Experiment) -> str:
  """Writes convergence.json; returns the table.

  config.convergence has arms, and num_epochs for which the teacher and each of these students train on, with a constant rate.

  Rows have the arm, the updates, the held-out loss before and after, gain (the share of it that was gained) and whether that is
  below GAIN (`is_converged`).
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
              'train': {'num_epochs': settings['num_epochs'], 'evaluate_every_epochs': settings['num_epochs'],
                        'checkpoint_every_epochs': settings['num_epochs'], 'keep_checkpoints': 1}}
  folder = lambda arm: path / 'convergence' / arm
  stages.run('train the teacher on', runs.train_teacher, merge(config, constant), folder('teacher'), devices,
             init_from=path / 'teacher')
  rows = [_row('teacher', path / 'teacher', folder('teacher'))]
  for arm, of_arm in distillation.student_configs(config, settings['arms']).items():
    student = distillation.student_folder(path, arm, of_arm)
    pairs = outcome.stores.get(losses.stored(of_arm['loss']))
    stages.run(f'train {arm} on', functools.partial(
        runs.distill, merge(of_arm, constant), folder(arm), teacher_run, pairs, devices, init_from=student,
        features=distillation.features_folder(path, of_arm)))
    rows.append(_row(arm, student, folder(arm)))
    jax.clear_caches()
  about = {**distillation.settings(config, teacher_run), 'convergence': settings}
  return experiment.write('convergence', about, rows).table(['arm', 'updates', 'before', 'after', 'gain', 'is_converged'])


def _row(arm: str, workdir: pathlib.Path, continued: pathlib.Path) -> dict[str, Any]:
  before, after = (held_out_losses(folder) for folder in (workdir, continued))
  last = max(after)
  before, after = before[max(before)], after[last]
  gain = (before - after) / abs(before) if math.isfinite(after) else math.nan
  return {'arm': arm, 'metric': 'held_out_loss', 'updates': last, 'before': before, 'after': after, 'gain': gain,
          'is_converged': gain < GAIN}
