"""Events for TensorBoard."""
import io
import struct

import numpy as np
from PIL import Image
import pytest

from inverse_matching.runtime import processes
from inverse_matching.training.tensorboard import Board

event_pb2 = pytest.importorskip('tensorboardX.proto.event_pb2')


def events(folder):
  """Every event but the one that says the version."""
  found = []
  for path in folder.glob('events*'):
    data, at = path.read_bytes(), 0
    while at < len(data):  # length, its checksum, the event, its checksum
      size, = struct.unpack_from('<Q', data, at)
      found.append(event_pb2.Event.FromString(data[at + 12:at + 12 + size]))
      at += size + 16
  return [event for event in found if event.summary.value]


def test_what_is_written_can_be_read_at_once(tmp_path):
  """Numbers, a picture and a sound, each with its step; numbers that are not finite are left out."""
  board = Board(tmp_path / 'board')
  board.scalars(3, {'loss': 1.5, 'bad': float('nan')})
  picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
  board.image(4, 'samples', picture)
  board.audio(5, 'speech', np.sin(np.arange(80) / 5).astype(np.float32), 8000)
  found = {event.step: event.summary.value for event in events(tmp_path / 'board')}
  tags = {step: [value.tag for value in values] for step, values in found.items()}
  assert tags == {3: ['loss'], 4: ['samples'], 5: ['speech']}
  np.testing.assert_array_equal(Image.open(io.BytesIO(found[4][0].image.encoded_image_string)), picture)
  assert found[5][0].audio.sample_rate == 8000 and found[5][0].audio.length_frames == 80
  board.close()


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  """The others have a board that does nothing."""
  monkeypatch.setattr(processes, 'is_first', lambda: False)
  board = Board(tmp_path / 'board')
  board.scalars(1, {'loss': 1.0})
  board.close()
  assert not (tmp_path / 'board').exists()
