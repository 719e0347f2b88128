"""Flow matching between data and their noise under the teacher."""
import jax
import jax.numpy as jnp

from inverse_matching import random
from inverse_matching.errors import InputError
from inverse_matching.losses.common import check_pair, need_x, prior_draw
from inverse_matching.types import Array, Batch, LossFn, Student, Teacher, mean_event

COUPLINGS = ('teacher', 'independent')
TIME_MEAN, TIME_STD = -0.2, 1.0  # of the logit of the time
AT_ONE = 0.1  # share of the times that are 1, where every sampler begins, and of the others 1 in 1,000 is above 0.95


def flow_matching(teacher: Teacher, student: Student, *, coupling: str = 'teacher', data_noise_std: float = 0.0,
                  encoding_std: float = 1.0, time: float | None = None) -> LossFn:
  """|velocity(x_t, t) - (z - x)|^2, the mean over the event, x_t = (1 - t) x + t z, z = T(x); not in the paper.

  At t = 1 it is x-reconstruction by a student of one step. With z drawn from the prior, apart from x, it is flow matching as of
  Lipman et al. (2023). A tenth of the times are 1, where samplers begin; the logit of the others is normal.

  Args:
    teacher: whose T gives z, or whose prior.
    student: with a velocity.
    coupling: 'teacher': z = T(x + noise) / encoding_std, or that of the batch, on pairs. 'independent': from the prior.
    data_noise_std: of the noise on x, in its units, before it is encoded.
    encoding_std: root mean square of T(x + noise), so that z is as wide as the prior.
    time: t for all, in [0, 1]; None draws it.

  Raises:
    InputError: event shapes differ, no velocity, an unknown coupling, a number that is out of range, noise on discrete data;
      when it is called, data_noise_std or encoding_std for a batch that is encoded already.
  """
  check_pair(teacher, student)
  if student.velocity is None:
    raise InputError('flow_matching trains a velocity, which this student does not have: use the student few_step, or '
                     'x_reconstruction.')
  if coupling not in COUPLINGS:
    raise InputError(f'Unknown coupling {coupling!r} of flow_matching: use teacher or independent.')
  if data_noise_std < 0 or encoding_std <= 0 or time is not None and not 0 <= time <= 1:
    raise InputError(f'flow_matching needs data_noise_std >= 0, encoding_std > 0 and a time in [0, 1] or None, got '
                     f'{data_noise_std}, {encoding_std} and {time}.')
  if data_noise_std and coupling == 'teacher' and teacher.levels is not None:
    raise InputError('data_noise_std of flow_matching is for continuous data, and this teacher is of discrete data: set it '
                     'to 0.')

  def encoded(teacher_params, batch: Batch) -> Array:
    if coupling == 'independent':
      return prior_draw(teacher, batch._replace(z=None))
    if batch.z is not None:
      if data_noise_std or encoding_std != 1:
        raise InputError(f'data_noise_std={data_noise_std} and encoding_std={encoding_std} of flow_matching are of encodings '
                         'made in the step, and this batch is encoded already: leave them at 0 and 1, or train on the data, '
                         'without stored pairs or encodings.')
      return batch.z
    x = batch.x + data_noise_std * random.normal(random.stream(batch.key, 'noise'), batch.x.shape[1:])
    return jax.lax.stop_gradient(teacher.x_to_z(teacher_params, x, batch.cond)[0]) / encoding_std

  def loss(student_params, teacher_params, batch: Batch):
    need_x(batch, 'flow_matching')
    z = encoded(teacher_params, batch)
    keys = random.stream(batch.key, 'time')
    drawn = jax.nn.sigmoid(TIME_MEAN + TIME_STD * random.normal(keys, ()))
    drawn = jnp.where(random.uniform(random.fold(keys, 1), ()) < AT_ONE, 1.0, drawn)
    t = drawn if time is None else jnp.full(len(z), time)
    at = t.reshape(-1, *(1,) * (z.ndim - 1))
    predicted = student.velocity(student_params, (1 - at) * batch.x + at * z, t, batch.cond, batch.key)
    return mean_event(jnp.square(predicted - (z - batch.x)), batch.mask), {}

  return loss
