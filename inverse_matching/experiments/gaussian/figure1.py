"""Figure 1 of the paper: the counteracting gradients at a sample of the student, and the cone of the expansion signal."""
from typing import Any, Mapping

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching.analysis import expansion_probability
from inverse_matching.errors import InputError
from inverse_matching.experiments.experiment import Result, Rows

# Name of a gradient -> its colour and its label.
STYLES = {'grad log p_T': ('tab:red', 'gradient of log p_T'), '-grad log p_S': ('tab:blue', 'minus gradient of log p_S'),
          'g_x': ('k', 'net, g_x'), 'g_x parallel': ('tab:green', 'g_x parallel to x'),
          'g_x perpendicular': ('tab:gray', 'g_x perpendicular')}


def gradients(x: np.ndarray, covariance: np.ndarray) -> dict[str, np.ndarray]:
  """At x [2] from the student N(0, I), for the teacher N(0, covariance): the pull to the mode, the push away, the sum."""
  teacher, student = -np.linalg.solve(covariance, x), x
  net = teacher + student
  parallel = (net @ x) / (x @ x) * x
  return {'grad log p_T': teacher, '-grad log p_S': student, 'g_x': net, 'g_x parallel': parallel,
          'g_x perpendicular': net - parallel}


def run(settings: Mapping[str, Any]) -> Result:
  """The arrows, and the share of the circle that the cone takes.

  Raises:
    InputError: the scales of the teacher are not two positive numbers.
  """
  scales = np.asarray(settings['teacher_scales'], np.float64)
  if scales.shape != (2,) or not np.all(scales > 0):
    raise InputError(f'config.figure1.teacher_scales must be two positive numbers, got {settings["teacher_scales"]}.')
  angle = np.deg2rad(settings['angle_degrees'])
  basis = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  covariance = basis * scales ** 2 @ basis.T
  x = np.asarray(settings['x'], np.float64)
  arrows = gradients(x, covariance)
  circle = np.linspace(0, 2 * np.pi, 100_001)[:-1]
  rho = 1 - 1 / scales ** 2
  share = np.mean(rho[0] * np.cos(circle) ** 2 + rho[1] * np.sin(circle) ** 2 > 0)
  rows = Rows({'name': name, 'first': v[0], 'second': v[1], 'along_x': v @ x / np.linalg.norm(x)} for name, v in arrows.items())
  numbers = {'share of the circle': share, 'expansion probability': expansion_probability(scales ** 2)}
  text = '\n'.join([rows.table(['name', 'first', 'second', 'along_x']), '',
                    *(f'{name}: {value:.4f}' for name, value in numbers.items())])
  rows += [{'name': name, 'value': value} for name, value in numbers.items()]
  return Result(rows, {'': _draw(x, covariance, basis, scales, arrows)}, text)


def _draw(x, covariance, basis, scales, arrows) -> plt.Figure:
  figure, axes = plt.subplots(1, 2, figsize=(10, 5))
  grid = np.linspace(-3.5, 3.5, 300)
  points = np.stack(np.meshgrid(grid, grid), axis=-1)
  for axis, rotate, sigma in ((axes[0], np.eye(2), covariance), (axes[1], basis.T, np.diag(scales ** 2))):
    teacher = np.einsum('xyi,ij,xyj->xy', points, np.linalg.inv(sigma), points)
    levels = np.array([1.0, 2.0]) ** 2  # one and two standard deviations
    axis.contour(grid, grid, teacher, levels, colors='tab:red', linewidths=1)
    axis.contour(grid, grid, np.sum(points ** 2, axis=-1), levels, colors='tab:blue', linestyles='--', linewidths=1)
    if axis is axes[1]:
      signal = np.sum((1 - 1 / scales ** 2) * points ** 2, axis=-1)
      axis.contourf(grid, grid, signal, [0, np.inf], colors=['tab:orange'], alpha=0.25)
    start = rotate @ x
    for name, (color, label) in STYLES.items():
      axis.annotate('', start + rotate @ arrows[name], start, arrowprops=dict(arrowstyle='->', color=color, lw=1.8))
      axis.plot([], [], color=color, label=label)
    axis.plot([0, start[0]], [0, start[1]], ':', color='gray', lw=1)
    axis.plot(*start, '*', color='gold', ms=14, mec='k')
    axis.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect='equal')
  axes[0].set_title('Gradients at a sample of the student (dashed); teacher solid', fontsize=9)
  axes[1].set_title('Rotated by the eigenvectors of the teacher; shaded: x . g_x > 0', fontsize=9)
  figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=5, loc='lower center')
  figure.tight_layout(rect=(0, 0.05, 1, 1))
  return figure
