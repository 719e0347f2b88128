"""Preparing image data sets with TFDS, once. This alone needs TensorFlow, the extra `data`."""
import contextlib
import importlib.util
import os
import pathlib
import shlex
import shutil
import sys
import tempfile

from absl import logging

from inverse_matching.data.images import tfds as tfds_images
from inverse_matching.errors import InputError
from inverse_matching.runtime import files


def prepare(name: str, data_dir: str | os.PathLike | None = None, archives: str | os.PathLike | None = None) -> None:
  """Writes a data set as tfds_images.read takes it; one that is there and whole is left as it is.

  Args:
    name: a name in tfds_images.SETS.
    data_dir: see tfds_images.read.
    archives: folder with the original files in a folder of the data set's name; nothing is downloaded then.

  Raises:
    InputError: TensorFlow is not installed, an original file is missing or is not the registered one, the download
      fails, or the folder cannot be written.
  """
  folder = tfds_images.folder(name, data_dir)
  tfds_images.check_format(name, data_dir)
  if folder.exists():
    try:
      return _report(name, data_dir)
    except InputError as error:
      logging.info('%s', error)
  if any(importlib.util.find_spec(module) is None for module in ('tensorflow', 'importlib_resources')):
    raise InputError(f'Preparing {name} needs TensorFlow, which is not installed (reading it does not): run '
                     "pip install 'inverse_matching[data]', or prepare it on another machine and copy the folder here.")
  if archives is not None:
    check_archives(name, archives)
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.prepare-', dir=folder.parent) as scratch:
      made = _prepare(name, pathlib.Path(scratch), archives)
      if folder.exists():
        shutil.rmtree(folder)
      made.rename(folder)  # whole or not at all
  except OSError as error:
    raise InputError(f'{name} cannot be prepared in {folder.parent} ({error}): free space or name a --data_dir that can be '
                     'written.') from error
  _report(name, data_dir)


def check_archives(name: str, archives: str | os.PathLike) -> None:
  """Raises InputError if an original file is missing in archives/name, or is not the one whose sha256 TFDS has registered."""
  import tensorflow_datasets as tfds
  folder = pathlib.Path(archives) / name
  registered = {info.filename: (url, info) for url, info in tfds.builder_cls(name).url_infos.items()}
  missing = [file for file in registered if not (folder / file).exists()]
  if missing:
    raise InputError(f'{folder} lacks {", ".join(missing)}: where there is a network, fetch '
                     f'{" and ".join(registered[file][0] for file in missing)}, and put what you fetched there.')
  for file, (url, info) in registered.items():
    if (found := files.sha256(folder / file)) != info.checksum:
      raise InputError(f'{folder / file} is not the registered file, its sha256 begins with {found[:12]} and not '
                       f'{info.checksum[:12]}: fetch it again with {shlex.join(["curl", "-fLo", str(folder / file), url])}.')


def _prepare(name: str, scratch: pathlib.Path, archives: str | os.PathLike | None) -> pathlib.Path:
  import requests
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
  for variable, value in (('TF_CPP_MIN_LOG_LEVEL', '2'), ('TF_ENABLE_ONEDNN_OPTS', '0')):
    os.environ.setdefault(variable, value)  # TensorFlow tells of things that do not matter here
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  logging.info('Preparing %s: about a minute, and the download.' if archives is None else 'Preparing %s: about a minute.', name)
  builder = tfds.builder(name, data_dir=scratch, file_format='array_record')
  download = tfds.download.DownloadConfig(
      # A file here with the registered name takes the place of a download.
      manual_dir=None if archives is None else pathlib.Path(archives) / name,
      # Its own for each data set: MNIST and Fashion-MNIST name their files alike, and TFDS takes what it finds.
      extract_dir=scratch / 'extracted',
      try_download_gcs=False,
      force_checksums_validation=True)
  try:
    with contextlib.redirect_stdout(None):  # TFDS names the scratch folder
      builder.download_and_prepare(download_dir=scratch / 'downloads', download_config=download)
  except (requests.RequestException, tfds.download.DownloadError, NonMatchingChecksumError) as error:
    raise InputError(f'{name} cannot be downloaded ({type(error).__name__}): fetch {" and ".join(builder.url_infos)} where '
                     f'there is a network, put the files into A/{name}, and give --archives=A.') from error
  return pathlib.Path(builder.data_dir)


def _report(name: str, data_dir: str | os.PathLike | None) -> None:
  counts = [len(labels) for _, labels in tfds_images.read(name, data_dir=data_dir)]
  logging.info('%s: %d training and %d test images in %s.', name, *counts, tfds_images.folder(name, data_dir))
