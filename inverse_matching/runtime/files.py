"""Whole files or none: they are written beside their place and moved into it.

Of several processes the first one writes: on the others `write_bytes` and those that rest on it do nothing.
"""
import contextlib
import hashlib
import io
import json
import os
import pathlib
from typing import Any, Callable, Iterator, Mapping
import zipfile

import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import processes

STATE = 'INVERSE_MATCHING_STATE'  # environment variable that moves the folder of `state_folder`


def state_folder() -> pathlib.Path:
  """What is kept for a user between runs: $INVERSE_MATCHING_STATE, else inverse_matching in $XDG_STATE_HOME or ~/.local/state.

  Raises:
    InputError: there is no home folder, or the path is not absolute and would be another one in every folder.
  """
  given = os.environ.get(STATE) or os.path.join(os.environ.get('XDG_STATE_HOME') or '~/.local/state', 'inverse_matching')
  path = pathlib.Path(os.path.expanduser(given))
  if not path.is_absolute():
    raise InputError(f'The folder for what is kept between runs is {path}, which is not absolute: set {STATE} to one that is.')
  return path


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a path to write to, and moves what was written there into place: a reader, or a run after a kill, sees the old file
  or the new one. If the block raises, the old one stays and nothing else.

  Raises:
    InputError: the file cannot be written.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    yield temporary
    with open(temporary, 'rb') as file:
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    raise InputError(f'Cannot write {path} ({error.strerror}): free space or name a folder that can be written.') from error
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink()


def check_folder(path: str | os.PathLike) -> None:
  """Raises InputError unless files can be written into a folder, which is there or can be made; for what comes after hours."""
  place = pathlib.Path(path).absolute()
  while not place.exists():
    place = place.parent
  if not place.is_dir() or not os.access(place, os.W_OK):
    raise InputError(f'Cannot write into {path}: name a folder that can be written.')


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a file, whole or not at all."""
  if not processes.is_first():
    return
  with whole(path) as temporary:
    temporary.write_bytes(data)


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes JSON, keys in the order given; numbers that are not finite become null, which every JSON reader takes."""
  write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
  """What `write_json` writes."""
  return (json.dumps(_plain(value), indent=1, allow_nan=False) + '\n').encode()


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """Reads a JSON object; InputError if the file is missing, damaged, or holds something else."""
  try:
    value = json.loads(pathlib.Path(path).read_text())
    if not isinstance(value, dict):
      raise ValueError(f'it holds a {type(value).__name__}, not an object')
    return value
  except FileNotFoundError as error:
    raise InputError(f'{path} does not exist: check the folder, or run the command that makes it.') from error
  except ValueError as error:
    raise InputError(f'{path} is not what was written there ({error}): it was altered; remove it and make it again.') from error


def write_arrays(path: str | os.PathLike, **arrays: np.ndarray) -> None:
  """Writes an .npz file."""
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  write_bytes(path, buffer.getvalue())


def arrays_once(path: str | os.PathLike, about: Mapping[str, Any],
                make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """Returns the arrays in an .npz file if it was written with the same `about`; else calls `make` for them and writes it."""
  written = json.dumps(_plain(dict(about)), sort_keys=True)
  damaged = EOFError, ValueError, KeyError, zipfile.BadZipFile  # or not there: made again
  with contextlib.suppress(OSError, *damaged), np.load(path, allow_pickle=False) as stored:
    if str(stored['about']) == written:
      return {name: stored[name] for name in stored.files if name != 'about'}
  arrays = make()
  write_arrays(path, about=np.array(written), **arrays)
  return dict(arrays)


def sha256(path: str | os.PathLike) -> str:
  """Hex digest of a file's content."""
  digest = hashlib.sha256()
  with open(path, 'rb') as file:
    for block in iter(lambda: file.read(1 << 20), b''):
      digest.update(block)
  return digest.hexdigest()


def _plain(value: Any) -> Any:
  if isinstance(value, dict):
    return {str(key): _plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(item) for item in value]
  if hasattr(value, 'tolist'):
    return _plain(value.tolist())
  if isinstance(value, float) and not np.isfinite(value):
    return None
  return value


def image_grid(images: np.ndarray, columns: int, levels: int, pad: int = 1) -> np.ndarray:
  """Integer images [N, H, W, C] of values 0..levels - 1 as one uint8 picture [H', W', C], row by row, white between."""
  n, height, width, channels = images.shape
  rows = -(-n // columns)
  grid = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 255, np.uint8)
  scaled = np.round(images.astype(np.float64) * (255 / (levels - 1))).astype(np.uint8)
  for i, image in enumerate(scaled):
    top, left = pad + (i // columns) * (height + pad), pad + (i % columns) * (width + pad)
    grid[top:top + height, left:left + width] = image
  return grid


def write_png(path: str | os.PathLike, picture: np.ndarray, zoom: int = 4) -> None:
  """Writes a uint8 picture [H, W, C], each pixel a square of `zoom`."""
  picture = np.repeat(np.repeat(picture, zoom, 0), zoom, 1)
  buffer = io.BytesIO()
  from PIL import Image  # slow to import
  Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, format='PNG')
  write_bytes(path, buffer.getvalue())
