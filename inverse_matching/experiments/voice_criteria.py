"""Whether students speak or whisper: criteria from controls, and how measured voices decide them."""
from typing import Any, Mapping, NamedTuple

import numpy as np

from inverse_matching.evaluation import speech, statistics
from inverse_matching.evaluation.speech import Measured
from inverse_matching.experiments.verdicts import ENOUGH

# From controls: WORLD resynthesis, forced whispers, mixtures.
TEACHER_RECALL = 0.85  # below it the run is void
RECALL_BELOW_TEACHER = 0.10  # at most
BAND_DB = 3.0
RECALL_GAP = 0.25  # at least, against the regularised KL, as those that follow
MCD_GAP_DB = 1.0
PERIODICITY_GAP = 0.15
STOI_GAP = 0.05
PERIODICITY_BELOW_TEACHER = 0.10  # at most: a teacher may itself be less periodic than recordings
PERIODIC_SHARE = 0.9  # a voice has it and more, also under noise 6 dB below

TEACHER, X_RECONSTRUCTION, KL = 'teacher', 'flow/x_reconstruction', 'flow/regularized_kl'
Voices = Mapping[str, Mapping[int | None, Measured]]  # arm -> training seed, None of what is no student -> what was measured


class Criterion(NamedTuple):
  """What a voice is asked for: sign (metric(arm) - metric(other)) >= sign threshold."""
  text: str
  arm: str
  other: str | None  # None: the metric of the arm alone
  metric: str
  sign: int  # 1: at least the threshold, -1: at most
  threshold: float


def criteria(arms: Mapping[str, Any]) -> list[Criterion]:
  """Those of the arms that are there: of the teacher, of each under x-reconstruction, of the regularised KL, and what the other
  students have over it."""
  found = [Criterion(f'the teacher speaks, or the run is void: voiced recall {TEACHER_RECALL} or more', TEACHER, None,
                     'voiced_recall', 1, TEACHER_RECALL),
           Criterion(f'the teacher: periodicity ratio {speech.VOICED_RATIO} or more', TEACHER, None, 'periodicity_ratio', 1,
                     speech.VOICED_RATIO),
           Criterion(f'the teacher: share of periodic frames {PERIODIC_SHARE} or more', TEACHER, None, 'periodic_share', 1,
                     PERIODIC_SHARE)]
  for arm in (arm for arm in arms if arm.startswith(X_RECONSTRUCTION)):
    found += [
        Criterion(f'{arm}: voiced recall {speech.VOICED_RECALL} or more', arm, None, 'voiced_recall', 1, speech.VOICED_RECALL),
        Criterion(f'{arm}: voiced recall at most {RECALL_BELOW_TEACHER} below the teacher', arm, TEACHER, 'voiced_recall', 1,
                  -RECALL_BELOW_TEACHER),
        Criterion(f'{arm}: periodicity ratio {speech.VOICED_RATIO} or more', arm, None, 'periodicity_ratio', 1,
                  speech.VOICED_RATIO),
        Criterion(f'{arm}: periodicity ratio at most {PERIODICITY_BELOW_TEACHER} below the teacher', arm, TEACHER,
                  'periodicity_ratio', 1, -PERIODICITY_BELOW_TEACHER),
        Criterion(f'{arm}: share of periodic frames {PERIODIC_SHARE} or more', arm, None, 'periodic_share', 1, PERIODIC_SHARE),
        Criterion(f'{arm}: power of each voiced band within {BAND_DB} dB', arm, None, 'band_worst_db', -1, BAND_DB)]
    if arm != X_RECONSTRUCTION and X_RECONSTRUCTION in arms:
      found.append(Criterion(f'{arm}: voiced recall not below {X_RECONSTRUCTION}', arm, X_RECONSTRUCTION, 'voiced_recall', 1,
                             0.0))
    if KL in arms:
      found += [
          *_above_kl(arm),
          Criterion(f'{arm}: mel-cepstral distortion below {KL} by {MCD_GAP_DB} dB or more', arm, KL,
                    'mel_cepstral_distortion_db', -1, -MCD_GAP_DB),
          Criterion(f'{arm}: STOI above {KL} by {STOI_GAP} or more', arm, KL, 'stoi', 1, STOI_GAP)]
  if KL in arms:
    found += [
        Criterion(f'{KL} whispers: voiced recall {speech.WHISPERED_RECALL} or less', KL, None, 'voiced_recall', -1,
                  speech.WHISPERED_RECALL),
        Criterion(f'{KL} whispers: periodicity ratio {speech.WHISPERED_RATIO} or less', KL, None, 'periodicity_ratio', -1,
                  speech.WHISPERED_RATIO),
        # Noise of another spectrum is no whisper.
        Criterion(f'{KL} whispers: power of voiced bands off by {speech.COLLAPSED_DB:g} dB or less', KL, None, 'band_error_db',
                  -1, speech.COLLAPSED_DB),
        # Nor is noise of that spectrum.
        Criterion(f'{KL} whispers: STOI {speech.INTELLIGIBLE} or more', KL, None, 'stoi', 1, speech.INTELLIGIBLE)]
    for arm in arms:
      if arm.startswith('flow/') and arm != KL and not arm.startswith(X_RECONSTRUCTION):
        found += _above_kl(arm)
  return found


