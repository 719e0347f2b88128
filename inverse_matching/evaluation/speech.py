"""What a vocoder's output is like beside the recording whose features it was given: is there a voice, or a whisper?

Everything is measured on pairs (reference, candidate) of waveforms [T] of one rate, sample beside sample. Frames are those of
data.world, F of them, one every 5 ms, and voicing is what DIO says of a waveform. A number is over all frames of all
utterances together; its interval is from resampling recordings, of which an utterance may be a piece.

- voiced_recall: share of the frames that are voiced in the reference, that are in the candidate.
- voicing_error: share of all frames that are voiced in one of the two alone.
- voicing_f1: harmonic mean of voiced_recall and of the share of the candidate's voiced frames that are voiced in the reference.
- f0_error_cents: root mean square, over frames that are voiced in both.
- periodicity_ratio: normalised correlation of the candidate with itself one period of the reference later, in the frames that
  are voiced in the reference, over the same of the reference; 1 is as periodic, 0 is noise.
- periodic_share: share of the frames in which that correlation of the reference is PERIODIC or more, that have it in the
  candidate too. Noise beside a voice takes the voicing away first: at equal power this is 0.6, of a whisper 0.03.
- mel_cepstral_distortion_db: difference of the spectral envelopes (CheapTrick, 25 mel-cepstra without the first, which is the
  level); root mean square over the mel axis in dB, that is 10 / ln 10 times the Euclidean distance of the orthonormal
  cepstra of the log power; mean over frames.
- log_spectral_distance_db: difference of the power spectra, root mean square over frequencies in dB; mean over frames.
- band_<low>_<high>_db: power in that band (Hz) of the candidate over that of the reference, in the frames that are voiced in
  the reference; band_mean_db is the mean of the bands, band_error_db that of their absolute values, and band_worst_db the
  largest of these.
- dnsmos: overall quality of the candidate alone, from 1 to 5, by a network that was trained on what listeners said (DNSMOS
  P.835, Reddy et al., 2022), of speechmos; at 16 kHz, and only if speechmos is there. What is shorter than 9 s it repeats.
- stoi: short-time objective intelligibility (Taal et al., 2011), by pystoi, of runs of utterances; only if pystoi is there.

Spectral distances leave out what is quieter than FLOOR, and neither they nor the bands tell a voice from a whisper with the
same envelope: that is for voiced_recall and periodicity_ratio, both of which must hold. Of some voices DIO calls half the
frames unvoiced under noise that is 6 dB below: recall alone does not tell a whisper from a hoarse voice.
"""
from typing import Any, Callable, NamedTuple, Sequence
import warnings

from absl import logging
import numpy as np
import scipy.ndimage

from inverse_matching.data.speech import world
from inverse_matching.errors import InputError
from inverse_matching.evaluation import statistics

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]  # (reference [T], candidate [T])
Rows = list[dict[str, Any]]

# A voice, a whisper, a collapse: from controls made of recordings and of synthesised speech. INTELLIGIBLE was added when the
# students of results/vocoder had been measured.
VOICED_RECALL = 0.8  # a voice has it and more
VOICED_RATIO = 0.85  # and of the periodicity ratio
WHISPERED_RECALL = 0.5  # a whisper has less
WHISPERED_RATIO = 0.4  # and of the periodicity ratio: a forced whisper has 0.1, voice and whisper of equal power 0.6
PERIODIC = 0.5  # correlation of a frame one period later
COLLAPSED_DB = 6.0  # band_mean_db of a collapse of scale is farther from 0; band_error_db of a whisper is not
INTELLIGIBLE = 0.55  # STOI of a whisper, or a voice, is above: a forced whisper has 0.7 to 0.9, noise with its spectrum 0.35

FLOOR = 1e-3  # of full scale: the standard deviation of white noise that is as good as silence, -60 dB
BANDS = (0, 500, 1000, 2000, 4000, 8000)  # Hz; as far as the Nyquist frequency
NUM_CEPSTRA = 25
SMOOTHED = 300  # Hz, over which the spectrum of noise is smooth
WINDOW = 0.025  # seconds, of power spectra and of the correlation
DNSMOS_RATE = 16000  # Hz
STOI_RUN = 3.0  # seconds: utterances are joined to runs at least so long, since STOI looks at more than a short word
STOI_SHORTEST = 1.0  # seconds


class Measured(NamedTuple):
  """Sums over the frames of each recording, of which a metric is a function: any set of recordings has its value."""
  sums: dict[str, np.ndarray]  # metric -> [n, 2], numerator and denominator; n recordings, or runs of them
  n: int  # recordings


