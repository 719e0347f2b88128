"""Recordings out of archives of anybody's: streamed, and no further than an archive may honestly unpack to."""
import bz2
import contextlib
import functools
import gzip
import pathlib
import tarfile
import types
from typing import IO, Any, Callable, Iterator
import zipfile
import zlib

import tqdm

from inverse_matching.errors import InputError

ARCHIVES = ('.tar.gz', '.tgz', '.tar.bz2', '.tar', '.zip')
# An archive may unpack to RATIO times its size and SPARE bytes. Speech of 16 bits packs to a third of its size or more, with
# long silence to a tenth; zeros alone, as in an archive that is made to fill a disk, to a thousandth.
RATIO, SPARE = 20, 100_000_000
BLOCK = 2**20  # bytes read at once


class Allowance:
  """The bytes that an archive may still unpack to: it counts what is read, before that fills memory or disk.

  Args:
    name: of the data set, for messages.
    archive: a file.
    declared: bytes that no archive of that data set exceeds; None: RATIO times its size and SPARE.
  """

  def __init__(self, name: str, archive: pathlib.Path, declared: int | None):
    size = archive.stat().st_size
    self._left = most = declared or RATIO * size + SPARE
    known = f'and {name} does not' if declared else f'{RATIO} times its size and {_bytes(SPARE)}'
    advice = 'fetch it again' if declared else 'if you know what is in it, unpack it and give the folder'
    self._refusal = f'{archive} has {_bytes(size)} and unpacks to more than {_bytes(most)}, {known}: {advice}.'

  def spend(self, count: int) -> None:
    """Takes so many bytes off; raises InputError if fewer are left."""
    self._left -= count
    if self._left < 0:
      raise InputError(self._refusal)

  def read(self, file: IO[bytes], size: int) -> bytes:
    """Returns the next bytes of a file, some or none as that has it."""
    block = file.read(min(size, BLOCK))
    self.spend(len(block))
    return block


def _bytes(count: int) -> str:
  return tqdm.tqdm.format_sizeof(count, 'B')


def members(archive: pathlib.Path, allowance: Allowance,
            wanted: Callable[[str], bool]) -> Iterator[tuple[str, Iterator[bytes]]]:
  """Yields (path, blocks of its content, to be read before the next) of each wanted file in an archive.

  Raises:
    InputError: the archive is damaged, or exceeds its allowance.
  """
  with _damage_told(archive):
    if archive.name.endswith('.zip'):
      with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
          if not info.is_dir() and wanted(info.filename):
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # which zipfile unpacks bit by bit
              raise zipfile.BadZipFile('it is packed otherwise than by deflate')
            with packed.open(info) as file:
              yield info.filename, _blocks(archive, functools.partial(allowance.read, file), info.file_size)
      return
    with _unpacked(archive) as file:
      # All that comes out is counted, since headers can be as large as recordings.
      stream: Any = types.SimpleNamespace(read=functools.partial(allowance.read, file))
      with tarfile.open(fileobj=stream, mode='r|') as packed:
        while (info := packed.next()) is not None:
          packed.members.clear()  # they would be kept for those who go back
          if info.issparse():
            raise tarfile.ReadError('it has files with holes')
          if info.isfile() and wanted(info.name):
            yield info.name, _blocks(archive, packed.extractfile(info).read, info.size)


def _unpacked(archive: pathlib.Path) -> Any:
  """What is in a gzip or bzip2 file, by whichever name, or the file itself."""
  with open(archive, 'rb') as file:
    start = file.read(10)
  if start.startswith(b'\x1f\x8b'):
    return gzip.open(archive)
  return bz2.open(archive) if start.startswith(b'BZh') and start[4:] == b'1AY&SY' else open(archive, 'rb')


def _blocks(archive: pathlib.Path, read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
  """What is read until nothing comes; InputError if that is not as much as was promised."""
  while True:
    with _damage_told(archive):
      block = read(BLOCK)
      size -= len(block)
      if not block and size:
        raise tarfile.ReadError('unexpected end of data')
    if not block:
      return
    yield block


@contextlib.contextmanager
def _damage_told(archive: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
    raise InputError(f'{archive} is damaged or not an archive ({str(error).rstrip(".") or type(error).__name__}): fetch it '
                     'again.') from error
