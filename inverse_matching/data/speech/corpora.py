"""The corpora of speech that can be prepared: where each comes from, and where it is kept."""
import os
import pathlib
from typing import NamedTuple

from inverse_matching.data.directory import directory


class Corpus(NamedTuple):
  """Where a data set comes from."""
  rate: int  # Hz, unless another is asked for
  url: str | None = None  # None: recordings of one's own
  pattern: str | None = None  # of the names, with the group `speaker`, and `stratum`, over which held-out recordings are spread
  speaker: str | None = None  # the one that is taken
  unpacked: int | None = None  # bytes that no archive of it exceeds; None: that is not known


CORPORA = {
    'spoken_digit': Corpus(8000, 'https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz',
                           r'(?P<stratum>\d)_(?P<speaker>[a-z]+)_\d+', 'jackson', unpacked=50_000_000),
    'ljspeech': Corpus(16000, 'https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2', unpacked=5_000_000_000),
    'recordings': Corpus(16000),
}


def folder(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
  """Where the files of a data set are, or will be."""
  return directory(data_dir) / 'speech' / name / '1.0.0'