def _above_kl(arm: str) -> list[Criterion]:
  return [Criterion(f'{arm}: voiced recall above {KL} by {RECALL_GAP} or more', arm, KL, 'voiced_recall', 1, RECALL_GAP),
          Criterion(f'{arm}: periodicity ratio above {KL} by {PERIODICITY_GAP} or more', arm, KL, 'periodicity_ratio', 1,
                    PERIODICITY_GAP)]


def judge(measured: Mapping[int, Voices], *, seed: int = 0) -> list[dict[str, Any]]:
  """A row {"criterion", "value", "low", "high", "threshold", "num_train_seeds", "verdict"} for each criterion; for two students
  if they have a training seed in common.

  The value is the mean over the seeds of z and of training; the 95% interval is over recordings, with ENOUGH training seeds
  over these too (the half-widths squared add). `yes` and `no` take ENOUGH training seeds, all on the same side, and an interval
  without the threshold; with fewer it is `indicated`, no more. The teacher is one, and is judged over recordings.

  Args:
    measured: seed of z -> voices, of the same arms and training seeds.
    seed: of the resampling.
  """
  arms = next(iter(measured.values()))
  metrics = speech.metrics(arms[TEACHER][None])
  return [_row(criterion, measured, seed) for criterion in criteria(arms)
          if criterion.metric in metrics and _train_seeds(criterion, arms)]


def _train_seeds(c: Criterion, arms: Voices) -> list[int | None]:
  """Those of its arm that the other one has too; the teacher has all."""
  of_other = arms.get(c.other, {None: None})
  return [each for each in arms[c.arm] if None in of_other or each in of_other]


def _row(c: Criterion, measured: Mapping[int, Voices], seed: int) -> dict[str, Any]:
  arms = next(iter(measured.values()))
  of_other = arms.get(c.other, {None: None})
  train_seeds = _train_seeds(c, arms)
  pairs = {each: [(voices[c.arm][each], voices[c.other][each if each in of_other else None] if c.other else None)
                  for voices in measured.values()] for each in train_seeds}
  values = np.array([speech.contrast(of_seed, c.metric) for of_seed in pairs.values()])
  value, low, high = speech.contrast_interval([pair for of_seed in pairs.values() for pair in of_seed], c.metric, seed=seed)
  if len(values) >= ENOUGH:
    mean, _, above = statistics.over_seeds(values)
    low, high = value - np.hypot(value - low, above - mean), value + np.hypot(high - value, above - mean)
  passes = c.sign * (values - c.threshold) >= 0
  outside = high < c.threshold or c.threshold < low  # not where a bound is no number
  if not outside or not np.isfinite(value) or passes.any() != passes.all():
    verdict = 'not decided'
  else:
    verdict = 'yes' if passes.all() else 'no'
    if c.arm != TEACHER and len(values) < ENOUGH:
      verdict = f'indicated: {verdict}'
  return {'criterion': c.text, 'value': value, 'low': float(low), 'high': float(high), 'threshold': c.threshold,
          'num_train_seeds': len(values), 'verdict': verdict}


def labels(measured: Mapping[int, Voices]) -> dict[str, str]:
  """Arm -> what its samples are, see evaluation.speech.label: one word, or several where seeds differ."""
  arms = next(iter(measured.values()))
  # Controls are measured with the first seed of z alone.
  found = {arm: dict.fromkeys(speech.label(each) for voices in measured.values() for each in voices.get(arm, {}).values())
           for arm in arms if arm != 'recording'}
  return {arm: ', '.join(words) for arm, words in found.items()}
