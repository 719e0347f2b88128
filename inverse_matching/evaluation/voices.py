"""Held-out utterances spoken again: by the teacher, by students, and what is said of them beside the recordings."""
from typing import Any, Callable, NamedTuple, Sequence

import jax.numpy as jnp
import numpy as np

from inverse_matching.data.speech import world
from inverse_matching.evaluation import statistics
from inverse_matching.runs import StudentRun, TeacherRun, utterances
from inverse_matching.runtime.devices import choose_devices
from inverse_matching.types import Gaussian

ONSET_EDGES_MS = (0, 25, 50, 100, 200, 400)  # since the voice set in
FLOOR_SNR = 1e-12


class Voice(NamedTuple):
  """Candidates for the held-out recordings."""
  waveforms: list[np.ndarray]  # [T_i]
  log_scale: list[np.ndarray] | None = None  # [T_i], of the student's Gaussian of each sample, if it has one


def speak(run: TeacherRun, student_run: StudentRun | None, z: Sequence[np.ndarray], *, solver: str = 'auto',
          devices: int | None = None) -> Voice:
  """What the student makes of z [T_i] and the held-out features, or the teacher if there is no student."""
  num_devices = choose_devices(requested=devices)
  conds = [u.features for u in run.source.data.held_out]
  if student_run is None:
    return Voice(utterances.solver_fn(run.teacher, solver, num_devices)(run.params, z, conds))
  student = student_run.student
  log_scale = utterances.map_utterances(lambda *args: student.z_to_x(*args).conditional.log_scale, num_devices)
  return Voice(*(run(student_run.params, z, conds) for run in (utterances.student_fn(student, num_devices), log_scale)))


def prior_draws(run: TeacherRun, seed: int) -> list[np.ndarray]:
  """z [T_i] for each held-out utterance."""
  frames = [len(u.features) for u in run.source.data.held_out]
  return utterances.prior_draws(run.teacher, seed, np.arange(len(frames)), frames, run.space.codec.hop)


def pairs(run: TeacherRun, waveforms: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
  """(recording, candidate), for evaluation.speech.measure."""
  return [(u.waveform, waveform) for u, waveform in zip(run.source.data.held_out, waveforms)]


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
    """Mean over the samples of each utterance, [n] nats."""
    return np.array([np.mean(v, dtype=np.float64) for v in self._call(self._steps, waveforms)])

  def log_scale(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """[T_i] of the teacher's Gaussian of each sample."""
    return self._call(self._log_scale, waveforms)

  def _call(self, function, waveforms):
    return function(self._run.params, waveforms, [u.features for u in self._run.source.data.held_out])


def likelihood_rows(arm: str, likelihood: Likelihood, voice: Voice, teacher: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
  """Mean log p_T a sample, how far it is from typical, and the student's scale over the teacher's.

  Args:
    arm: whose voice it is.
    likelihood: of the teacher.
    voice: the candidates.
    teacher: log p_T a sample [n] of the teacher's own voice.
    seed: of the resampling.
  """
  values = likelihood.per_sample(voice.waveforms)
  rows = [statistics.row(arm, 'log_prob_per_sample', 'teacher', statistics.mean(values, seed=seed), n=len(values), seed=seed)]
  if arm != 'teacher':
    shift = statistics.bootstrap(lambda v: float(np.mean(v)), values - teacher, seed=seed)
    rows.append(statistics.row(arm, 'log_prob_mean_shift', 'teacher', shift, n=len(values), seed=seed))
  if voice.log_scale is not None:
    ratio = np.array([np.median(s - t) for s, t in zip(voice.log_scale, likelihood.log_scale(voice.waveforms))])
    rows.append(statistics.row(arm, 'log_scale_difference_median', 'teacher',
                               statistics.bootstrap(lambda v: float(np.median(v)), ratio, seed=seed), n=len(values), seed=seed))
  return rows


def reconstruction_rows(arm: str, run: TeacherRun, waveforms: Sequence[np.ndarray], *, seed: int) -> list[dict[str, Any]]:
  """How well S(T(x)) follows the recording sample by sample: signal-to-noise ratio in dB, of all and of what is so old a voice.

  Features have no phase: a student gets it through z alone, from as far back as it sees.
  """
  sums = {'snr_db': [], **{f'snr_{low}_{high}_ms_db': [] for low, high in zip(ONSET_EDGES_MS, ONSET_EDGES_MS[1:])}}
  voiced = world.names(run.space.codec.rate, run.space.codec.num_cepstra).index('voiced')
  for utterance, waveform in zip(run.source.data.held_out, waveforms):
    signal = np.square(utterance.waveform, dtype=np.float64)
    noise = np.square(waveform.astype(np.float64) - utterance.waveform)
    since = np.repeat(_since_onset(utterance.features[:, voiced] > 0.5), run.space.codec.hop) * 1000 / world.FRAMES_PER_SECOND
    sums['snr_db'].append((signal.sum(), noise.sum()))
    for low, high in zip(ONSET_EDGES_MS, ONSET_EDGES_MS[1:]):
      here = (since >= low) & (since < high)
      sums[f'snr_{low}_{high}_ms_db'].append((signal[here].sum(), noise[here].sum()))

  def decibels(pairs):
    signal, noise = pairs.sum(0)
    return float(10 * np.log10((signal + FLOOR_SNR) / (noise + FLOOR_SNR)))

  return [statistics.row(arm, metric, 'data', statistics.bootstrap(decibels, np.array(values), seed=seed), n=len(values),
                         seed=seed)
          for metric, values in sums.items() if np.any(values)]


def _since_onset(voiced: np.ndarray) -> np.ndarray:
  """Frames [F] since the voice set in; -1 where there is none."""
  count, out = -1, np.empty(len(voiced))
  for i, on in enumerate(voiced):
    count = count + 1 if on else -1
    out[i] = count
  return out


def reconstruction(run: TeacherRun, student_run: StudentRun, devices: int | None = None) -> list[np.ndarray]:
  """S(T(x)) of the held-out recordings, [T_i]."""
  num_devices = choose_devices(requested=devices)
  conds = [u.features for u in run.source.data.held_out]
  z = utterances.encoder(run.teacher, num_devices)(run.params, [u.waveform for u in run.source.data.held_out], conds)
  return utterances.student_fn(student_run.student, num_devices)(student_run.params, z, conds)
