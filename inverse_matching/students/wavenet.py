"""The student of the vocoder (section 4.1.4 of the paper): inverse autoregressive flows of WaveNets."""
from inverse_matching.errors import InputError, check_at_least
from inverse_matching.nets import wavenet as net
from inverse_matching.students.flow import flow
from inverse_matching.types import Student


def wavenet(event_shape: tuple[int | None] = (None,), *, num_features: int, num_flows: int = 6, num_layers: int = 10,
            width: int = 64, feature_width: int = 64, initial_scale: float = 0.05, remat: bool = False,
            dtype: str | None = None) -> Student:
  """Waveforms [T] from z by `num_flows` flows, z_t <- mean_t(z_<t) + scale_t(z_<t) z_t, in one pass.

  The flows compose to one Gaussian per sample given z before it (ClariNet: Ping et al., 2019), the conditional of the output.
  A sample depends on its z and the num_flows 2^num_layers before. cond is features [B, F, num_features] of frames of T / F
  samples; a sample sees those of its frame, of the next and of earlier ones.

  Args:
    event_shape: (T,), or (None,) for any length.
    num_features: of a frame; 0 for an unconditional student, whose cond is None.
    num_flows: the paper's setting is 6.
    num_layers: of a flow, with kernels of two taps and dilations 1, 2, .., 2^(num_layers - 1); the paper's setting is 10.
    width: channels of a layer; the paper's setting is 64.
    feature_width: units of the layer that all flows see the features through.
    initial_scale: standard deviation of x at initialisation, where mean is 0: take about that of the waveforms.
    remat: whether a backward pass computes the activations of a flow again, which divides memory by about num_flows, and
      compile time; sampling is then slower.
    dtype: of the numbers inside the network, see nets.precision; None is float32.

  Raises:
    InputError: a number that must be positive and is not, or an event that is not a waveform.
  """
  check_at_least(1, num_flows=num_flows, num_layers=num_layers, width=width, feature_width=feature_width)
  check_at_least(0, num_features=num_features)
  if initial_scale <= 0:
    raise InputError(f'initial_scale must be positive, got {initial_scale}.')
  if len(event_shape) != 1:
    raise InputError(f'The WaveNet student is over waveforms of shape (T,), got event shape {tuple(event_shape)}.')
  return flow(event_shape, *net.conditional(num_features, num_flows, num_layers, width, feature_width, initial_scale, remat,
                                            dtype))
