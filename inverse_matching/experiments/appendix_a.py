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
from inverse_matching.evaluation import evaluate, statistics, tables
from inverse_matching.evaluation.classifier import Classifier, train_classifier
from inverse_matching.experiments import figures
from inverse_matching.experiments.stages import Stages, cached
from inverse_matching.runtime import files
from inverse_matching.solvers.batched import solver_fn

RADII = (0.700, 0.750, 0.800, 0.850, 0.900, 0.920, 0.940, 0.960, 0.980, 0.990, 0.995, 1.000, 1.005, 1.010, 1.020, 1.040, 1.060,
         1.080, 1.100, 1.150, 1.200, 1.250, 1.300)
CENTRE = RADII.index(1.0)
PATHS = ('norm', 'sphere')


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
  numbers = {arm: (changes(each), each != each[:, CENTRE:CENTRE + 1]) for arm, each in labels.items()}
  (a, b), (c, d) = (numbers[arm] for arm in PATHS)
  numbers[' - '.join(PATHS)] = (a - c, b.astype(int) - d)
  rows = []
  for arm, (changed, differs) in numbers.items():
    rows.append(statistics.row(arm, 'label_changes', None, statistics.mean(changed, seed=seed), n=len(changed), seed=seed))
    rows += [statistics.row(arm, 'label_differs', f'{r:.3f}', statistics.mean(column, seed=seed), n=len(column), seed=seed)
             for r, column in zip(RADII, differs.T)]
  return rows


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Trains the teacher if it is not there, and writes appendix_a.json and appendix_a.png; returns the table as text.

  Args:
    config: as of distillation.run, with section appendix_a: num_directions, num_shown (rows of the picture) and seed.
    workdir: of the experiment; the teacher is that of figures 4 and 5.
    command: that was called, for the record.
    devices: number of local devices, or None.
  """
  path, settings = pathlib.Path(workdir), dict(config['appendix_a'])
  stages = Stages(path / 'timing.json', 3)
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  if not priors.is_standard_normal(teacher_run.teacher.prior, teacher_run.teacher.event_shape):
    raise InputError('Appendix A scales draws of a standard normal prior, which this teacher does not have: use prior=normal '
                     'in its elementwise map.')
  classifier = stages.run('train the classifier of the metrics', train_classifier, teacher_run.config['data'],
                          path / 'teacher' / 'classifier', devices)
  about = {'radii': list(RADII), **settings, 'data': config['data'], 'teacher_hash': teacher_run.hash,
           'classifier_hash': classifier.hash, 'classifier_accuracy': classifier.held_out_accuracy}
  output = path / 'appendix_a.json'
  if not (path / 'appendix_a.png').exists():
    output.unlink(missing_ok=True)  # the picture is made with the numbers
  rows = stages.run('appendix A', cached, output, command, about, functools.partial(
      _solve, path / 'appendix_a.png', teacher_run, classifier, settings, devices))
  columns = [('label_changes', None), *(('label_differs', r) for r in ('0.700', '0.900', '0.980', '1.020', '1.100', '1.300'))]
  return 'Appendix A\n' + tables.plain(tables.by_arm(rows, columns))


def _solve(path: pathlib.Path, run: runs.TeacherRun, classifier: Classifier, settings: Mapping[str, Any],
           devices: int | None) -> list[dict[str, Any]]:
  num, shape = settings['num_directions'], run.teacher.event_shape
  draws = runs.prior_draws(run.teacher, settings['seed'], np.arange(2 * num))
  solve = solver_fn(run.teacher, 'auto', devices)
  pixels, labels = {}, {}
  for arm, z in paths(draws.reshape(2 * num, -1)).items():
    x = solve(run.params, z.reshape(-1, *shape).astype(np.float32)).x
    broken = np.isnan(x).reshape(len(x), -1).any(1)
    if broken.any():
      logging.warning('%d of %d images of the path %s are not numbers, and count as grey.', broken.sum(), len(x), arm)
    flat = evaluate.to_pixels(run, np.nan_to_num(x))
    pixels[arm] = flat.reshape(num, len(RADII), *shape)
    labels[arm] = classifier.probabilities(flat).argmax(1).reshape(num, len(RADII))
  rows = label_rows(labels, settings['seed'])
  _draw(path, {arm: images[:settings['num_shown']] for arm, images in pixels.items()}, rows, run.space.levels)
  return rows


def _draw(path: pathlib.Path, pixels: Mapping[str, np.ndarray], rows: list[dict[str, Any]], levels: int) -> None:
  count = len(next(iter(pixels.values())))
  figure, axes = plt.subplots(3, 1, figsize=(9, 2 * 9 * count / len(RADII) + 3.5), layout='constrained',
                              height_ratios=[count, count, 7])
  titles = {'norm': 'T^-1(r sqrt(T) u): a direction per row, r grows to the right',
            'sphere': 'As far from r = 1 in a random direction, at a fixed norm'}
  for axis, (arm, images) in zip(axes, pixels.items()):
    grid = files.image_grid(images.reshape(-1, *images.shape[2:]), len(RADII), levels)
    axis.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    axis.set_title(titles[arm], fontsize=9)
    width = grid.shape[1] / len(RADII)
    axis.set_xticks([(i + 0.5) * width for i in range(len(RADII))], labels=[f'{r:.3f}' for r in RADII], rotation=90, fontsize=7)
    axis.set_yticks([])
  for arm in PATHS:
    line = [row for row in rows if row['arm'] == arm and row['metric'] == 'label_differs']
    axes[2].plot(RADII, [row['value'] for row in line], marker='o', markersize=3, label=arm)
    axes[2].fill_between(RADII, [row['low'] for row in line], [row['high'] for row in line], alpha=0.2)
  axes[2].set(xlabel='r', ylabel='share of other label than at r = 1', ylim=(0, 1))
  axes[2].grid(alpha=0.3)
  axes[2].legend(fontsize=8)
  figures.save(figure, path)
