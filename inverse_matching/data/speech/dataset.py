"""Utterances with the features that a vocoder gets, in memory."""
import functools
from typing import Any, Mapping, NamedTuple, Sequence
import zlib

import jax
import numpy as np

from inverse_matching.data.source import Source, Space, num_held_out, prepare_arrays, split_off, stack
from inverse_matching.data.speech import audio, crops, recordings, world
from inverse_matching.data.speech import synthetic as synthetic_speech
from inverse_matching.data.speech.features import Features
from inverse_matching.errors import InputError, check_at_least

# Of full scale. More blurs the weak ends of voiced sounds: 5e-4 leaves DIO 98% of the voiced frames of spoken_digit and of
# ljspeech, pitch within 15 cents and STOI 1.000; 1e-3 leaves 97% and 58 cents. The recordings have noise of 1e-4 to 6e-4.
DITHER = 5e-4
SYNTHETIC = {'train': 24, 'held_out': 8}  # utterances
SYNTHETIC_RATE = 8000  # Hz


class Utterance(NamedTuple):
  """A recording, or a piece of one. See Features.cond for the features."""
  name: str
  waveform: np.ndarray  # [T] float32, about [-1, 1], T = F hop
  features: np.ndarray  # [F, D] float32
  recording: str | None = None  # the name of the one it is a piece of; None: it is whole


def by_recording(utterances: Sequence[Utterance]) -> list[list[int]]:
  """The indices of the utterances of each recording: they are not independent, so intervals resample them together."""
  found: dict[str, list[int]] = {}
  for i, utterance in enumerate(utterances):
    found.setdefault(utterance.recording or utterance.name, []).append(i)
  return list(found.values())


class Speech(NamedTuple):
  """A data set of utterances."""
  train: tuple[Utterance, ...]
  held_out: tuple[Utterance, ...]
  validation: tuple[Utterance, ...] = ()


def space(*, features: Mapping[str, Any], crop_frames: int, burn_in_frames: int, epoch_size: int) -> Space:
  """Returns the space of utterances with their features, seen as crops.

  Args:
    features: the fields of Features.
    crop_frames: frames of a crop.
    burn_in_frames: see crops.crops.
    epoch_size: crops that hold as many frames as the training utterances do.
  """
  codec = Features(**{**features, 'mean': np.float32(features['mean']), 'std': np.float32(features['std'])})

  def of_pairs(stored):
    count, utterances = num_held_out(stored), list(stored)
    cut = functools.partial(crops.crops, num_frames=crop_frames, burn_in=burn_in_frames)
    return cut(utterances[count:]), stack(cut(utterances[:count]))

  facts = {'kind': 'speech', 'features': codec.facts(), 'crop_frames': crop_frames, 'burn_in_frames': burn_in_frames,
           'epoch_size': epoch_size}
  # A teacher is tried on two frames.
  check = {'length': 2 * codec.hop, 'cond': jax.ShapeDtypeStruct((2, codec.size), np.float32)}
  return Space(facts, (None,), codec, prepare_arrays, of_pairs, epoch_size, model_settings={'num_features': codec.size},
               check_settings=check)


