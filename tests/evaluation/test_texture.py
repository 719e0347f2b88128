"""Sharpness and stripes of patterns whose spectrum is known."""
import numpy as np
import scipy.ndimage

from inverse_matching.data.images import dataset as images
from inverse_matching.evaluation import texture

DIGITS = images.digits().data


def cosine(shape, k_vertical, k_horizontal):
  """One basis function of the mirrored image, [1, H, W, 1]."""
  rows, columns = (np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for k, n in zip((k_vertical, k_horizontal), shape))
  return (5 + rows[:, None] * columns)[None, ..., None]


def stripes(n, size, period, seed=0):
  """Horizontal stripes of random phase, [n, size, size, 1] of 0 and 1."""
  phase = np.random.default_rng(seed).integers(0, period, (n, 1))
  on = (np.arange(size) + phase) % period < period / 2
  return np.repeat(on[:, :, None, None], size, axis=2).astype(float)


def test_pure_frequencies():
  """All or nothing, on either side of a period of 4 pixels, in an image that is not square; the corner is fine."""
  shape = (8, 12)
  for k_vertical, k_horizontal, sharp, striped in (
      (3, 0, 0, 0), (4, 0, 1, 1), (7, 0, 1, 1), (0, 5, 0, 0), (0, 6, 1, 1), (0, 11, 1, 1), (3, 5, 1, 0), (2, 2, 0, 0),
      (7, 11, 1, 0)):
    image = cosine(shape, k_vertical, k_horizontal)
    np.testing.assert_allclose(texture.sharpness(image), sharp, atol=1e-12)
    np.testing.assert_allclose(texture.stripe_score(image), striped - (4 + 6) / 95, atol=1e-12)
    np.testing.assert_allclose(texture.stripe_share(image), striped, atol=1e-9)


def test_white_noise():
  """Sharpness is the share of fine frequencies; the stripe score is 0 in the mean."""
  noise = np.random.default_rng(0).normal(size=(4000, 8, 8, 2))
  frequency = np.arange(8) / 16
  fine = np.sum(np.hypot(frequency[:, None], frequency) >= 0.25)
  np.testing.assert_allclose(texture.sharpness(noise).mean(), fine / 63, atol=0.005)
  assert abs(texture.stripe_score(noise).mean()) < 0.004
  np.testing.assert_allclose(texture.stripe_share(noise).mean(), (4 + 4) / fine, atol=0.004)


def test_what_is_coarse_does_not_hide_stripes_from_their_share():
  """As it does from the score; in both directions."""
  image = 100 * cosine((8, 8), 1, 1) + cosine((8, 8), 6, 0) + cosine((8, 8), 0, 5) + 2 * cosine((8, 8), 5, 5)
  assert texture.stripe_score(image) < 0
  # The energy of a basis function is 1 / 2 for each direction in which it is not constant.
  np.testing.assert_allclose(texture.stripe_share(image), (0.5 + 0.5) / (0.5 + 0.5 + 4 * 0.25))


def test_stripes_of_either_direction_and_real_images():
  """Striped sets stand far from the data, which are near 0, at 8 and at 28 pixels; faint stripes are seen too."""
  data = texture.stripe_score(DIGITS.train.pixels)
  assert abs(data.mean()) < 0.05
  for size, period in ((8, 2), (8, 4), (28, 2), (28, 3), (28, 4)):
    rows = stripes(200, size, period)
    for striped in (rows, rows.swapaxes(1, 2), np.concatenate([rows, rows.swapaxes(1, 2)])):
      assert texture.stripe_score(striped).mean() > 0.3
  faint = DIGITS.train.pixels[:200] + 6 * stripes(200, 8, 2)
  assert texture.stripe_score(faint).mean() > data.mean() + data.std()
  wide = np.kron(DIGITS.train.pixels[:200], np.ones((1, 3, 3, 1)))
  assert abs(texture.stripe_score(wide).mean()) < 0.05


