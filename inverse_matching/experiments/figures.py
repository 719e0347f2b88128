"""Pictures: how they are written, grids of images, spectra, and numbers as a forest."""
import io
import os
import textwrap
from typing import Mapping, Sequence

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # after the backend is chosen
import numpy as np
from PIL import Image

from inverse_matching.evaluation import texture
from inverse_matching.experiments.experiment import Rows
from inverse_matching.runtime import files


def save(figure: plt.Figure, path: str | os.PathLike, *, palette: bool = False) -> None:
  """Writes a figure as PNG and closes it. Without the date and version, so that equal figures are equal files.

  Args:
    figure: the figure; where it has no layout of its own, it gets a tight one.
    path: where the PNG goes.
    palette: whether to keep 256 colours alone, which takes less than half of the bytes for pictures of noise.
  """
  if figure.get_layout_engine() is None:
    figure.tight_layout()
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', dpi=120, bbox_inches='tight', metadata={'Software': None})
  plt.close(figure)
  if palette:
    picture = Image.open(buffer).convert('RGB').quantize(256)
    buffer = io.BytesIO()
    picture.save(buffer, format='png', optimize=True)
  files.write_bytes(path, buffer.getvalue())


def show(axis: plt.Axes, images: np.ndarray, columns: int, levels: int) -> None:
  """Shows integer images [N, H, W, C] of so many grey levels on an axis, row by row, so many columns side by side."""
  grid = files.image_grid(images, columns, levels)
  axis.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap='gray', vmin=0, vmax=255, interpolation='nearest')


def panels(path: str | os.PathLike, pictures: Mapping[str, np.ndarray], *, levels: int, columns: int, title: str,
           per_row: int | None = None) -> None:
  """A grid of images per panel, side by side, as in figures 4 and 5 of the paper.

  Args:
    path: where the PNG goes.
    pictures: title of a panel -> integer images [N, H, W, C].
    levels: the number of grey levels.
    columns: how many images stand beside each other in a panel.
    title: stands above the panels.
    per_row: the most panels that stand beside each other, in lines of about equal length; None is all.
  """
  count, height, width = next(iter(pictures.values())).shape[:3]
  aspect = -(-count // columns) * height / (columns * width)
  down = -(-len(pictures) // (per_row or len(pictures)))
  across = -(-len(pictures) // down)
  size = (1.9 * across, (1.9 * aspect + 0.6) * down + 0.3)
  figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout='constrained')
  for axis in axes.flat:
    axis.axis('off')
  for axis, (name, images) in zip(axes.flat, pictures.items()):
    show(axis, images, columns, levels)
    axis.set_title('\n'.join(textwrap.fill(part.replace('_', ' '), 18) for part in name.split('/')), fontsize=9)
  figure.suptitle(title, fontsize=10)
  save(figure, path)


def spectra(path: str | os.PathLike, sets: Mapping[str, np.ndarray], *, levels: int) -> None:
  """The power of images over their frequency, a line for each set, and that over the power of the first set.

  Args:
    path: where the PNG goes.
    sets: name -> integer images [N, H, W, C].
    levels: the number of grey levels.
  """
  figure, (axis, ratio) = plt.subplots(1, 2, figsize=(10.0, 3.6), layout='constrained')
  curves = {name: texture.radial_power(images / (levels - 1)) for name, images in sets.items()}
  _, first = next(iter(curves.values()))
  for name, (frequency, power) in curves.items():
    style = dict(color='black', linestyle='--') if name == 'teacher' else dict(color='black') if '/' not in name else {}
    axis.plot(frequency, power, label=name.replace('_', ' '), linewidth=1.2, **style)
    ratio.plot(frequency, power / first, linewidth=1.2, **style)
  axis.set(ylabel='mean power', yscale='log')
  ratio.set(ylabel=f'over that of the {next(iter(curves))}', yscale='log')
  for each in (axis, ratio):
    each.set_xlabel('cycles per pixel')
    each.grid(alpha=0.3)
  figure.legend(fontsize=7, loc='outside right upper')
  save(figure, path)


FOREST_COLUMNS = 5  # panels beside each other
FAR = 0.05  # kernel distance above which all must be for a panel to begin there


def forest(path: str | os.PathLike, rows: Rows, columns: Sequence[tuple[str, str | None]], *, title: str = '') -> None:
  """Each arm's numbers as a line: a panel for each column, a dot for each training seed, a bar for the 95% interval.

  The interval is over training seeds where there are three or more, else over the examples of the first; the floor is a line.

  Args:
    path: where the PNG goes.
    rows: of one seed of the samples.
    columns: (metric, reference) of each panel; those of which there is no row are left out.
    title: stands above the panels.
  """
  columns = [column for column in columns if rows.where(metric=column[0], reference=column[1]).having('value')]
  arms = [arm for arm in rows.distinct('arm') if any(rows.where(arm=arm, metric=m, reference=r) for m, r in columns)]
  over_training = Rows(row for row in rows.over_training() if row['num_train_seeds'] >= 3)
  down = -(-len(columns) // FOREST_COLUMNS)
  across = -(-len(columns) // down)
  figure, axes = plt.subplots(down, across, figsize=(2.4 + 1.9 * across, (0.9 + 0.2 * len(arms)) * down + 0.2), sharey=True,
                              squeeze=False, layout='constrained')
  for axis in axes.flat[len(columns):]:
    axis.set_visible(False)
  for axis, (metric, reference) in zip(axes.flat, columns):
    panel = rows.where(metric=metric, reference=reference).having('value')
    for i, arm in enumerate(arms):
      of_arm, colour = panel.where(arm=arm), 'tab:blue' if '/' in arm else 'black'
      for row in [*over_training.where(arm=arm, metric=metric, reference=reference), *of_arm][:1]:
        if row['low'] is not None:
          axis.plot([row['low'], row['high']], [i, i], color=colour, linewidth=1.5)
      axis.plot(of_arm.values('value'), [i] * len(of_arm), 'o', color=colour, markersize=3.5)
    floors, values = panel.having('floor').values('floor'), panel.values('value')
    # Where all are far above it, the floor is left out, or nothing else could be seen.
    is_far = metric.startswith('kernel') and len(values) and values.min() > FAR
    if len(floors) and not is_far:
      axis.axvline(floors[0], color='tab:green', linewidth=1, label='floor')
    if metric.startswith('kernel') and not is_far:
      axis.set_xscale('symlog', linthresh=0.01)
      axis.set_xticks([-0.01, 0, 0.01, 0.1, 1, 10], labels=['', '0', '.01', '.1', '1', '10'])
      axis.margins(x=0.1)
    else:
      axis.locator_params(axis='x', nbins=4)
    words = metric.replace('_', ' ')
    axis.set_title('\n'.join([textwrap.fill(words, 20), *([] if reference is None else [f'({reference.replace("_", " ")})'])]),
                   fontsize=8)
    axis.set_yticks(range(len(arms)), labels=arms)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
  axes[0, 0].invert_yaxis()
  with_floor = [axis for axis in axes.flat if axis.get_legend_handles_labels()[0]]
  if with_floor:
    with_floor[0].legend(fontsize=7)
  if title:
    figure.suptitle(title, fontsize=10)
  save(figure, path)
