"""Appendix A of the paper: T^-1(z) as the norm of z changes and its direction does not; and how often the class changes.

From the point z_1 = sqrt(T) u of a random direction u there are two paths, over the paper's radii r. `norm`: z = r sqrt(T) u.
`sphere`: as far from z_1, |r - 1| sqrt(T) in a straight line, towards or away from a random v orthogonal to u, but at the norm
sqrt(T). The displacements have equal lengths and random directions, apart from that one changes the norm and the other does
not: what is more along the first is the norm's doing.
"""
import functools
import pathlib
from typing import Any, Mapping

from absl import logging
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.elementwise import priors
from inverse_matching.errors import InputError
from inverse_matching.evaluation import examples, statistics, tables
from inverse_matching.experiments import figures
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.runs.classifier import Observer, train_classifier
from inverse_matching.solvers.batched import solver_fn

RADII = (0.700, 0.750, 0.800, 0.850, 0.900, 0.920, 0.940, 0.960, 0.980, 0.990, 0.995, 1.000, 1.005, 1.010, 1.020, 1.040, 1.060,
         1.080, 1.100, 1.150, 1.200, 1.250, 1.300)
CENTRE = RADII.index(1.0)
TITLES = {'norm': 'T^-1(r sqrt(T) u): a direction per row, r grows to the right',
          'sphere': 'As far from r = 1 in a random direction, at a fixed norm'}
COLUMNS = (('label_changes', None), *(('label_differs', r) for r in ('0.700', '0.900', '0.980', '1.020', '1.100', '1.300')))


def paths(draws: np.ndarray) -> dict[str, np.ndarray]:
  """The points of both paths, each [N, radii, T], of prior draws [2 N, T]: the first N give u, the others v."""
  radii = np.array(RADII)[:, None]
  u, w = np.split(draws.astype(np.float64), 2)
  u /= np.linalg.norm(u, axis=1, keepdims=True)
  v = w - np.sum(w * u, axis=1, keepdims=True) * u
  v /= np.linalg.norm(v, axis=1, keepdims=True)
  u, v = u[:, None], v[:, None]
  angle = 2 * np.arcsin((radii - 1) / 2)  # of a chord of length |r - 1|
  length = np.sqrt(draws.shape[1])
  return {'norm': length * radii * u, 'sphere': length * (np.cos(angle) * u + np.sin(angle) * v)}


def changes(labels: np.ndarray) -> np.ndarray:
  """How often the label differs from that of the radius before, [N] of labels [N, radii]."""
  return np.sum(labels[:, 1:] != labels[:, :-1], axis=1)


def label_rows(labels: Mapping[str, np.ndarray], seed: int) -> list[dict[str, Any]]:
  """Rows of labels, path -> [N, radii], with bootstrap intervals over the directions.

  - label_changes: how often the label changes along the path, of the 22 steps;
  - label_differs: the share of directions whose label is not that of z_1; the reference is r.

  The arm `norm - sphere` has the differences, which are paired: both paths begin at one point.
  """
  numbers = {path: (changes(label), (label != label[:, CENTRE:CENTRE + 1]).astype(int)) for path, label in labels.items()}
  numbers['norm - sphere'] = tuple(norm - sphere for norm, sphere in zip(numbers['norm'], numbers['sphere']))
  rows = []
  for arm, (changed, differs) in numbers.items():
    measured = [('label_changes', None, changed), *(('label_differs', f'{r:.3f}', at_r) for r, at_r in zip(RADII, differs.T))]
    rows += [statistics.row(arm, metric, reference, statistics.mean(values, seed=seed), n=len(values), seed=seed)
             for metric, reference, values in measured]
  return rows


def run(experiment: Experiment) -> str:
  """Trains the teacher if it is not there, and writes appendix_a.json and appendix_a.png; returns the table as text.

  config.appendix_a has num_directions, num_shown (rows of the picture) and seed. The teacher is that of figures 4 and 5.

  Raises:
    InputError: the prior of the teacher is not the standard normal.
  """
  config, path, devices = experiment.config, experiment.path, experiment.devices
  stages = Stages(path / 'timing.json', ['train the teacher', 'train the classifier of the metrics', 'appendix A'])
  teacher = runs.check(config)
  if not priors.is_standard_normal(teacher.prior, teacher.event_shape):
    raise InputError('Appendix A scales draws of a standard normal prior, which this teacher does not have: use prior=normal '
                     'in its elementwise map.')
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  classifier = stages.run('train the classifier of the metrics', train_classifier, teacher_run.config['data'],
                          path / 'teacher' / 'classifier', devices)
  settings = {'radii': list(RADII), **config['appendix_a'], 'data': config['data'], 'teacher_hash': teacher_run.hash,
              'classifier_hash': classifier.hash, 'classifier_accuracy': classifier.held_out_accuracy}
  picture = path / 'appendix_a.png'
  if not picture.exists():
    (path / 'appendix_a.json').unlink(missing_ok=True)  # the picture is made with the numbers
  rows = stages.run('appendix A', experiment.cached, 'appendix_a', settings, functools.partial(
      _solve, picture, teacher_run, classifier, config['appendix_a'], devices))
  return 'Appendix A\n' + tables.plain(tables.by_arm(rows, COLUMNS))


def _solve(picture: pathlib.Path, run: runs.TeacherRun, classifier: Observer, settings: Mapping[str, Any],
           devices: int | None) -> list[dict[str, Any]]:
  num, shape = settings['num_directions'], run.teacher.event_shape
  draws = runs.prior_draws(run.teacher, settings['seed'], np.arange(2 * num))
  solve = solver_fn(run.teacher, 'auto', devices)
  images, labels = {}, {}
  for path, z in paths(draws.reshape(2 * num, -1)).items():
    x = solve(run.params, z.reshape(-1, *shape).astype(np.float32)).x
    broken = np.isnan(x).reshape(len(x), -1).any(1)
    if broken.any():
      logging.warning('%d of %d images of the path %s are not numbers, and count as grey.', broken.sum(), len(x), path)
    pixels = examples.to_pixels(run, np.nan_to_num(x))
    images[path] = pixels[:settings['num_shown'] * len(RADII)]
    labels[path] = classifier.see(pixels)[1].argmax(1).reshape(num, len(RADII))
  rows = label_rows(labels, settings['seed'])
  _draw(picture, images, Rows(rows), run.space.levels)
  return rows


def _draw(path: pathlib.Path, images: Mapping[str, np.ndarray], rows: Rows, levels: int) -> None:
  count = len(images['norm']) // len(RADII)
  figure, axes = plt.subplots(3, 1, figsize=(9, 2 * 9 * count / len(RADII) + 3.5), layout='constrained',
                              height_ratios=[count, count, 7])
  for axis, (arm, title) in zip(axes, TITLES.items()):
    figures.show(axis, images[arm], len(RADII), levels)
    axis.set_title(title, fontsize=9)
    width = (axis.get_xlim()[1] + 0.5) / len(RADII)  # of an image, in pixels
    axis.set_xticks([(i + 0.5) * width for i in range(len(RADII))], labels=[f'{r:.3f}' for r in RADII], rotation=90, fontsize=7)
    axis.set_yticks([])
    line = rows.where(arm=arm, metric='label_differs')
    axes[2].plot(RADII, line.values('value'), marker='o', markersize=3, label=arm)
    axes[2].fill_between(RADII, line.values('low'), line.values('high'), alpha=0.2)
  axes[2].set(xlabel='r', ylabel='share of other label than at r = 1', ylim=(0, 1))
  axes[2].grid(alpha=0.3)
  axes[2].legend(fontsize=8)
  figures.save(figure, path)