def test_smoothing_lowers_sharpness():
  """And the scale and the offset of an image do not matter; training and held-out images agree."""
  pixels = DIGITS.held_out.pixels.astype(float)
  sharp = texture.sharpness(pixels)
  smooth = texture.sharpness(scipy.ndimage.gaussian_filter(pixels, (0, 0.7, 0.7, 0)))
  assert (smooth < sharp).all() and smooth.mean() < sharp.mean() / 2
  np.testing.assert_allclose(texture.sharpness(3 * pixels - 7), sharp, rtol=1e-9)
  assert abs(texture.sharpness(DIGITS.train.pixels).mean() - sharp.mean()) < 4 * sharp.std() / np.sqrt(len(sharp))


def test_constant_images_are_finite():
  """Zero, for any constant and size."""
  for value in (0, 16, 0.1):
    image = np.full((2, 7, 9, 3), value)
    assert not texture.sharpness(image).any() and not texture.stripe_score(image).any()
    assert not texture.stripe_share(image).any()


def test_downsampling():
  """Means of equal blocks; a pixel on an edge is shared; the mean and images of that size stay."""
  images = np.random.default_rng(0).normal(size=(3, 32, 16, 3))
  blocks = images.reshape(3, 8, 4, 8, 2, 3).mean((2, 4))
  np.testing.assert_allclose(texture.downsample(images), blocks, atol=1e-12)
  np.testing.assert_allclose(texture.downsample(images[:, :8, :8]), images[:, :8, :8], atol=1e-12)
  line = np.array([1.0, 2.0, 4.0])[None, :, None, None] * np.ones((1, 3, 3, 1))
  np.testing.assert_allclose(texture.downsample(line, size=2)[0, :, 0, 0], [(1 + 2 / 2) / 1.5, (2 / 2 + 4) / 1.5])
  images = np.random.default_rng(0).normal(size=(2, 28, 28, 1))
  np.testing.assert_allclose(texture.downsample(images).mean((1, 2)), images.mean((1, 2)), atol=1e-12)


def test_radial_power_of_white_noise_and_of_a_cosine():
  """The variance at every frequency; all in the ring of a pure one; the two agree with the bands on what lies below a limit."""
  noise = 3 + 0.5 * np.random.default_rng(0).normal(size=(2000, 12, 16, 2))
  frequency, power = texture.radial_power(noise)
  np.testing.assert_allclose(frequency, np.arange(1, 13) / 24)
  np.testing.assert_allclose(power, 0.25, rtol=0.05)
  frequency, power = texture.radial_power(cosine((16, 16), 5, 0))
  np.testing.assert_allclose(power[np.arange(16) != 4], 0, atol=1e-12)
  assert power[4] > 1 and frequency[4] == 5 / 32


def test_band_power_of_pure_frequencies():
  """All of a cosine's power is in the band of its frequency: a half for each direction that it varies in."""
  for k_vertical, k_horizontal, band in (
      (1, 0, 0), (3, 0, 0), (0, 4, 1), (7, 0, 1), (8, 0, 2), (0, 8, 2), (6, 6, 2), (15, 15, 2)):
    image = cosine((16, 16), k_vertical, k_horizontal)
    expected = np.eye(3)[band] * 0.5 ** ((k_vertical > 0) + (k_horizontal > 0))
    np.testing.assert_allclose(texture.band_power(image), [expected], atol=1e-12)


def test_band_power_is_the_variance_over_pixels():
  """The bands together, of images of several channels; a constant image has none."""
  images = np.random.default_rng(0).normal(size=(5, 12, 28, 3)) + [1.0, 2.0, 3.0]
  np.testing.assert_allclose(texture.band_power(images).sum(-1), images.var((1, 2)).mean(-1))
  assert not texture.band_power(np.full((2, 8, 8, 3), 0.1)).any()
