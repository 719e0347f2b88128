"""Utterances with the features that a vocoder gets, in memory."""
import functools
import inspect
from typing import Callable, NamedTuple, Sequence
import zlib

import numpy as np

from inverse_matching import registry
from inverse_matching.data import audio, recordings, synthetic_speech, world
from inverse_matching.data import phase as phases
from inverse_matching.errors import InputError

# Of full scale. More blurs the weak ends of voiced sounds: 5e-4 leaves DIO 98% of the voiced frames of spoken_digit and of
# ljspeech, pitch within 15 cents and STOI 1.000; 1e-3 leaves 97% and 58 cents. The recordings have noise of 1e-4 to 6e-4.
DITHER = 5e-4
SYNTHETIC = {'train': 24, 'held_out': 8}  # utterances
SYNTHETIC_RATE = 8000  # Hz


class Utterance(NamedTuple):
  """A recording. See Speech.cond for the features."""
  name: str
  waveform: np.ndarray  # [T] float32, about [-1, 1], T = F hop
  features: np.ndarray  # [F, D] float32


class Speech(NamedTuple):
  """A data set of utterances."""
  train: tuple[Utterance, ...]
  held_out: tuple[Utterance, ...]
  rate: int  # Hz
  hop: int  # samples of a frame
  num_cepstra: int
  mean: np.ndarray  # [W] float32, of WORLD's features of all training utterances; of the voiced flag 0, and its std 1
  std: np.ndarray  # [W] float32
  phase: bool = False  # whether the features tell the phase of the voice

  def cond(self, waveform: np.ndarray, features: np.ndarray) -> np.ndarray:
    """What a model gets [F, D] of a waveform [F hop] with WORLD's features [F, W]: those normalised, perhaps data.phase."""
    normalised = (features - self.mean) / self.std
    if not self.phase:
      return normalised
    column = world.names(self.rate, self.num_cepstra).index
    f0, voiced = np.exp(features[:, column('log_f0')]), features[:, column('voiced')] > 0.5
    return np.concatenate([normalised, phases.features(waveform, f0, voiced, self.hop, self.rate)], axis=1)

  def raw(self, features: np.ndarray) -> np.ndarray:
    """WORLD's features [..., W], of what a model gets [..., D]."""
    return features[..., :len(self.mean)] * self.std + self.mean


def prepared(name: str, *, data_dir: str | None = None, dither: float = DITHER, phase: bool = False,
             num_train: int | None = None, num_held_out: int | None = None, split_seed: int = 0) -> Speech:
  """A data set that launch.prepare_data wrote.

  The features are those of the recordings. What is added to the waveforms gives each sample a density: where a recording is
  digital silence, or repeats itself exactly, its likelihood has no bound, and z = T(x) says nothing.

  Args:
    name: a name in recordings.SOURCES.
    data_dir: folder of prepared data sets; None is the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
    dither: standard deviation of the Gaussian noise that is added to the waveforms; it is always the same for an utterance.
    phase: whether the features tell the phase of the voice too, see data.phase. A vocoder of text has none to give.
    num_train: how many training utterances, the first of a random order, so that fewer are a part of more; None is all.
    num_held_out: the same of the held-out ones.
    split_seed: of that order.

  Raises:
    InputError: see recordings.read; or a number does not fit.
  """
  data = recordings.read(name, data_dir)
  as_pairs = lambda records: [(r['name'], audio.from_int16(r['samples']), r['features']) for r in records]
  return _speech(name, as_pairs(data.train), as_pairs(data.held_out), rate=data.settings['rate'],
                 num_cepstra=data.settings['num_cepstra'], mean=np.array(data.settings['mean']),
                 std=np.array(data.settings['std']), dither=dither, phase=phase, num_train=num_train,
                 num_held_out=num_held_out, split_seed=split_seed)


