"""Data sets of speech from archives or folders of recordings, prepared once with their WORLD features."""
import contextlib
import hashlib
import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import sys
import tempfile
from typing import Iterator, NamedTuple

from absl import logging
import numpy as np

from inverse_matching import registry
from inverse_matching.data.directory import directory
from inverse_matching.data.speech import audio, unpack, world
from inverse_matching.data.speech.corpora import CORPORA, folder
from inverse_matching.errors import InputError
from inverse_matching.runtime import files

HELD_OUT = 0.1  # share of the recordings
EVERYONE = 'all'


class Prepared(NamedTuple):
  """What the folder of a prepared data set holds."""
  settings: dict  # rate, num_cepstra, speaker, held_out, split_seed, source, sha256, mean and std [D]
  train: list[dict]  # name, samples [T] int16, features [F, D] float32
  held_out: list[dict]


def read(name: str, data_dir: str | os.PathLike | None = None) -> Prepared:
  """A data set that was prepared, in memory.

  Args:
    name: a name in CORPORA.
    data_dir: folder of prepared data sets; None is the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.

  Raises:
    InputError: the data are missing, incomplete or damaged.
  """
  from inverse_matching.data.speech import tfds as tfds_recordings  # TFDS is slow to import
  path = folder(name, data_dir)
  if not path.is_dir():
    raise InputError(f'{name} is not in {directory(data_dir)}: {_origin(name)}prepare it with {_command(name, data_dir)}.')
  try:
    if not (path / 'dataset_info.json').exists():
      raise FileNotFoundError('dataset_info.json is missing')
    settings, records = tfds_recordings.read(path)
    prepared = Prepared(settings, records['train'], records['held_out'])
    if len(settings['mean']) != prepared.train[0]['features'].shape[1]:
      raise ValueError('the numbers of features differ')
    return prepared
  except Exception as error:  # TFDS, array_record and protobuf each raise their own
    reason = str(error).partition('\n')[0].rstrip('.') or type(error).__name__
    raise InputError(f'{path} is incomplete or damaged ({reason}): make it anew with '
                     f'{_command(name, data_dir)}.') from error


def prepare(name: str, data_dir: str | os.PathLike | None = None, archives: str | os.PathLike | None = None, *,
            rate: int | None = None, speaker: str | None = None, held_out: float = HELD_OUT, split_seed: int = 0) -> None:
  """Writes a data set as `read` takes it; one that is there and whole is left as it is.

  Args:
    name: a name in CORPORA.
    data_dir: see `read`.
    archives: for 'recordings', a folder with wav or flac files, in folders or not, or one archive of such; else a folder
      that has the archive, or the files, in a folder of the data set's name.
    rate: Hz, to which recordings are brought; None is that of the source.
    speaker: whose recordings to take, where the source has several; 'all' for all, None for that of the source.
    held_out: share that is kept out of training, spread evenly over what the source has to be spread over.
    split_seed: of the choice.

  Raises:
    InputError: there are no recordings, one is damaged or not a recording, or what is there was made otherwise.
  """
  source, target = CORPORA[name], folder(name, data_dir)
  world.hop(rate or source.rate)
  if not 0 < held_out < 1:
    raise InputError(f'held_out must be a share between 0 and 1, got {held_out}.')
  if speaker is not None and source.pattern is None:
    raise InputError(f'--speaker={speaker}, but {name} does not say who speaks: leave the flag out.')
  given = {'rate': rate, 'speaker': speaker}
  if target.exists() and _is_whole(name, data_dir, archives, given):
    return
  if archives is None:
    raise InputError(f'{name} is made from recordings: {_origin(name)}run {_command(name, data_dir)}.')
  origin = _locate(name, pathlib.Path(archives))
  _check_installed()
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.prepare-', dir=target.parent) as scratch:
      made = _prepare(name, origin, pathlib.Path(scratch), rate or source.rate, speaker, held_out, split_seed)
      if target.exists():
        shutil.rmtree(target)
      made.rename(target)  # whole or not at all
  except OSError as error:
    raise InputError(f'{name} cannot be prepared in {target.parent} ({error}): free space or name a --data_dir that can be '
                     'written.') from error
  _report(name, data_dir, read(name, data_dir))


def _check_installed() -> None:
  audio.require_soundfile()
  world.require_pyworld()
  if importlib.util.find_spec('importlib_resources') is None:
    raise InputError("Preparing recordings needs importlib_resources, which is not installed: run "
                     "pip install 'inverse_matching[speech]'.")


