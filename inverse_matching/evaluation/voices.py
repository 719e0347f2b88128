"""Held-out utterances spoken again: by the teacher, by students, and what is said of them beside the recordings."""
from typing import Any, Callable, NamedTuple, Sequence

import jax.numpy as jnp
import numpy as np

from inverse_matching.data.speech import world
from inverse_matching.data.speech.dataset import by_recording
from inverse_matching.evaluation import speech, statistics
from inverse_matching.runs import StudentRun, TeacherRun, utterances
from inverse_matching.runtime.devices import choose_devices
from inverse_matching.types import Gaussian

ONSET_EDGES_MS = (0, 25, 50, 100, 200, 400)  # since the voice set in
FLOOR_SNR = 1e-12


class Voice(NamedTuple):
  """What is spoken in the place of each held-out recording."""
  waveforms: list[np.ndarray]  # [T_i]
  log_scale: list[np.ndarray] | None = None  # [T_i], of the student's Gaussian of each sample, if it has one


def _features(run: TeacherRun, part: str = 'held_out') -> list[np.ndarray]:
  """The features [F_i, D] of each utterance of a part of the data."""
  return [utterance.features for utterance in getattr(run.source.data, part)]


def _joined(run: TeacherRun, values: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Values [T_i] of each held-out utterance -> those of each recording, its pieces one behind the other."""
  return [np.concatenate([values[i] for i in pieces]) for pieces in by_recording(run.source.data.held_out)]


def speak(run: TeacherRun, student_run: StudentRun | None, z: Sequence[np.ndarray], *, solver: str = 'auto',
          devices: int | None = None, part: str = 'held_out') -> Voice:
  """What the student makes of z [T_i] and the features of a part of the data, or the teacher if there is no student."""
  num_devices = choose_devices(requested=devices)
  if student_run is None:
    return Voice(utterances.solver_fn(run.teacher, solver, num_devices)(run.params, z, _features(run, part)))
  student = student_run.student
  log_scale = utterances.map_utterances(lambda *args: student.z_to_x(*args).conditional.log_scale, num_devices)
  return Voice(*(function(student_run.params, z, _features(run, part))
                 for function in (utterances.student_fn(student, num_devices), log_scale)))


def prior_draws(run: TeacherRun, seed: int, part: str = 'held_out') -> list[np.ndarray]:
  """Prior draws z [T_i] for each utterance of a part of the data."""
  frames = [len(features) for features in _features(run, part)]
  return utterances.prior_draws(run.teacher, seed, np.arange(len(frames)), frames, run.space.codec.hop)


def measure(run: TeacherRun, waveforms: Sequence[np.ndarray], part: str = 'held_out') -> speech.Measured:
  """Measures what stands in the place of each utterance of a part of the data."""
  utterances = getattr(run.source.data, part)
  return speech.measure([(utterance.waveform, waveform) for utterance, waveform in zip(utterances, waveforms)],
                        run.space.codec.rate, by_recording(utterances))


class Likelihood:
  """log p_T of candidates, with the programs compiled once."""

  def __init__(self, run: TeacherRun, devices: int | None = None):
    self._run = run
    num_devices = choose_devices(requested=devices)
    theta: Callable[..., Gaussian] = run.teacher.conditional

    def steps(params, x, cond):
      mean, log_scale = theta(params, x, cond)
      return -0.5 * (jnp.square((x - mean) * jnp.exp(-log_scale)) + np.log(2 * np.pi)) - log_scale

    self._steps = utterances.map_utterances(steps, num_devices)
    self._log_scale = utterances.map_utterances(lambda *args: theta(*args).log_scale, num_devices)

  def per_sample(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of log p_T over the samples of each recording, [n] nats."""
    values = self._steps(self._run.params, waveforms, _features(self._run))
    return np.array([np.mean(value, dtype=np.float64) for value in _joined(self._run, values)])

  def log_scale(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The log-scale [T_i] of the teacher's Gaussian of each sample."""
    return self._log_scale(self._run.params, waveforms, _features(self._run))

  def log_scale_difference(self, voice: Voice) -> np.ndarray:
    """Median over the samples of each recording of the student's log-scale less the teacher's, [n]."""
    differences = [own - other for own, other in zip(voice.log_scale, self.log_scale(voice.waveforms))]
    return np.array([np.median(each) for each in _joined(self._run, differences)])


def likelihood_rows(arm: str, likelihood: Likelihood, voice: Voice, teacher: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
  """Mean log p_T a sample, how far it is from typical, and the student's scale over the teacher's.

  Args:
    arm: whose voice it is.
    likelihood: of the teacher.
    voice: the candidates.
    teacher: log p_T a sample [n] of the teacher's own voice.
    seed: of the resampling, of recordings.
  """
  log_prob = likelihood.per_sample(voice.waveforms)
  values = {'log_prob_per_sample': statistics.mean(log_prob, seed=seed)}
  if arm != 'teacher':
    values['log_prob_mean_shift'] = statistics.mean(log_prob - teacher, seed=seed)
  if voice.log_scale is not None:
    values['log_scale_difference_median'] = statistics.bootstrap(
        lambda v: float(np.median(v)), likelihood.log_scale_difference(voice), seed=seed)
  return [statistics.row(arm, metric, 'teacher', value, n=len(log_prob), seed=seed) for metric, value in values.items()]


def reconstruction_rows(arm: str, run: TeacherRun, waveforms: Sequence[np.ndarray], *, seed: int) -> list[dict[str, Any]]:
  """How well S(T(x)) follows the recording sample by sample: the signal-to-noise ratio in dB.

  One row is of all samples, the others of those at which the voice set in so many milliseconds ago. Features have no phase: a
  student gets it through z alone, from as far back as it sees.
  """
  spans = {f'snr_{low}_{high}_ms_db': (low, high) for low, high in zip(ONSET_EDGES_MS, ONSET_EDGES_MS[1:])}
  spans = {'snr_db': (-np.inf, np.inf), **spans}
  powers = {metric: [] for metric in spans}  # of the signal and of the noise, for each recording
  voiced = world.names(run.space.codec.rate, run.space.codec.num_cepstra).index('voiced')
  of_utterances = [
      (np.square(utterance.waveform, dtype=np.float64), np.square(waveform.astype(np.float64) - utterance.waveform),
       np.repeat(_since_onset(utterance.features[:, voiced] > 0.5), run.space.codec.hop) * 1000 / world.FRAMES_PER_SECOND)
      for utterance, waveform in zip(run.source.data.held_out, waveforms)]
  for signal, noise, since in zip(*(_joined(run, values) for values in zip(*of_utterances))):
    for metric, (low, high) in spans.items():
      here = (since >= low) & (since < high)
      powers[metric].append((signal[here].sum(), noise[here].sum()))

  def decibels(powers):
    signal, noise = powers.sum(0)
    return float(10 * np.log10((signal + FLOOR_SNR) / (noise + FLOOR_SNR)))

  return [statistics.row(arm, metric, 'data', statistics.bootstrap(decibels, np.array(values), seed=seed), n=len(values),
                         seed=seed)
          for metric, values in powers.items() if np.any(values)]


def noise_rows(run: TeacherRun, noise_std: Sequence[float], *, seed: int, part: str = 'held_out',
               devices: int | None = None) -> list[dict[str, Any]]:
  """How T(x + noise) of a part of the data varies, for each standard deviation of the noise, in what is voiced.

  `noisy_encoding_rms` is the root mean square of z, 1 of a prior draw, and `noisy_encoding_correlation` that between z of the
  same recording with other noise: how little it varies from visit to visit. The reference is the standard deviation.
  """
  utterances_of_part = getattr(run.source.data, part)
  encode = utterances.encoder(run.teacher, choose_devices(requested=devices))
  voiced = world.names(run.space.codec.rate, run.space.codec.num_cepstra).index('voiced')
  is_voiced = np.concatenate([np.repeat(u.features[:, voiced] > 0.5, run.space.codec.hop) for u in utterances_of_part])
  rng, rows = np.random.default_rng(seed), []
  for std in noise_std:
    noisy = [[(u.waveform + std * rng.standard_normal(len(u.waveform))).astype(np.float32) for u in utterances_of_part]
             for _ in range(2)]
    first, second = (np.concatenate(encode(run.params, waveforms, _features(run, part)))[is_voiced] for waveforms in noisy)
    values = {'noisy_encoding_rms': np.sqrt(np.mean(np.square(first, dtype=np.float64))),
              'noisy_encoding_correlation': np.corrcoef(first, second)[0, 1]}
    rows += [statistics.row('teacher', metric, f'{std:g}', float(value), n=len(utterances_of_part), seed=seed)
             for metric, value in values.items()]
  return rows


def _since_onset(voiced: np.ndarray) -> np.ndarray:
  """The number of frames [F] since the voice set in; -1 where there is none."""
  frames = np.arange(len(voiced))
  return frames - np.maximum.accumulate(np.where(voiced, -1, frames)) - 1


def reconstruction(run: TeacherRun, student_run: StudentRun, devices: int | None = None) -> list[np.ndarray]:
  """S(T(x)) of the held-out recordings, [T_i]."""
  num_devices = choose_devices(requested=devices)
  recordings = [utterance.waveform for utterance in run.source.data.held_out]
  z = utterances.encoder(run.teacher, num_devices)(run.params, recordings, _features(run))
  return utterances.student_fn(student_run.student, num_devices)(student_run.params, z, _features(run))