def synthetic(*, dither: float = DITHER, phase: bool = False, num_train: int | None = None, num_held_out: int | None = None,
              split_seed: int = 0) -> Speech:
  """32 utterances of data.synthetic_speech, 0.7 s each at 8 kHz; needs no files. See `prepared` for the arguments."""
  num_cepstra = world.default_num_cepstra(SYNTHETIC_RATE)
  splits = []
  for index, (split, count) in enumerate(SYNTHETIC.items()):
    waveforms = [synthetic_speech.utterance(np.random.default_rng([index, i]), SYNTHETIC_RATE) for i in range(count)]
    features = [world.analyse(waveform, SYNTHETIC_RATE, num_cepstra) for waveform in waveforms]
    cut = [waveform[:len(f) * world.hop(SYNTHETIC_RATE)] for waveform, f in zip(waveforms, features)]
    splits.append([(f'{split}_{i:02d}', *pair) for i, pair in enumerate(zip(cut, features))])
  frames = np.concatenate([features for *_, features in splits[0]])
  return _speech('synthetic', *splits, rate=SYNTHETIC_RATE, num_cepstra=num_cepstra, mean=frames.mean(0, np.float64),
                 std=frames.std(0, np.float64), dither=dither, phase=phase, num_train=num_train, num_held_out=num_held_out,
                 split_seed=split_seed)


SOURCES: dict[str, Callable[..., Speech]] = {
    'synthetic': synthetic, **{name: functools.partial(prepared, name) for name in recordings.SOURCES}}


def load(name: str, **settings) -> Speech:
  """The data set of that name.

  Args:
    name: a name in SOURCES.
    **settings: of that data set, those of `prepared` or `synthetic`.

  Raises:
    InputError: unknown name, or a setting that is not one of its own.
  """
  if name not in SOURCES:
    raise InputError(f'Unknown speech {name!r}{registry.nearest(name, SOURCES)}: use one of {", ".join(SOURCES)}.')
  fields = list(inspect.signature(SOURCES[name]).parameters)
  if unknown := [field for field in settings if field not in fields]:
    raise InputError(f'config.data does not fit {name!r}, which has no {unknown[0]!r}: its own fields are {", ".join(fields)}.')
  return SOURCES[name](**settings)


def _speech(name: str, train: Sequence[tuple], held_out: Sequence[tuple], *, rate: int, num_cepstra: int, mean: np.ndarray,
            std: np.ndarray, dither: float, phase: bool, num_train: int | None, num_held_out: int | None,
            split_seed: int) -> Speech:
  if not 0 <= dither < 1:
    raise InputError(f'config.data.dither must be a share of full scale, 0 or more and below 1, got {dither}.')
  voiced = world.names(rate, num_cepstra).index('voiced')
  mean, std = mean.astype(np.float32), np.maximum(std, 1e-5).astype(np.float32)  # one that never varies is 0
  mean[voiced], std[voiced] = 0, 1
  speech = Speech((), (), rate=rate, hop=world.hop(rate), num_cepstra=num_cepstra, mean=mean, std=std, phase=phase)

  def utterance(key: str, waveform: np.ndarray, features: np.ndarray) -> Utterance:
    rng = np.random.default_rng(zlib.crc32(key.encode()))  # of the name: whichever others are chosen, it stays the same
    noisy = waveform + dither * rng.standard_normal(len(waveform), np.float32)
    return Utterance(key, noisy.astype(np.float32), speech.cond(waveform, features))

  splits = []
  for field, records, num in (('num_train', train, num_train), ('num_held_out', held_out, num_held_out)):
    if num is not None and not 1 <= num <= len(records):
      raise InputError(f'config.data.{field} is {num}, but {name} has {len(records)} such utterances: give 1 to '
                       f'{len(records)}, or None for all.')
    order = np.random.default_rng(split_seed).permutation(len(records))[:num]
    splits.append(tuple(utterance(*records[i]) for i in order))
  return speech._replace(train=splits[0], held_out=splits[1])
