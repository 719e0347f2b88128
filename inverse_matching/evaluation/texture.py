"""What the paper says of samples in words, smooth (section 4.1.2), striped (figure 4b), imprecise (section 4.1.3), as numbers.

All look at the energy of an image over spatial frequencies, from the two-dimensional discrete Fourier transform of the
image mirrored at its borders (the cosine transform DCT-II): an image that is cut off at the border has no false edge there.
Fine means a period of at most 4 pixels (0.25 cycles per pixel, half the Nyquist frequency). Constant images give 0.
"""
import numpy as np
import scipy.fft

COARSE = 8  # pixels on a side
FINEST_COARSE = 0.25  # cycles per pixel
ROUNDING = 1e-12  # of the energy of an image, which is none
BANDS = {'coarse': (0.0, 1 / 8), 'middle': (1 / 8, FINEST_COARSE), 'fine': (FINEST_COARSE, 1.0)}  # from, and up to


def _energy(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(energy about the mean [N, H, W], vertical frequency [H, 1], horizontal frequency [1, W])."""
  images = np.asarray(images, np.float64)
  energy = np.sum(scipy.fft.dctn(images, axes=(1, 2), norm='ortho')**2, axis=-1)
  rounding = ROUNDING * energy.sum((1, 2), keepdims=True)  # all that a constant image has about its mean
  energy[:, 0, 0] = 0
  energy = np.where(energy.sum((1, 2), keepdims=True) > rounding, energy, 0)
  height, width = images.shape[1:3]
  return energy, np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width)


def _share(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The same as shares of the energy of an image."""
  energy, *frequencies = _energy(images)
  total = energy.sum((1, 2), keepdims=True)
  return np.divide(energy, total, out=np.zeros_like(energy), where=total > 0), *frequencies


def downsample(images: np.ndarray, size: int = COARSE) -> np.ndarray:
  """Mean over each cell of a size x size grid laid over the image, [N, size, size, C] of images [N, H, W, C].

  A pixel that several cells share counts in each by its share. What is left is the global layout: for the paper's "global
  coherence" (section 4.1.3). Images of that size stay as they are.
  """
  weights = [_cells(side, size) for side in images.shape[1:3]]
  return np.einsum('ih,nhwc,jw->nijc', weights[0], np.asarray(images, np.float64), weights[1], optimize=True)


def _cells(side: int, size: int) -> np.ndarray:
  """[size, side]: the share of each pixel in each cell, rows summing to 1."""
  edges = np.arange(size + 1)[:, None] * (side / size)
  covered = np.clip(edges - np.arange(side), 0, 1)  # of each pixel, by the cells up to an edge
  return np.diff(covered, axis=0) * (size / side)


def sharpness(images: np.ndarray) -> np.ndarray:
  """Share of an image's energy (about its mean) at fine scales in any direction, [N] of images [N, H, W, C]."""
  share, vertical, horizontal = _share(images)
  return share[:, np.hypot(vertical, horizontal) >= FINEST_COARSE].sum(-1)


def band_power(images: np.ndarray) -> np.ndarray:
  """Mean squared deviation of a sub-pixel from the mean of its channel that is of each of BANDS, [N, 3] of images [N, H, W, C].

  A band has the frequencies from its lower end up to its upper one, in any direction. Together they are the variance of an
  image over its pixels.
  """
  energy, vertical, horizontal = _energy(images)
  frequency = np.hypot(vertical, horizontal)
  of_band = [energy[:, (low <= frequency) & (frequency < high)].sum(-1) for low, high in BANDS.values()]
  return np.stack(of_band, -1) / np.prod(images.shape[1:])


def radial_power(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(frequency [K] in cycles per pixel, mean power [K]) of images [N, H, W, C], over the directions and the images.

  A ring is as wide as half a cycle over the shorter side; those beyond 0.5 cycles per pixel, which are corners, are left out.
  The power of white noise is its variance at every frequency.
  """
  energy, vertical, horizontal = _energy(images)
  width = 1 / (2 * min(images.shape[1:3]))
  ring = np.rint(np.hypot(vertical, horizontal) / width).astype(int)
  rings = np.arange(1, round(0.5 / width) + 1)
  spectrum = energy.mean(0) / images.shape[3]
  return rings * width, np.array([spectrum[ring == each].mean() for each in rings])


def _stripes(vertical: np.ndarray, horizontal: np.ndarray) -> np.ndarray:
  """Which frequencies, [H, W], are those of fine stripes along a side."""
  return ((vertical >= FINEST_COARSE) & (horizontal == 0)) | ((horizontal >= FINEST_COARSE) & (vertical == 0))


def stripe_share(images: np.ndarray) -> np.ndarray:
  """Share of an image's energy at fine scales that is in horizontal or vertical stripes, [N] of images [N, H, W, C].

  The denominator is what `stripe_score` has not: a smooth image with few fine details, all of them stripes, has a score near
  that of no stripes, and a share of 1. Of white noise it is the share of such frequencies; 0 without fine details.
  """
  share, vertical, horizontal = _share(images)
  fine = share[:, np.hypot(vertical, horizontal) >= FINEST_COARSE].sum(-1)
  striped = share[:, _stripes(vertical, horizontal)].sum(-1)
  return np.divide(striped, fine, out=np.zeros_like(fine), where=fine > ROUNDING)


def stripe_score(images: np.ndarray) -> np.ndarray:
  """Share of energy in fine horizontal or vertical stripes, above that of white noise, [N] of images [N, H, W, C].

  A pattern that is constant along rows (columns) has all its energy at zero horizontal (vertical) frequency: the fine
  frequencies on these two axes hold what the row means and column means vary from line to line. White noise has
  (number of such frequencies) / (H W - 1) there, which is taken off: about 0 for noise and for images of objects, towards
  1 for stripes of either direction or a mixture. The difference of the row and column autocorrelation, the plain choice, is
  far from 0 for upright writing, and stripes of two directions cancel in it.
  """
  share, vertical, horizontal = _share(images)
  fine = _stripes(vertical, horizontal)
  expected = fine.sum() / (fine.size - 1)
  return np.where(share.sum((1, 2)) > 0, share[:, fine].sum(-1) - expected, 0.0)
