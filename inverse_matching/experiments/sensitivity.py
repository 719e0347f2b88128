"""How far T^-1(z) moves as z does: what a student of one pass has to follow.

z(e) = sqrt(1 - e^2) z + e v of two prior draws z and v is a prior draw too. The number is the mean squared distance of
T^-1(z(e)) and T^-1(z) over that of T^-1(v) and T^-1(z), which have nothing to do with each other: 0 at e = 0, 1 at e = 1. Of a
linear T it is 1 - sqrt(1 - e^2), whatever its coefficients: half of e^2 where e is small.
"""
import functools
import pathlib
from typing import Any, Mapping

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.elementwise import priors
from inverse_matching.errors import InputError
from inverse_matching.evaluation import examples, statistics
from inverse_matching.experiments import figures
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.losses import distances
from inverse_matching.solvers.batched import solver_fn

WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)  # e
SHOWN = 10  # rows of the picture


def points(z: np.ndarray, other: np.ndarray) -> np.ndarray:
  """z(e) [weights, N, *event] for each of WEIGHTS, of prior draws [N, *event]."""
  weights = np.array(WEIGHTS).reshape(-1, *[1] * z.ndim)
  return (np.sqrt(1 - weights**2) * z + weights * other).astype(np.float32)


def linear(weight: np.ndarray) -> np.ndarray:
  """The number of a linear T: |z(e) - z|^2 over |v - z|^2, in the mean."""
  return 1 - np.sqrt(1 - weight**2)


def moved_rows(x: np.ndarray, moved: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
  """Rows of T^-1(z) [N, *event] and T^-1(z(e)) [weights, N, *event], with bootstrap intervals over the z.

  The metric is `moved`, the reference e, and the floor that of a linear T.
  """
  far = [np.asarray(distances.l2(each, x), np.float64) for each in moved]
  ratio = lambda pairs: float(pairs[:, 0].mean() / pairs[:, 1].mean())
  return [statistics.row('teacher', 'moved', str(weight), statistics.bootstrap(ratio, np.stack([of, far[-1]], 1), seed=seed),
                         n=len(x), seed=seed, floor=float(linear(weight))) for weight, of in zip(WEIGHTS, far)]


def run(experiment: Experiment) -> str:
  """Trains the teacher if it is not there, and writes sensitivity.json and sensitivity.png; returns the table.

  config.sensitivity has num_samples and seed. The teacher is that of figures 4 and 5.

  Raises:
    InputError: the prior of the teacher is not the standard normal, or its data are not images.
  """
  config, path, devices = experiment.config, experiment.path, experiment.devices
  stages = Stages(path / 'timing.json', ['train the teacher', 'sensitivity'])
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  examples.images_of(teacher_run)
  if not priors.is_standard_normal(teacher_run.teacher.prior, teacher_run.teacher.event_shape):
    raise InputError('The draws of a standard normal prior are mixed here, which this teacher does not have: use prior=normal '
                     'in its elementwise map.')
  settings = {'weights': list(WEIGHTS), **config['sensitivity'], 'data': config['data'], 'teacher_hash': teacher_run.hash}
  picture = path / 'sensitivity.png'
  if not picture.exists():
    (path / 'sensitivity.json').unlink(missing_ok=True)  # the picture is made with the numbers
  rows = stages.run('sensitivity', experiment.cached, 'sensitivity', settings, functools.partial(
      _solve, picture, teacher_run, config['sensitivity'], devices))
  return 'How far T^-1(z) moves as z does\n' + Rows(rows).table(('arm', 'metric', 'reference', 'value', 'low', 'high', 'floor'))


def _solve(picture: pathlib.Path, run: runs.TeacherRun, settings: Mapping[str, Any], devices: int | None
           ) -> list[dict[str, Any]]:
  num, seed = settings['num_samples'], settings['seed']
  z, other = np.split(runs.prior_draws(run.teacher, seed, np.arange(2 * num)), 2)
  to_solve = np.concatenate([z[None].astype(np.float32), points(z, other)])
  solution = solver_fn(run.teacher, 'auto', devices)(run.params, to_solve.reshape(-1, *z.shape[1:]))
  x, *moved = solution.x.reshape(to_solve.shape)
  rows = moved_rows(x, np.stack(moved), seed=seed)
  shown = np.stack([x, *moved], 1)[:SHOWN].reshape(-1, *x.shape[1:])
  _draw(picture, examples.to_pixels(run, shown), Rows(rows), run.space.levels)
  return rows


def _draw(path: pathlib.Path, images: np.ndarray, rows: Rows, levels: int) -> None:
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout='constrained')
  left.plot(WEIGHTS, rows.values('value'), marker='o', markersize=3, label='teacher')
  left.fill_between(WEIGHTS, rows.values('low'), rows.values('high'), alpha=0.2)
  left.plot(WEIGHTS, rows.values('floor'), color='tab:green', linewidth=1, label='any linear T')
  left.set(xscale='log', yscale='log', xlabel='e: weight of the other draw in z(e)',
           ylabel='distance of T^-1(z(e)) and T^-1(z), of unrelated ones 1')
  left.grid(alpha=0.3)
  left.legend(fontsize=8)
  figures.show(right, images, len(WEIGHTS) + 1, levels)
  width = (right.get_xlim()[1] + 0.5) / (len(WEIGHTS) + 1)  # of an image, in pixels
  right.set_xticks([(i + 0.5) * width for i in range(len(WEIGHTS) + 1)], labels=['z', *map(str, WEIGHTS)], fontsize=8)
  right.set_yticks([])
  right.set_title('T^-1(z(e)): a z in each row, e below', fontsize=9)
  figures.save(figure, path)
