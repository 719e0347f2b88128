"""A folder of images as TFDS prepares it, of images that follow from their number."""
import io
import json

from array_record.python import array_record_module
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2


def image(i, shape=(28, 28, 1)):
  return np.random.default_rng(i).integers(0, 256, shape, np.uint8)


def png(pixels):
  buffer = io.BytesIO()
  Image.fromarray(pixels.squeeze()).save(buffer, 'PNG')
  return buffer.getvalue()


def write_prepared(path, name, sizes, shape):
  """A folder as TFDS prepares it; image i of a split has label i % 10, those of the test split begin at 100."""
  version = str(tfds.builder_cls(name).VERSION)
  folder = path / name / version
  folder.mkdir(parents=True)
  for split, size in sizes.items():
    writer = array_record_module.ArrayRecordWriter(str(folder / f'{name}-{split}.array_record-00000-of-00001'), 'group_size:1')
    for i in range(size):
      example = tf_example_pb2.Example()
      example.features.feature['image'].bytes_list.value.append(png(image(i + 100 * (split == 'test'), shape)))
      example.features.feature['label'].int64_list.value.append(i % 10)
      writer.write(example.SerializeToString())
    writer.close()
  template = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
  (folder / 'dataset_info.json').write_text(json.dumps({
      'name': name, 'version': version, 'fileFormat': 'array_record', 'splits': [
          {'name': split, 'shardLengths': [str(size)], 'numBytes': '1', 'filepathTemplate': template}
          for split, size in sizes.items()]}))