def measure(pairs: Pairs, rate: int, recordings: Sequence[Sequence[int]] | None = None) -> Measured:
  """Measures candidates beside their references, both as a file would hold them, cut at full scale.

  Args:
    pairs: of equal length each. Samples of a candidate that are not finite are taken as silence or full scale, and told.
    rate: Hz.
    recordings: the indices of the pairs that are pieces of each recording, see data.speech.dataset.by_recording; None: each
      is a recording.

  Raises:
    InputError: no pairs, lengths that differ, or a reference that is not finite or shorter than a frame.
  """
  if not pairs:
    raise InputError('There are no utterances to measure: give one or more.')
  for reference, candidate in pairs:
    if np.shape(reference) != np.shape(candidate):
      raise InputError(f'A reference of shape {np.shape(reference)} and a candidate of shape {np.shape(candidate)} cannot be '
                       'compared: give waveforms of the same utterance.')
  if lost := sum(not np.isfinite(candidate).all() for _, candidate in pairs):
    logging.warning('%d of %d candidates have samples that are NaN or infinite.', lost, len(pairs))
  pairs = [(np.clip(np.asarray(reference, np.float64), -1, 1), np.clip(np.nan_to_num(np.asarray(candidate, np.float64)), -1, 1))
           for reference, candidate in pairs]
  utterances = [_utterance(*pair, rate) for pair in pairs]
  recordings = [[i] for i in range(len(pairs))] if recordings is None else recordings
  together = lambda values: np.array([values[pieces].sum(0) for pieces in recordings])
  sums = {metric: together(np.array([u[metric] for u in utterances])) for metric in utterances[0]}
  if len(found := _stoi([[pairs[i] for i in pieces] for pieces in recordings], rate)):
    sums['stoi'] = found
  if len(found := _dnsmos(pairs, rate)):
    sums['dnsmos'] = together(found)
  return Measured(sums, len(recordings))


def _ratio(metric: str) -> Callable[[np.ndarray], float]:
  """Of sums [n, 2]; NaN where there was nothing to measure."""

  def ratio(sums: np.ndarray) -> float:
    above, below = sums.sum(0)
    if below <= 0:
      return np.nan
    if metric.startswith('band_'):
      return float(10 * np.log10(max(above / below, 1e-30)))
    return float(np.sqrt(above / below) if metric == 'f0_error_cents' else above / below)

  return ratio


def _statistics(measured: Measured) -> dict[str, tuple[np.ndarray, Callable[[np.ndarray], float]]]:
  """Metric -> (what is known of each recording [n, ...], statistic of that)."""
  found = {metric: (sums, _ratio(metric)) for metric, sums in measured.sums.items()}
  bands = [metric for metric in found if metric.startswith('band_')]
  stacked = np.stack([measured.sums[band] for band in bands], 1)  # [n, bands, 2]
  levels = lambda s: [_ratio(band)(s[:, i]) for i, band in enumerate(bands)]
  found['band_mean_db'] = stacked, lambda s: float(np.mean(levels(s)))
  found['band_error_db'] = stacked, lambda s: float(np.mean(np.abs(levels(s))))
  found['band_worst_db'] = stacked, lambda s: float(np.max(np.abs(levels(s))))
  return found


def _find(measured: Measured, metric: str) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
  found = _statistics(measured)
  if metric not in found:
    raise InputError(f'{metric} was not measured: use one of {", ".join(found)}.')
  return found[metric]


def value(measured: Measured, metric: str) -> float:
  """The value of one metric; InputError if it was not measured."""
  sums, statistic = _find(measured, metric)
  return statistic(sums)


def rows(arm: str, measured: Measured, *, seed: int, floor: Measured | None = None) -> Rows:
  """A row of evaluation.statistics per metric, with 95% bootstrap intervals over recordings.

  Args:
    arm: whose candidates they are.
    measured: of `measure`.
    seed: of the resampling.
    floor: the same of the best that can be had, such as other recordings or the WORLD resynthesis; None gives none.
  """
  floors = {} if floor is None else {metric: statistic(sums) for metric, (sums, statistic) in _statistics(floor).items()}
  return [statistics.row(arm, metric, 'data', statistics.bootstrap(statistic, sums, seed=seed), n=measured.n, seed=seed,
                         floor=floors.get(metric))
          for metric, (sums, statistic) in _statistics(measured).items()]


def metrics(measured: Measured) -> tuple[str, ...]:
  """The names of what has a value."""
  return tuple(_statistics(measured))


def contrast(pairs: Sequence[tuple[Measured, Measured | None]], metric: str) -> float:
  """The mean over pairs of metric(a) - metric(b), where b may be None for 0; see `contrast_interval`."""
  sums, statistic = _contrast(pairs, metric)
  return statistic(sums)