def _is_whole(name: str, data_dir: str | os.PathLike | None, archives: str | os.PathLike | None, given: dict) -> bool:
  """Whether what is there can stay; InputError if it is whole but not what is asked for."""
  try:
    prepared = read(name, data_dir)
  except InputError as error:
    logging.info('%s', error)
    return False
  settings = prepared.settings
  differing = [f'{key}={settings[key]}, not {value}' for key, value in given.items() if value not in (None, settings[key])]
  if archives is not None and _sha256(_locate(name, pathlib.Path(archives))) != settings['sha256']:
    differing.append(f'other recordings than are in {archives}')
  if differing:
    raise InputError(f'{folder(name, data_dir)} was made with {" and ".join(differing)}: remove it, or name another '
                     '--data_dir.')
  _report(name, data_dir, prepared)
  return True


def _report(name: str, data_dir: str | os.PathLike | None, prepared: Prepared) -> None:
  settings = prepared.settings
  minutes = [sum(len(record['samples']) for record in split) / settings['rate'] / 60
             for split in (prepared.train, prepared.held_out)]
  logging.info('%s: %d training and %d held-out recordings, %.1f and %.1f minutes at %d Hz%s, from %s with sha256 %s, in %s.',
               name, len(prepared.train), len(prepared.held_out), *minutes, settings['rate'],
               f' by {settings["speaker"]}' if settings['speaker'] else '', settings['source'], settings['sha256'],
               folder(name, data_dir))


def _prepare(name: str, origin: pathlib.Path, scratch: pathlib.Path, rate: int, speaker: str | None, held_out: float,
             split_seed: int) -> pathlib.Path:
  import tensorflow_datasets as tfds

  from inverse_matching.data.speech import tfds as tfds_recordings
  found = _found(name, origin, scratch)
  speaker, found = _by_speaker(name, found, speaker)
  if len(found) < 2:
    raise InputError(f'{origin} has {len(found)} recordings, too few to hold one out: give 2 or more.')
  _try(found, rate, unpack.Allowance(name, origin, CORPORA[name].unpacked) if origin.is_file() else None)
  kept_out = _kept_out(name, list(found), held_out, split_seed)
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  with contextlib.redirect_stdout(None):  # TFDS names the scratch folder
    return tfds_recordings.prepare(
        dataset=name, data_dir=scratch / 'data', rate=rate, num_cepstra=world.default_num_cepstra(rate),
        examples=[tfds_recordings.Example(key, path, 'held_out' if key in kept_out else 'train')
                  for key, path in found.items()],
        metadata={'speaker': speaker, 'held_out': held_out, 'split_seed': split_seed, 'source': origin.name,
                  'sha256': _sha256(origin)})


def _locate(name: str, archives: pathlib.Path) -> pathlib.Path:
  """The archive, or the folder of recordings."""
  path = archives if CORPORA[name].url is None else archives / name
  if path.is_file():
    if not path.name.endswith(unpack.ARCHIVES):
      raise InputError(f'{path} is not an archive: give a folder of recordings, or one of {", ".join(unpack.ARCHIVES)}.')
    return path
  if not path.is_dir():
    raise InputError(f'{path} does not exist: {_origin(name)}name a folder with --archives.')
  if next(_walk(path), None):
    return path
  packed = sorted(file for file in path.iterdir() if file.name.endswith(unpack.ARCHIVES))
  if len(packed) != 1:
    held = f'{len(packed)} archives, {" and ".join(file.name for file in packed[:3])}' if packed else 'no recordings'
    raise InputError(f'{path} holds {held}: put one archive ({", ".join(unpack.ARCHIVES)}) or '
                     f'{" or ".join(audio.SUFFIXES)} files there.')
  return packed[0]


def _walk(path: pathlib.Path) -> Iterator[pathlib.Path]:
  return (file for file in sorted(path.rglob('*')) if _is_recording(file.relative_to(path).as_posix()) and file.is_file())


def _is_recording(path: str) -> bool:
  return path.lower().endswith(audio.SUFFIXES) and not any(part.startswith(('.', '__MACOSX')) for part in path.split('/')
                                                           if part not in ('.', '..'))


