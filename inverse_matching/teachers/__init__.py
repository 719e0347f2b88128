"""Teachers by name. A user's own is 'package.module:factory', a function (event_shape, **config) -> Teacher."""
from inverse_matching import registry
from inverse_matching.teachers.checks import check
from inverse_matching.teachers.gaussian import gaussian
from inverse_matching.teachers.pixelcnn import pixelcnn
from inverse_matching.types import Teacher

TEACHERS = {'pixelcnn': pixelcnn}


def make(name: str, event_shape: tuple[int, ...], **config) -> Teacher:
  """The teacher of that name for events of that shape; InputError if there is none or a setting is not its own."""
  return registry.build('teacher', TEACHERS, name, event_shape, config)
