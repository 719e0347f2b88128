"""What a student must be, tried on random z before it is trained."""
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.teachers.checks import BATCH, LENGTH, draw_cond, kind, moved
from inverse_matching.types import Params, Student, StudentOutput

HOW = 'return StudentOutput(x, log_det) with x of the shape of z, and log_det [B] or None'


def check(student: Student, params: Params, *, length: int | None = None, cond: Any = None) -> None:
  """Raises InputError unless the output has the shape of z, is finite, has the log_det that is promised, and can be trained.

  Args:
    student: to try.
    params: of its init.
    length: of a time axis of variable length, if the student does not take any.
    cond: shapes of the cond of one example, see teachers.check.
  """
  event = tuple((length or LENGTH) if n is None else n for n in student.event_shape)
  z = np.random.default_rng(0).normal(size=(BATCH, *event)).astype(np.float32)
  cond = draw_cond(cond)
  generate = jax.jit(lambda params: student.z_to_x(params, z, cond, None))
  shapes = jax.eval_shape(generate, params)
  if not isinstance(shapes, StudentOutput):
    raise InputError(f'z_to_x of the student returned {kind(shapes)}: {HOW}.')
  if getattr(shapes.x, 'shape', None) != z.shape:
    raise InputError(f'The student made x of shape {list(getattr(shapes.x, "shape", []))} from z of {list(z.shape)}: {HOW}.')
  if student.has_log_det and getattr(shapes.log_det, 'shape', None) != (BATCH,):
    given = 'None' if shapes.log_det is None else f'of shape {list(shapes.log_det.shape)}'
    raise InputError(f'The student has has_log_det=True, but log_det is {given} for z of {list(z.shape)}: {HOW}, or set '
                     'has_log_det=False.')
  output = generate(params)
  for name, value in (('x', output.x), *((('log_det', output.log_det),) if student.has_log_det else ())):
    bad = np.asarray(value)[~np.isfinite(value)]
    if bad.size:
      raise InputError(f'{name} of the student is {bad[0]} for a random z, with the parameters of init: keep it finite, such '
                       'as a log-scale by 7 * tanh(log_scale / 7).')
  weights = np.random.default_rng(1).normal(size=z.shape).astype(np.float32)  # that no symmetry hides a gradient
  gradient = jax.grad(lambda params: jnp.sum(generate(params).x * weights))(moved(params))
  if not any(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient)):
    raise InputError('The output of the student does not change with its parameters: let z_to_x use those that init makes, '
                     'without jax.lax.stop_gradient.')
