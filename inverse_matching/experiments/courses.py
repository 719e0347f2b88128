"""Students that train for a number of updates, with checkpoints on the way, for studies of training."""
import math
import pathlib
from typing import Any, Callable, Iterable, Mapping

from absl import logging
import jax

from inverse_matching import runs
from inverse_matching.errors import InputError
from inverse_matching.experiments import distillation
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import TeacherRun, exported
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import loop
from inverse_matching.training.metrics import held_out_losses

TUNING_SEED = 900  # of trainings that a rate is chosen by, which no other training has


def overlay(*, rate: float, updates: int, every: int, schedule: str | None = None) -> dict[str, Any]:
  """What a training has for its sections optimizer and train.

  Args:
    rate: of learning, at first.
    updates: in all, a multiple of `every`.
    every: updates between two checkpoints, all of which are kept, and two values of the held-out loss.
    schedule: of the rate. None: it is constant; 'cosine': it falls to 0.
  """
  return {'optimizer': {'learning_rate': rate, 'schedule': schedule, 'decay_rate': 1.0, 'warmup_epochs': None,
                        'cooldown_epochs': None},
          'train': {'num_epochs': updates // every, 'epoch_updates': every, 'evaluate_every_epochs': 1,
                    'checkpoint_every_epochs': 1, 'keep_checkpoints': updates // every}}


def train(experiment: Experiment, config: Mapping[str, Any], workdir: pathlib.Path, teacher_run: TeacherRun, *,
          pairs: pathlib.Path | None = None, init_from: pathlib.Path | None = None, init_step: int | None = None,
          **of_course: Any) -> pathlib.Path:
  """Trains, and returns the workdir.

  Args:
    experiment: whose devices are used.
    config: of the student.
    workdir: of the student.
    teacher_run: its teacher.
    pairs, init_from, init_step: see runs.distill.
    **of_course: see `overlay`.
  """
  exported.require_run(workdir)
  runs.distill(merge(config, overlay(**of_course)), workdir, teacher_run, pairs, experiment.devices, init_from=init_from,
               init_step=init_step, features=distillation.features_folder(experiment.path, config))
  jax.clear_caches()
  return workdir


class NoRate(InputError):
  """With none of the rates the loss is finite."""


def reached(rates: Iterable[float], trained: Callable[[float], pathlib.Path]) -> dict[float, float]:
  """Rate -> the held-out loss at the end of what `trained` trains with it, inf if it is not finite."""

  def of(rate):
    try:
      losses = held_out_losses(trained(rate))
    except loop.NotFinite as error:
      logging.info('The rate %g is too high: %s', rate, error)
      return math.inf
    return losses[max(losses)]

  return {rate: of(rate) for rate in rates}


def best_of(found: Mapping[float, float]) -> float:
  """The rate with the lowest loss, of those that `reached` returns.

  Raises:
    NoRate: none is finite.
  """
  best = min(found, key=found.get)
  if not math.isfinite(found[best]):
    raise NoRate(f'With none of the rates {", ".join(f"{rate:g}" for rate in found)} the loss is finite at the end: name '
                 'lower ones in the config.')
  if len(found) > 1 and best in (min(found), max(found)):
    logging.info('The best rate, %g, is at the edge of those that were tried: another one may be better.', best)
  return best


def best_rate(rates: Iterable[float], trained: Callable[[float], pathlib.Path]) -> float:
  """The rate after which the held-out loss is lowest at the end, of those with which `trained` trains; see `best_of`."""
  return best_of(reached(rates, trained))

