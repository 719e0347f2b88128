"""The TFDS builder of recordings with WORLD features. Neither preparing nor reading needs TensorFlow."""
import json
import os
import pathlib
from typing import Any, Iterator, NamedTuple, Sequence

from google.protobuf import json_format
import numpy as np
import tensorflow_datasets as tfds

from inverse_matching.data.speech import audio, world
from inverse_matching.data.speech.corpora import CORPORA
from inverse_matching.runtime.progress import Progress

SPLITS = ('train', 'held_out')


class Example(NamedTuple):
  """A recording to be prepared."""
  name: str
  path: pathlib.Path
  split: str  # one of SPLITS


def _features(width: int) -> tfds.features.FeaturesDict:
  return tfds.features.FeaturesDict({
      'name': tfds.features.Text(),
      # As bytes: Audio() needs TensorFlow, and keeps each sample as an integer of its own, which is slow to read.
      'samples': tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding='bytes'),
      'features': tfds.features.Tensor(shape=(None, width), dtype=np.float32, encoding='bytes'),
  })


class Recordings(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Waveforms and features of recordings, one data set a config.

  The 16-bit samples are those that the features are of, T = F hop. The mean and the standard deviation of the features over
  all frames of the training split are among the metadata, beside what the caller puts there.

  Args:
    dataset: a name in corpora.CORPORA.
    data_dir: folder of prepared data sets.
    examples: the recordings.
    rate: Hz.
    num_cepstra: see data.world.
    metadata: to be kept with the data, JSON values.
    progress: counts the recordings.
  """
  name = 'speech'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=source) for source in CORPORA]

  def __init__(self, *, dataset: str, data_dir: str | os.PathLike, examples: Sequence[Example], rate: int, num_cepstra: int,
               metadata: dict[str, Any], progress: Progress):
    self._examples, self._rate, self._num_cepstra = examples, rate, num_cepstra
    self._metadata, self._progress = metadata, progress
    super().__init__(config=dataset, data_dir=data_dir, file_format='array_record')

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        description='Recordings of speech with WORLD features.',
        features=_features(len(world.names(self._rate, self._num_cepstra))),
        metadata=tfds.core.MetadataDict(rate=self._rate, num_cepstra=self._num_cepstra, **self._metadata))

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    del dl_manager  # nothing is downloaded
    return {split: self._generate_examples(split) for split in SPLITS}

  def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    count, total, squares = 0, 0.0, 0.0
    for name, path, _ in (example for example in self._examples if example.split == split):
      waveform = audio.read(path, self._rate).waveform
      features = world.analyse(waveform, self._rate, self._num_cepstra)
      samples = audio.to_int16(waveform[:len(features) * world.hop(self._rate)])
      count += len(features)
      total, squares = total + features.sum(0, np.float64), squares + np.square(features, dtype=np.float64).sum(0)
      self._progress.update()
      yield name, {'name': name, 'samples': samples, 'features': features}
    if split == 'train':
      mean = total / count
      self.info.metadata.update(mean=mean.tolist(), std=np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist())


def prepare(*, dataset: str, examples: Sequence[Example], **settings) -> pathlib.Path:
  """Makes a data set, see `Recordings` for the settings; the folder where it is."""
  with Progress(f'preparing {dataset}', len(examples), unit='recordings') as progress:
    builder = Recordings(dataset=dataset, examples=examples, progress=progress, **settings)
    builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


def read(folder: str | os.PathLike) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
  """(metadata, the records of each split by name): every record is checked against the hash that is stored with it."""
  _check_features(folder)
  builder = tfds.builder_from_directory(folder)
  sources = builder.as_data_source(split=list(SPLITS))
  records = {}
  for split, source in zip(SPLITS, sources):
    found = [{**record, 'name': _text(record['name'])} for record in source.__getitems__(list(range(len(source))))]
    records[split] = sorted(found, key=lambda record: record['name'])
  return dict(builder.info.metadata), records


def _check_features(folder: str | os.PathLike) -> None:
  """ValueError or KeyError unless features.json is what `prepare` writes: TFDS imports the module of any class named there."""
  found = json.loads((pathlib.Path(folder) / 'features.json').read_text())
  width = int(found['featuresDict']['features']['features']['tensor']['shape']['dimensions'][-1])
  if found != json_format.MessageToDict(_features(width).to_proto()):
    raise ValueError('features.json is not that of recordings')


def _text(value: bytes | str) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)
