"""How far T^-1(z) moves as z does, which a student of one pass has to follow, and how far its students' S(z) do.

z(e) = sqrt(1 - e^2) z + e v of two prior draws z and v is a prior draw too. The number is the mean squared distance of
T^-1(z(e)) and T^-1(z) over that of T^-1(v) and T^-1(z), which have nothing to do with each other: 0 at e = 0, 1 at e = 1. Of a
linear T it is 1 - sqrt(1 - e^2), whatever its coefficients: half of e^2 where e is small. Of S the same.
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
from inverse_matching.experiments import distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.losses import distances
from inverse_matching.solvers.batched import solver_fn
from inverse_matching.training import checkpoint

WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)  # e
SHOWN = 10  # rows of the picture


def points(z: np.ndarray, other: np.ndarray) -> np.ndarray:
  """z(e) [weights, N, *event] for each of WEIGHTS, of prior draws [N, *event]."""
  weights = np.array(WEIGHTS).reshape(-1, *[1] * z.ndim)
  return (np.sqrt(1 - weights**2) * z + weights * other).astype(np.float32)


def linear(weight: np.ndarray) -> np.ndarray:
  """The number of a linear T: |z(e) - z|^2 over |v - z|^2, in the mean."""
  return 1 - np.sqrt(1 - weight**2)


def moved_rows(arm: str, x: np.ndarray, moved: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
  """Rows of an arm's image of z, x [N, *event], and those of z(e) [weights, N, *event], with bootstrap intervals over the z.

  The metric is `moved`, the reference e, and the floor that of a linear map.
  """
  far = [np.asarray(distances.l2(each, x), np.float64) for each in moved]
  ratio = lambda pairs: float(pairs[:, 0].mean() / pairs[:, 1].mean())
  return [statistics.row(arm, 'moved', str(weight), statistics.bootstrap(ratio, np.stack([of, far[-1]], 1), seed=seed),
                         n=len(x), seed=seed, floor=float(linear(weight))) for weight, of in zip(WEIGHTS, far)]


def run(experiment: Experiment) -> str:
  """Writes sensitivity.json and sensitivity.png; returns the table.

  The teacher, that of figures 4 and 5, is trained if it is not there; the students of config.sensitivity.arms, of the first
  training seed, are used if they are, as far as they are trained. That section has num_samples and seed too.

  Raises:
    InputError: the prior of the teacher is not the standard normal, or its data are not images.
  """
  config, path, devices = experiment.config, experiment.path, experiment.devices
  settings = config['sensitivity']
  stages = Stages(path / 'timing.json', ['train the teacher', 'sensitivity'])
  teacher = runs.check(config)
  if not priors.is_standard_normal(teacher.prior, teacher.event_shape):
    raise InputError('The draws of a standard normal prior are mixed here, which this teacher does not have: use prior=normal '
                     'in its elementwise map.')
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  examples.images_of(teacher_run)
  folders = {arm: distillation.student_folder(path, arm, each)
             for arm, each in distillation.student_configs(config, settings['arms']).items()}
  trained = [arm for arm, folder in folders.items() if (folder / 'config.json').exists()]
  students = {arm: runs.load_student(folders[arm], teacher_run) for arm in trained}
  about = {'weights': list(WEIGHTS), **settings, 'data': config['data'], 'teacher_hash': teacher_run.hash,
           'students': {arm: {'hash': checkpoint.tree_hash(student.params), 'updates': runs.last_step(folders[arm])}
                        for arm, student in students.items()}}
  picture = path / 'sensitivity.png'
  if not picture.exists():
    (path / 'sensitivity.json').unlink(missing_ok=True)  # the picture is made with the numbers
  rows = stages.run('sensitivity', experiment.cached, 'sensitivity', about, functools.partial(
      _measure, picture, teacher_run, students, settings, devices))
  return 'How far T^-1(z) moves as z does\n' + Rows(rows).table(('arm', 'metric', 'reference', 'value', 'low', 'high', 'floor'))


def _measure(picture: pathlib.Path, run: runs.TeacherRun, students: Mapping[str, runs.StudentRun], settings: Mapping[str, Any],
             devices: int | None) -> list[dict[str, Any]]:
  num, seed = settings['num_samples'], settings['seed']
  z, other = np.split(runs.prior_draws(run.teacher, seed, np.arange(2 * num)), 2)
  everywhere = np.concatenate([z[None].astype(np.float32), points(z, other)])
  flat = everywhere.reshape(-1, *z.shape[1:])
  images = {'teacher': solver_fn(run.teacher, 'auto', devices)(run.params, flat).x,
            **{arm: runs.generate(student, flat, devices) for arm, student in students.items()}}
  images = {arm: x.reshape(everywhere.shape) for arm, x in images.items()}
  rows = [row for arm, (x, *moved) in images.items() for row in moved_rows(arm, x, np.stack(moved), seed=seed)]
  shown = np.swapaxes(images['teacher'], 0, 1)[:SHOWN].reshape(-1, *z.shape[1:])
  _draw(picture, examples.to_pixels(run, shown), Rows(rows), run.space.levels)
  return rows


def _draw(path: pathlib.Path, images: np.ndarray, rows: Rows, levels: int) -> None:
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout='constrained')
  for (arm,), line in rows.groups('arm').items():
    left.plot(WEIGHTS, line.values('value'), marker='o', markersize=3, label=arm, color='black' if arm == 'teacher' else None)
    left.fill_between(WEIGHTS, line.values('low'), line.values('high'), alpha=0.2, color='black' if arm == 'teacher' else None)
  left.plot(WEIGHTS, linear(np.array(WEIGHTS)), color='tab:green', linewidth=1, label='any linear map')
  left.set(xscale='log', yscale='log', xlabel='e: weight of the other draw in z(e)',
           ylabel='distance of the images of z(e) and z, of unrelated ones 1')
  left.grid(alpha=0.3)
  left.legend(fontsize=8)
  figures.show(right, images, len(WEIGHTS) + 1, levels)
  width = (right.get_xlim()[1] + 0.5) / (len(WEIGHTS) + 1)  # of an image, in pixels
  right.set_xticks([(i + 0.5) * width for i in range(len(WEIGHTS) + 1)], labels=['z', *map(str, WEIGHTS)], fontsize=8)
  right.set_yticks([])
  right.set_title('T^-1(z(e)): a z in each row, e below', fontsize=9)
  figures.save(figure, path)
