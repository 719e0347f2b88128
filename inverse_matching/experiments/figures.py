"""Pictures: how they are written, and grids of images in them."""
import io
import os
import textwrap
from typing import Mapping

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # after the backend is chosen
import numpy as np
from PIL import Image

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
    per_row: how many panels stand beside each other; None is all.
  """
  count, height, width = next(iter(pictures.values())).shape[:3]
  aspect = -(-count // columns) * height / (columns * width)
  across = min(per_row or len(pictures), len(pictures))
  down = -(-len(pictures) // across)
  size = (1.9 * across, (1.9 * aspect + 0.6) * down + 0.3)
  figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout='constrained')
  for axis in axes.flat:
    axis.axis('off')
  for axis, (name, images) in zip(axes.flat, pictures.items()):
    show(axis, images, columns, levels)
    axis.set_title('\n'.join(textwrap.fill(part.replace('_', ' '), 18) for part in name.split('/')), fontsize=9)
  figure.suptitle(title, fontsize=10)
  save(figure, path)
