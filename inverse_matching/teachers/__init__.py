"""Teachers by name. A user's own is 'package.module:factory', a function (event_shape, **config) -> Teacher."""
from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.teachers.checks import blind_spots, check
from inverse_matching.teachers.gaussian import gaussian
from inverse_matching.teachers.made import made
from inverse_matching.teachers.pixelcnn import pixelcnn
from inverse_matching.teachers.samplernn import samplernn
from inverse_matching.teachers.transformer import transformer
from inverse_matching.types import Teacher

TEACHERS = {'pixelcnn': pixelcnn, 'transformer': transformer, 'samplernn': samplernn, 'made': made, 'gaussian': gaussian}


def make(name: str, event_shape: tuple[int, ...], *, dtype: str | None = None, **config) -> Teacher:
  """The teacher of that name for events of that shape; InputError if there is none, or one that does not fit.

  `dtype` is that of the numbers inside its network, see nets.precision; None is float32.
  """
  teacher = registry.build('teacher', TEACHERS, name, {'event_shape': event_shape}, config, returns=Teacher, dtype=dtype,
                           how=': make one by inverse_matching.autoregressive or inverse_matching.from_transform')
  if teacher.event_shape != tuple(event_shape):
    raise InputError(f'The teacher of {name!r} has event shape {teacher.event_shape}, but the data {tuple(event_shape)}: let '
                     'the factory use the event_shape that it is given.')
  return teacher