def contrast_interval(pairs: Sequence[tuple[Measured, Measured | None]], metric: str, *, seed: int
                      ) -> tuple[float, float, float]:
  """(value, low, high) of `contrast`: 95% over recordings, which are the same for all and resampled together.

  Raises:
    InputError: the metric was not measured, or the recordings are not the same number.
  """
  sums, statistic = _contrast(pairs, metric)
  return statistics.bootstrap(statistic, sums, seed=seed)


def _contrast(pairs: Sequence[tuple[Measured, Measured | None]], metric: str
              ) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
  """(sums of all [n, K, ...], statistic of them)."""
  terms = [(sign / len(pairs), *_find(each, metric)) for pair in pairs for sign, each in zip((1, -1), pair) if each is not None]
  counts = sorted({len(sums) for _, sums, _ in terms})
  if len(counts) > 1:
    raise InputError(f'The contrast in {metric} is between {counts[0]} and {counts[-1]} recordings: measure all arms on the '
                     'same ones.')
  return (np.stack([sums for _, sums, _ in terms], 1),
          lambda s: float(sum(weight * statistic(s[:, i]) for i, (weight, _, statistic) in enumerate(terms))))


def label(measured: Measured) -> str:
  """What a student's samples are: 'voice', 'scale collapse', 'whisper', or 'neither'.

  A collapse is not called a whisper: the level is looked at first. Nor is noise of another spectrum, nor, where STOI is
  measured, noise with the spectrum of speech that says nothing.
  """
  if not abs(value(measured, 'band_mean_db')) <= COLLAPSED_DB:
    return 'scale collapse'
  if 'stoi' in metrics(measured) and value(measured, 'stoi') < INTELLIGIBLE:
    return 'neither'
  recall = value(measured, 'voiced_recall')
  if recall >= VOICED_RECALL and value(measured, 'periodicity_ratio') >= VOICED_RATIO:
    return 'voice'
  is_whisper = (recall < WHISPERED_RECALL and value(measured, 'periodicity_ratio') <= WHISPERED_RATIO
                and value(measured, 'band_error_db') <= COLLAPSED_DB)
  return 'whisper' if is_whisper else 'neither'


def controls(reference: np.ndarray, features: np.ndarray, rate: int, *, seed: int) -> dict[str, np.ndarray]:
  """Candidates [T] that tell what the measures say of known things.

  Args:
    reference: [T].
    features: [F, D] of it, not normalised.
    rate: Hz.
    seed: of the noise.

  Returns:
    'recording', the reference itself; 'world', the speech that WORLD makes of the features; 'whisper', the same with noise for
    the voice; 'hoarse', both at once, of the power of one; 'noise', white noise at the level of the reference;
    'shaped_noise', stationary noise with its spectrum.
  """
  rng = np.random.default_rng(seed)
  noise = rng.standard_normal(len(reference)) * np.std(reference)
  power = np.abs(np.fft.rfft(reference))**2
  power = scipy.ndimage.uniform_filter1d(power, max(1, round(SMOOTHED * len(reference) / rate)))  # without the lines of a pitch
  shaped = np.fft.irfft(np.sqrt(power) * np.exp(2j * np.pi * rng.random(len(power))), len(reference))
  voice, whisper = world.resynthesise(features, rate), world.resynthesise(features, rate, whisper=True)
  return {'recording': np.asarray(reference), 'world': voice, 'whisper': whisper,
          'hoarse': ((voice + whisper) / np.sqrt(2)).astype(np.float32), 'noise': noise.astype(np.float32),
          'shaped_noise': shaped.astype(np.float32)}


def _utterance(reference: np.ndarray, candidate: np.ndarray, rate: int) -> dict[str, tuple[float, float]]:
  f0, f0_of_candidate = world.fundamental(reference, rate), world.fundamental(candidate, rate)
  voiced, voiced_candidate = f0 > 0, f0_of_candidate > 0
  both, num_frames = voiced & voiced_candidate, len(f0)
  cents = 1200 * np.log2(f0_of_candidate[both] / f0[both])
  powers = [_powers(waveform, rate, num_frames) for waveform in (reference, candidate)]
  decibels = [10 * np.log10(power + FLOOR**2) for power in powers]
  distance = np.sqrt(np.mean(np.square(decibels[1] - decibels[0]), 1))
  cepstra = [world.to_cepstrum(world.envelope(waveform, pitch, rate) + FLOOR**2, rate, NUM_CEPSTRA)
             for waveform, pitch in ((reference, f0), (candidate, f0_of_candidate))]
  distortion = 10 / np.log(10) * np.linalg.norm((cepstra[1] - cepstra[0])[:, 1:], axis=1)
  periodicity = [_correlation(waveform, f0, rate) for waveform in (reference, candidate)]
  periodic = [correlation >= PERIODIC for correlation in periodicity]
  return {
      'voiced_recall': (both.sum(), voiced.sum()),
      'voicing_error': (np.sum(voiced != voiced_candidate), num_frames),
      'voicing_f1': (2 * both.sum(), voiced.sum() + voiced_candidate.sum()),
      'f0_error_cents': (np.sum(cents**2), both.sum()),
      'periodicity_ratio': (periodicity[1].sum(), periodicity[0].sum()),
      'periodic_share': (np.sum(periodic[0] & periodic[1]), periodic[0].sum()),
      'mel_cepstral_distortion_db': (distortion.sum(), num_frames),
      'log_spectral_distance_db': (distance.sum(), num_frames),
      **_bands(*(power[voiced] for power in powers), rate),
  }


