"""Which checkpoint of a student has the best samples: those nearest to the validation part, of noise that nothing else uses."""
import pathlib
from typing import Callable

import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import examples, set_distances
from inverse_matching.experiments import distillation
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.runs import StudentRun
from inverse_matching.training import checkpoint

ToValidation = Callable[[np.ndarray], float]  # integer images -> their kernel distance to the validation part


def distance_to_validation(outcome: distillation.Outcome) -> ToValidation:
  """The distance to the validation part, or where there is none to the training images.

  It is the evaluation's classifier that chooses: the measures of other networks judge without having chosen.
  """
  context, data = outcome.context, outcome.teacher_run.source.data
  to = context.observer.features((data.validation or data.train).pixels[:len(context.samples.z)])

  def distance(pixels: np.ndarray) -> float:
    found = context.observer.features(pixels)
    return float(set_distances.kernel_statistic(found, to)(np.arange(len(found)), np.arange(len(to))))

  return distance


def of_student(experiment: Experiment, outcome: distillation.Outcome, to_validation: ToValidation, student_run: StudentRun,
               num: int) -> float:
  """The distance of `num` samples of a student."""
  teacher_run = outcome.teacher_run
  z = runs.prior_draws(teacher_run.teacher, outcome.context.seed + 1, np.arange(num))
  return to_validation(examples.to_pixels(teacher_run, runs.generate(student_run, z, experiment.devices)))


def along(experiment: Experiment, outcome: distillation.Outcome, to_validation: ToValidation, workdir: pathlib.Path,
          num: int) -> dict[int, float]:
  """Step of each checkpoint -> the distance of `num` samples; they are measured once, and kept with the run."""
  load = lambda step=None: runs.load_student(workdir, outcome.teacher_run, step)
  name = str((workdir / f'steps_{num}').relative_to(experiment.path))
  about = {**outcome.context.settings, 'student_hash': checkpoint.tree_hash(load().params)}
  rows = experiment.cached(name, about, lambda: [
      {'step': step, 'distance_to_validation': of_student(experiment, outcome, to_validation, load(step), num)}
      for step in checkpoint.steps(workdir)])
  return {row['step']: row['distance_to_validation'] for row in rows}
