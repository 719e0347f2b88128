"""The teacher of the vocoder (section 4.1.4 of the paper): SampleRNN with one Gaussian per sample."""
import math
from typing import Sequence

from inverse_matching import random
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.nets import samplernn as net
from inverse_matching.teachers import build
from inverse_matching.types import Teacher

MIN_LOG_SCALE = -7.0


def samplernn(event_shape: tuple[int | None] = (None,), *, num_features: int, frame_sizes: Sequence[int] = (80, 10),
              width: int = 1024, min_log_scale: float | None = None, initial_scale: float = 0.05,
              next_frame: bool | None = False, dtype: str | None = None) -> Teacher:
  """An autoregressive teacher over waveforms [T], T a multiple of frame_sizes[0].

  cond is features [B, T / frame_sizes[0], num_features]; a sample sees those of its frame and of earlier ones, and with
  next_frame of the next one. The paper gives none of the settings: the defaults are those of its closest public relative, the
  conditional SampleRNN of Char2Wav (Sotelo et al., 2017).

  Args:
    event_shape: (T,), or (None,) for any length.
    num_features: of a frame; 0 for an unconditional teacher, whose cond is None.
    frame_sizes: samples in a frame of the top tier and of the middle one, which divides it.
    width: units of each tier.
    min_log_scale: floor of log sigma, smooth; None is -7.
    initial_scale: sigma at initialisation, where the mean is 0. The networks see x in units of it: take about the standard
      deviation of the waveforms. They do not tell apart what lies beyond 20 such units.
    next_frame: whether the features of the next frame are seen too, as the student sees them; zeros behind the last one.
    dtype: of the numbers inside the network, see nets.precision; None is float32.

  Raises:
    InputError: sizes that do not fit each other, a scale that is not above the floor.
  """
  sizes = tuple(frame_sizes)
  if len(sizes) != 2 or min(sizes) < 1 or sizes[0] % sizes[1]:
    raise InputError(f'frame_sizes must be two sizes, the first a multiple of the second, got {sizes}.')
  if len(event_shape) != 1 or (event_shape[0] or 0) % sizes[0]:
    raise InputError(f'SampleRNN is over waveforms of shape (T,), T a multiple of {sizes[0]} samples or None, got event shape '
                     f'{tuple(event_shape)}.')
  min_log_scale = MIN_LOG_SCALE if min_log_scale is None else min_log_scale
  check_at_least(1, width=width)
  check_at_least(0, num_features=num_features)
  if initial_scale <= math.exp(min_log_scale):
    raise InputError(f'initial_scale must be above exp(min_log_scale) = {math.exp(min_log_scale):.3g}, got {initial_scale}.')
  init, conditional, cached = net.conditional(sizes, num_features, width, initial_scale, min_log_scale, dtype,
                                              next_frame)
  teacher = build.autoregressive(event_shape, init, conditional, cached=cached)
  if event_shape[0] is not None:
    return teacher

  def sample(params, keys, cond=None):
    if cond is None:
      raise InputError('A sample of open length is as long as its features, and there are none: give cond, or name the length '
                       'in the event shape.')
    length = cond.shape[1] * sizes[0]
    return teacher.z_to_x(params, teacher.prior.sample(random.stream(keys, 'prior'), length), cond)

  return teacher._replace(sample=sample)
