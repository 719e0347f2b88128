"""Students that train for a number of updates at a constant rate, with checkpoints on the way, for studies of training."""
import pathlib
from typing import Any, Callable, Iterable, Mapping

import jax

from inverse_matching import runs
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import TeacherRun
from inverse_matching.runtime.overlays import merge
from inverse_matching.training.metrics import held_out_losses


def train(experiment: Experiment, config: Mapping[str, Any], workdir: pathlib.Path, teacher_run: TeacherRun, *, rate: float,
          updates: int, every: int, pairs: pathlib.Path | None = None, init_from: pathlib.Path | None = None,
          init_step: int | None = None, features: pathlib.Path | None = None) -> pathlib.Path:
  """Trains, and returns the workdir.

  Args:
    experiment: whose devices are used.
    config: of the student.
    workdir: of the student.
    teacher_run: its teacher.
    rate: of learning, constant.
    updates: in all, a multiple of `every`.
    every: updates between two checkpoints, all of which are kept, and two values of the held-out loss.
    pairs, init_from, init_step, features: see runs.distill.
  """
  # An epoch of so many updates, whatever the data.
  space = teacher_run.space._replace(epoch_size=every * config['train']['batch_size'])
  constant = merge(config, {
      'optimizer': {'learning_rate': rate, 'schedule': None, 'decay_rate': 1.0, 'warmup_epochs': None},
      'train': {'num_epochs': updates // every, 'evaluate_every_epochs': 1, 'checkpoint_every_epochs': 1,
                'keep_checkpoints': updates // every}})
  runs.distill(constant, workdir, teacher_run._replace(space=space), pairs, experiment.devices, init_from=init_from,
               init_step=init_step, features=features)
  jax.clear_caches()
  return workdir


def best_rate(rates: Iterable[float], trained: Callable[[float], pathlib.Path]) -> float:
  """The rate after which the held-out loss is lowest at the end, of those with which `trained` trains."""

  def reached(rate):
    losses = held_out_losses(trained(rate))
    return losses[max(losses)]

  return min(rates, key=reached)
