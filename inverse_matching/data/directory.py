"""Where prepared data sets are kept."""
import os
import pathlib


def directory(data_dir: str | os.PathLike | None) -> pathlib.Path:
  """Returns the folder of all prepared data sets: the one given, else that of TFDS."""
  return pathlib.Path(data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets').expanduser()
