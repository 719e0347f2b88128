"""A data set by a function: images of stripes that lie or stand, made on the spot.

    python -m launch.train_teacher --config=configs/digits.py:smoke --config.data.name=examples.own_data:load --workdir=W
"""
import numpy as np

from inverse_matching.data.images.dataset import Images, Split, source
from inverse_matching.data.source import Source


def load(logit_lambda: float | None = None, num_validation: int | None = None) -> Source:
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 2, 500)  # stripes that lie or stand
  lines = rng.integers(0, 4, (500, 8))
  pixels = np.where(labels[:, None, None] == 0, lines[:, :, None], lines[:, None, :]).astype(np.uint8)[..., None]
  images = Images(Split(pixels[:400], labels[:400]), Split(pixels[400:], labels[400:]), levels=4)
  return source(images, name='stripes', logit_lambda=logit_lambda, num_validation=num_validation)