def _around(waveform: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
  """[F, length] samples from each start, zeros outside of the waveform [T]."""
  index = starts[:, None] + np.arange(length)
  inside = (index >= 0) & (index < len(waveform))
  return np.where(inside, waveform[np.clip(index, 0, len(waveform) - 1)], 0.0)


def _powers(waveform: np.ndarray, rate: int, num_frames: int) -> np.ndarray:
  """Power spectrum [F, K] of each frame under a Hann window; the mean of white noise is its variance at each frequency."""
  length = round(WINDOW * rate)
  window = np.hanning(length + 2)[1:-1]
  frames = _around(waveform, np.arange(num_frames) * world.hop(rate) - length // 2, length)
  return np.abs(np.fft.rfft(frames * window, axis=1))**2 / np.sum(window**2)


def _bands(reference: np.ndarray, candidate: np.ndarray, rate: int) -> dict[str, tuple[float, float]]:
  """Power of the candidate and of the reference in each band, of power spectra [F, K]."""
  frequencies = np.linspace(0, rate / 2, reference.shape[1])
  found = {}
  for low, high in zip(BANDS, BANDS[1:]):
    inside = (frequencies >= low) & (frequencies < high)
    if low < rate / 2:
      found[f'band_{low}_{high}_db'] = candidate[:, inside].sum(), reference[:, inside].sum()
  return found


def _correlation(waveform: np.ndarray, f0: np.ndarray, rate: int) -> np.ndarray:
  """Normalised correlation [number of voiced frames] at the period of f0 [F], of windows on both sides of the frame.

  Of the lags within a sample of the period the best counts, since the period is not a whole number of samples.
  """
  voiced, = np.nonzero(f0)
  period, length = np.rint(rate / f0[voiced]).astype(int), round(WINDOW * rate)
  first = voiced * world.hop(rate) - (length + period) // 2
  before, best = _around(waveform, first, length), np.full(len(voiced), -np.inf)
  for lag in (-1, 0, 1):
    after = _around(waveform, first + period + lag, length)
    scale = np.sqrt(np.sum(before**2, 1) * np.sum(after**2, 1))
    best = np.maximum(best, np.divide(np.sum(before * after, 1), scale, out=np.zeros(len(voiced)), where=scale > 0))
  return best


def _dnsmos(pairs: Pairs, rate: int) -> np.ndarray:
  """[n, 2]: the score of each candidate, and 1; empty without speechmos or at another rate than its own."""
  if rate != DNSMOS_RATE:
    return np.zeros((0, 2))
  try:
    from speechmos import dnsmos
  except ImportError:
    logging.log_first_n(logging.INFO, "DNSMOS is left out: it needs pip install 'inverse_matching[mos]'.", 1)
    return np.zeros((0, 2))
  return np.array([(dnsmos.run(candidate.astype(np.float32), rate)['ovrl_mos'], 1.0) for _, candidate in pairs])


def _stoi(recordings: Sequence[Pairs], rate: int) -> np.ndarray:
  """[runs, 2]: STOI times the length of each run of recordings, and the length; empty without pystoi or enough speech."""
  try:
    import pystoi
  except ImportError:
    logging.log_first_n(logging.INFO, "STOI is left out: it needs pip install 'inverse_matching[eval]'.", 1)
    return np.zeros((0, 2))
  runs, run, length = [], [], 0
  for pieces in recordings:
    run, length = [*run, *pieces], length + sum(len(reference) for reference, _ in pieces)
    if length >= STOI_RUN * rate:
      runs, run, length = [*runs, run], [], 0
  if run and (length >= STOI_SHORTEST * rate or not runs):
    runs.append(run)
  found = []
  for run in runs:
    reference, candidate = (np.concatenate([pair[i] for pair in run]) for i in range(2))
    with warnings.catch_warnings():
      warnings.filterwarnings('error', message='Not enough STFT frames')  # after silence is left out; it returns 1e-5
      try:
        found.append((pystoi.stoi(reference, candidate, rate) * len(reference), len(reference)))
      except RuntimeWarning as warning:
        logging.info('STOI of %d utterances is left out: %s', len(run), warning)
  return np.array(found).reshape(-1, 2)
