"""What a vocoder gets of a recording: normalised WORLD features, and perhaps the phase of the voice."""
from typing import Any, NamedTuple

import numpy as np

from inverse_matching.data.speech import phase as phases
from inverse_matching.data.speech import world


class Features(NamedTuple):
  """The features of the frames of one data set."""
  rate: int  # Hz
  hop: int  # samples of a frame
  num_cepstra: int
  mean: np.ndarray  # [W] float32, of WORLD's features of all training utterances; of the voiced flag 0, and its std 1
  std: np.ndarray  # [W] float32
  phase: bool = False  # whether the features tell the phase of the voice

  @property
  def size(self) -> int:
    """D, the number of features of a frame."""
    return len(self.mean) + self.phase * phases.SIZE

  def facts(self) -> dict[str, Any]:
    """Returns the fields as JSON values."""
    return {**self._asdict(), 'mean': self.mean.tolist(), 'std': self.std.tolist()}

  def cond(self, waveform: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Returns what a model gets [F, D] of a waveform [F hop] with WORLD's features [F, W]: those normalised, perhaps phases."""
    normalised = (features - self.mean) / self.std
    if not self.phase:
      return normalised
    column = world.names(self.rate, self.num_cepstra).index
    f0, voiced = np.exp(features[:, column('log_f0')]), features[:, column('voiced')] > 0.5
    return np.concatenate([normalised, phases.features(waveform, f0, voiced, self.hop, self.rate)], axis=1)

  def raw(self, features: np.ndarray) -> np.ndarray:
    """Returns WORLD's features [..., W], of what a model gets [..., D]."""
    return features[..., :len(self.mean)] * self.std + self.mean
