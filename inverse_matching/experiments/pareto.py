"""Quality over speed: the distance of samples over the time of one, of students and exact samplers."""
import pathlib
from typing import Sequence

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
import numpy as np

from inverse_matching.experiments import figures
from inverse_matching.experiments.experiment import Rows

BATCHES = (1, 64)  # that sampling is timed with
SECONDS = 'seconds_per_sample'  # metric of rows whose reference is 'batch B'
REFERENCES = ('data', 'teacher')
MARKERS = 'osD^v'


def draw(path: pathlib.Path, rows: Rows, students: Sequence[tuple[str, str, str]]) -> None:
  """Writes the picture. Exact samplers, the arms 'teacher, SOLVER', have the distance of the teacher.

  Args:
    path: where the PNG goes.
    rows: with the metrics SECONDS and kernel_distance; those of several training seeds are averaged.
    students: (objective, size, arm) of each: a colour, a marker, and whose rows they are; arms with both alike are joined.
  """
  mean = lambda arm, metric, reference: float(np.mean(rows.where(arm=arm, metric=metric, reference=reference).values('value')))
  objectives, sizes = (list(dict.fromkeys(student[i] for student in students)) for i in range(2))
  colours = {objective: plt.get_cmap('tab20')(i) for i, objective in enumerate(objectives)}
  markers = dict(zip(sizes, MARKERS))
  exact = [arm for arm in rows.where(metric=SECONDS).distinct('arm') if arm.startswith('teacher, ')]
  figure, axes = plt.subplots(len(REFERENCES), len(BATCHES), figsize=(5.5 * len(BATCHES), 4.2 * len(REFERENCES)), sharey='row',
                              sharex='col', layout='constrained')
  for row_of_axes, reference in zip(axes, REFERENCES):
    for axis, batch in zip(row_of_axes, BATCHES):
      for objective in objectives:
        for size in sizes:
          arms = [arm for *of, arm in students if of == [objective, size]]
          axis.plot([1000 * mean(arm, SECONDS, f'batch {batch}') for arm in arms],
                    [mean(arm, 'kernel_distance', reference) for arm in arms], markers[size], markersize=4, linestyle=':',
                    color=colours[objective])
      for arm in exact:
        at = 1000 * mean(arm, SECONDS, f'batch {batch}'), mean('teacher', 'kernel_distance', reference)
        axis.plot(*at, 'k*', markersize=7)
        axis.annotate(arm.partition(', ')[2].replace('_', ' '), at, fontsize=7, rotation=60, xytext=(0, 5),
                      textcoords='offset points')
      axis.set_xscale('log')
      axis.margins(x=0.1, y=0.15)
      axis.grid(alpha=0.3)
    if min(np.min(line.get_ydata(), initial=np.inf) for axis in row_of_axes for line in axis.lines) > figures.FAR:
      row_of_axes[0].set_yscale('log')
    else:
      nearest = min((mean(arm, 'kernel_distance', reference) for *_, arm in students), default=0.0)
      row_of_axes[0].set_yscale('symlog', linthresh=max(0.01, nearest / 2))  # the teacher's 0 must not press them together
  for axis, batch in zip(axes[0], BATCHES):
    axis.set_title(f'batches of {batch}', fontsize=9)
  for axis in axes[-1]:
    axis.set_xlabel('milliseconds a sample')
  for axis, reference in zip(axes[:, 0], REFERENCES):
    axis.set_ylabel(f'kernel distance to the {reference}')
  handles = [Line2D([], [], color=colour, label=objective) for objective, colour in colours.items()]
  handles += [Line2D([], [], color='grey', marker=marker, linestyle='', label=size) for size, marker in markers.items()]
  figure.legend(handles=[*handles, Line2D([], [], color='black', marker='*', linestyle='', label='the teacher, exactly')],
                fontsize=7, loc='outside right upper')
  figures.save(figure, path)