def source(speech: Speech, features: Features, *, crop_frames: int, burn_in_frames: int) -> Source:
  """Returns the Source of utterances; see `space` for the arguments."""
  cut = lambda split: crops.crops([{'x': u.waveform, 'cond': u.features} for u in split], num_frames=crop_frames,
                                  burn_in=burn_in_frames)
  train, held_out = cut(speech.train), stack(cut(speech.held_out))
  frames = sum(len(u.features) for u in speech.train)
  return Source(space(features=features.facts(), crop_frames=crop_frames, burn_in_frames=burn_in_frames,
                      epoch_size=max(1, frames // (crop_frames - burn_in_frames))),
                train, stack(cut(speech.validation)) if speech.validation else held_out, held_out, speech)


def prepared(name: str, *, crop_frames: int, burn_in_frames: int, data_dir: str | None = None, dither: float = DITHER,
             phase: bool = False, num_train: int | None = None, num_held_out: int | None = None,
             num_validation: int | None = None, split_seed: int = 0, piece_seconds: float | None = None) -> Source:
  """Returns a data set that launch.prepare_data wrote.

  The features are those of the recordings. What is added to the waveforms gives each sample a density: where a recording is
  digital silence, or repeats itself exactly, its likelihood has no bound, and z = T(x) says nothing.

  Args:
    name: a name in corpora.CORPORA.
    crop_frames: frames of a crop.
    burn_in_frames: see crops.crops.
    data_dir: folder of prepared data sets; None is the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
    dither: standard deviation of the Gaussian noise that is added to the waveforms; it is always the same for an utterance.
    phase: whether the features tell the phase of the voice too, see data.phase. A vocoder of text has none to give.
    num_train: how many training utterances, the first of a random order, so that fewer are a part of more; None is all.
    num_held_out: the same of the held-out ones.
    num_validation: how many of the training utterances are set apart for validation; None is none.
    split_seed: of that order.
    piece_seconds: utterances held out and for validation are cut into pieces of equal length, about so long each; None: they
      stay whole.

  Raises:
    InputError: see recordings.read; or a number does not fit.
  """
  data = recordings.read(name, data_dir)
  as_pairs = lambda records: [(r['name'], audio.from_int16(r['samples']), r['features']) for r in records]
  features = _features(data.settings['rate'], data.settings['num_cepstra'], np.array(data.settings['mean']),
                       np.array(data.settings['std']), phase)
  speech = _speech(name, as_pairs(data.train), as_pairs(data.held_out), features, dither=dither, num_train=num_train,
                   num_held_out=num_held_out, num_validation=num_validation, split_seed=split_seed,
                   piece_seconds=piece_seconds)
  return source(speech, features, crop_frames=crop_frames, burn_in_frames=burn_in_frames)


def synthetic(*, crop_frames: int, burn_in_frames: int, dither: float = DITHER, phase: bool = False,
              num_train: int | None = None, num_held_out: int | None = None, num_validation: int | None = None,
              split_seed: int = 0, piece_seconds: float | None = None) -> Source:
  """Returns 32 utterances of data.synthetic_speech, 0.7 s each at 8 kHz; needs no files. See `prepared` for the arguments."""
  num_cepstra = world.default_num_cepstra(SYNTHETIC_RATE)
  splits = []
  for index, (split, count) in enumerate(SYNTHETIC.items()):
    waveforms = [synthetic_speech.utterance(np.random.default_rng([index, i]), SYNTHETIC_RATE) for i in range(count)]
    features = [world.analyse(waveform, SYNTHETIC_RATE, num_cepstra) for waveform in waveforms]
    cut = [waveform[:len(f) * world.hop(SYNTHETIC_RATE)] for waveform, f in zip(waveforms, features)]
    splits.append([(f'{split}_{i:02d}', *pair) for i, pair in enumerate(zip(cut, features))])
  frames = np.concatenate([features for *_, features in splits[0]])
  codec = _features(SYNTHETIC_RATE, num_cepstra, frames.mean(0, np.float64), frames.std(0, np.float64), phase)
  speech = _speech('synthetic', *splits, codec, dither=dither, num_train=num_train, num_held_out=num_held_out,
                   num_validation=num_validation, split_seed=split_seed, piece_seconds=piece_seconds)
  return source(speech, codec, crop_frames=crop_frames, burn_in_frames=burn_in_frames)


def _features(rate: int, num_cepstra: int, mean: np.ndarray, std: np.ndarray, phase: bool) -> Features:
  voiced = world.names(rate, num_cepstra).index('voiced')
  mean, std = mean.astype(np.float32), np.maximum(std, 1e-5).astype(np.float32)  # one that never varies is 0
  mean[voiced], std[voiced] = 0, 1
  return Features(rate, world.hop(rate), num_cepstra, mean, std, phase)


def _speech(name: str, train: Sequence[tuple], held_out: Sequence[tuple], codec: Features, *, dither: float,
            num_train: int | None, num_held_out: int | None, num_validation: int | None, split_seed: int,
            piece_seconds: float | None) -> Speech:
  if piece_seconds is not None and piece_seconds <= 0:
    raise InputError(f'config.data.piece_seconds must be above 0, or None for whole utterances, got {piece_seconds}.')
  if not 0 <= dither < 1:
    raise InputError(f'config.data.dither must be a share of full scale, 0 or more and below 1, got {dither}.')

  def utterance(key: str, waveform: np.ndarray, features: np.ndarray) -> Utterance:
    rng = np.random.default_rng(zlib.crc32(key.encode()))  # of the name: whichever others are chosen, it stays the same
    noisy = waveform + dither * rng.standard_normal(len(waveform), np.float32)
    return Utterance(key, noisy.astype(np.float32), codec.cond(waveform, features))

  splits = []
  for field, records, num in (('num_train', train, num_train), ('num_held_out', held_out, num_held_out)):
    if num is not None and not 1 <= num <= len(records):
      raise InputError(f'config.data.{field} is {num}, but {name} has {len(records)} such utterances: give 1 to '
                       f'{len(records)}, or None for all.')
    check_at_least(0, split_seed=split_seed)
    order = np.random.default_rng(split_seed).permutation(len(records))[:num]
    splits.append(tuple(utterance(*records[i]) for i in order))
  count = split_off(num_validation, len(splits[0]), 'num_validation', 'utterances')
  train, *judged = splits[0][:count], splits[1], splits[0][count:]
  if piece_seconds is not None:
    judged = [tuple(piece for each in part for piece in _pieces(each, piece_seconds * world.FRAMES_PER_SECOND))
              for part in judged]
  return Speech(train, *judged)


def _pieces(utterance: Utterance, num_frames: float) -> list[Utterance]:
  """An utterance cut into pieces of equal length, to a frame, as near to `num_frames` frames as it can be."""
  length = len(utterance.features)
  count = min(max(round(length / num_frames), 1), length)
  hop = len(utterance.waveform) // length
  edges = [round(k * length / count) for k in range(count + 1)]
  return [Utterance(f'{utterance.name}_{k}', utterance.waveform[start * hop:stop * hop], utterance.features[start:stop],
                    utterance.name)
          for k, (start, stop) in enumerate(zip(edges, edges[1:]))]
