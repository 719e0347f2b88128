"""Recordings in files, as they are before they are prepared."""
import tarfile

import numpy as np

from inverse_matching.data.speech import audio
from inverse_matching.data.speech import synthetic as synthetic_speech


def write_wavs(folder, names, rate=8000, seed=0):
  """A syllable in each."""
  rng = np.random.default_rng(seed)
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    audio.write(folder / f'{name}.wav', synthetic_speech.utterance(rng, rate, 1), rate)


def pack(folder, archive, mode='w:gz'):
  archive.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(archive, mode) as packed:
    packed.add(folder, arcname='data-1.0')


def contents(prepared):
  return {record['name']: (record['samples'].tobytes(), record['features'].tobytes())
          for record in (*prepared.train, *prepared.held_out)}
