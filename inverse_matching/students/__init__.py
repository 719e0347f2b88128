"""Students by name. A user's own is 'package.module:factory', a function (event_shape, **config) -> Student."""
from inverse_matching import registry
from inverse_matching.exactness import exact
from inverse_matching.students.checks import check
from inverse_matching.students.few_step import few_step
from inverse_matching.students.flow import flow, made_flow, pixelcnn_flow
from inverse_matching.students.linear import linear
from inverse_matching.students.resnet import resnet
from inverse_matching.students.wavenet import wavenet
from inverse_matching.types import Student, check_arguments

STUDENTS = {'flow': pixelcnn_flow, 'resnet': resnet, 'few_step': few_step, 'wavenet': wavenet, 'made': made_flow,
            'linear': linear}


def make(name: str, event_shape: tuple[int, ...], *, dtype: str | None = None, **config) -> Student:
  """The student of that name for events of that shape; InputError if there is none or a setting is not its own.

  `dtype` is that of the numbers inside its network, see nets.precision; None is float32.
  """
  student = registry.build('student', STUDENTS, name, {'event_shape': event_shape}, config, returns=Student, dtype=dtype)
  check_arguments('z_to_x of the student', student.z_to_x, 'params, z, cond, key')
  return student._replace(z_to_x=exact(student.z_to_x), velocity=student.velocity and exact(student.velocity))