def _found(name: str, origin: pathlib.Path, scratch: pathlib.Path) -> dict[str, pathlib.Path]:
  """Name -> file of each recording, in the order of the names: the path without the suffix and what is common to all."""
  if origin.is_dir():
    pairs = [(file.relative_to(origin).as_posix(), file) for file in _walk(origin)]
  else:
    pairs = []
    (scratch / 'unpacked').mkdir()
    for path, blocks in unpack.members(origin, unpack.Allowance(name, origin, CORPORA[name].unpacked), _is_recording):
      file = scratch / 'unpacked' / f'{len(pairs):07d}{pathlib.PurePosixPath(path).suffix}'  # whatever path the archive says
      with open(file, 'wb') as unpacked:
        unpacked.writelines(blocks)
      pairs.append((path.lstrip('/'), file))
    if not pairs:
      raise InputError(f'{origin} has no {" or ".join(audio.SUFFIXES)} files: give an archive of recordings.')
  common = os.path.commonpath([pathlib.PurePosixPath(path).parent for path, _ in pairs])
  found = {}
  for path, file in sorted(pairs):
    name = pathlib.PurePosixPath(path).relative_to(common or '.').with_suffix('').as_posix()
    if name in found:
      raise InputError(f'{origin} has two recordings named {name}: rename one.')
    found[name] = file
  return found


def _by_speaker(name: str, found: dict[str, pathlib.Path], speaker: str | None) -> tuple[str | None, dict[str, pathlib.Path]]:
  """(whose, the recordings of that speaker)."""
  source = CORPORA[name]
  if source.pattern is None:
    return None, found
  matches = {key: re.fullmatch(source.pattern, key) for key in found}
  if odd := next((key for key, match in matches.items() if not match), None):
    raise InputError(f'{odd} is not a recording of {name}, whose names are like 7_jackson_32: remove it, or prepare your own '
                     'with --dataset=recordings.')
  speaker = speaker or source.speaker
  speakers = sorted({match['speaker'] for match in matches.values()})
  if speaker not in (EVERYONE, *speakers):
    raise InputError(f'No recording is by {speaker!r}{registry.nearest(speaker, speakers)}: --speaker may be '
                     f'{", ".join([*speakers, EVERYONE])}.')
  return speaker, {key: path for key, path in found.items() if speaker in (EVERYONE, matches[key]['speaker'])}


def _try(found: dict[str, pathlib.Path], rate: int, allowance: unpack.Allowance | None) -> None:
  """InputError if recordings cannot be used, or are more than an archive may hold: all are read before the slow part."""
  refused, others = [], 0
  for name, path in found.items():
    samples = 0
    try:
      recording = audio.read(path)
      samples = len(recording.waveform) * recording.num_channels
      others += recording.file_rate != rate
      if len(recording.waveform) < -(-recording.file_rate // world.FRAMES_PER_SECOND):
        raise InputError(f'it has {len(recording.waveform)} samples at {recording.file_rate} Hz, less than a frame of 5 ms')
    except InputError as error:
      refused.append(f'{name}: {str(error).removeprefix(str(path)).strip().partition(": ")[0]}')
    if allowance is not None:
      allowance.spend(2 * samples)  # as 16 bits: flac packs silence as well as any archive
  if refused:
    more = f' and {len(refused) - 3} more' if len(refused) > 3 else ''
    raise InputError(f'{len(refused)} of {len(found)} recordings cannot be used ({"; ".join(refused[:3])}{more}): remove them '
                     'or record them again.')
  if others:
    logging.info('%d of %d recordings are not at %d Hz, and are brought to it.', others, len(found), rate)


def _kept_out(name: str, names: list[str], share: float, seed: int) -> set[str]:
  """The held-out ones: in the order of their relative ranks in their strata, the first of all."""
  rng, pattern, strata = np.random.default_rng(seed), CORPORA[name].pattern, {}
  for key in names:
    strata.setdefault(tuple(re.fullmatch(pattern, key).groups()) if pattern else (), []).append(key)
  ranks = {}
  for members in strata.values():
    order = rng.permutation(len(members))
    ranks.update({members[i]: ((rank + 0.5) / len(members), rng.uniform()) for rank, i in enumerate(order)})
  count = min(max(1, round(share * len(names))), len(names) - 1)
  return set(sorted(ranks, key=ranks.get)[:count])


def _sha256(origin: pathlib.Path) -> str:
  """Of an archive, or of the names and hashes of the recordings in a folder."""
  if origin.is_file():
    return files.sha256(origin)
  lines = [f'{files.sha256(file)}  {file.relative_to(origin).as_posix()}\n' for file in _walk(origin)]
  return hashlib.sha256(''.join(lines).encode()).hexdigest()


def _origin(name: str) -> str:
  url = CORPORA[name].url
  return f'fetch {url} into A/{name}, and ' if url else ''


def _command(name: str, data_dir: str | os.PathLike | None) -> str:
  flags = [f'--dataset={name}', f'--data_dir={directory(data_dir)}', f'--archives={"A" if CORPORA[name].url else "FOLDER"}']
  return shlex.join(['python', '-m', 'launch.prepare_data', *flags])
