"""Whether students speak or whisper: criteria that were fixed before any was trained, and how measured voices decide them."""
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
STOI_GAP = 0.05

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
  """Those of the arms that are there: of the teacher, of each under x-reconstruction, and of the regularised KL."""
  found = [Criterion(f'the teacher speaks, or the run is void: voiced recall {TEACHER_RECALL} or more', TEACHER, None,
                     'voiced_recall', 1, TEACHER_RECALL),
           Criterion(f'the teacher: periodicity ratio {speech.VOICED_RATIO} or more', TEACHER, None, 'periodicity_ratio', 1,
                     speech.VOICED_RATIO)]
  for arm in (arm for arm in arms if arm.startswith(X_RECONSTRUCTION)):
    found += [
        Criterion(f'{arm}: voiced recall {speech.VOICED_RECALL} or more', arm, None, 'voiced_recall', 1, speech.VOICED_RECALL),
        Criterion(f'{arm}: voiced recall at most {RECALL_BELOW_TEACHER} below the teacher', arm, TEACHER, 'voiced_recall', 1,
                  -RECALL_BELOW_TEACHER),
        Criterion(f'{arm}: periodicity ratio {speech.VOICED_RATIO} or more', arm, None, 'periodicity_ratio', 1,
                  speech.VOICED_RATIO),
        Criterion(f'{arm}: power of each voiced band within {BAND_DB} dB', arm, None, 'band_worst_db', -1, BAND_DB)]
    if arm != X_RECONSTRUCTION and X_RECONSTRUCTION in arms:
      found.append(Criterion(f'{arm}: voiced recall not below {X_RECONSTRUCTION}', arm, X_RECONSTRUCTION, 'voiced_recall', 1,
                             0.0))
    if KL in arms:
      found += [
          Criterion(f'{arm}: voiced recall above {KL} by {RECALL_GAP} or more', arm, KL, 'voiced_recall', 1, RECALL_GAP),
          Criterion(f'{arm}: mel-cepstral distortion below {KL} by {MCD_GAP_DB} dB or more', arm, KL,
                    'mel_cepstral_distortion_db', -1, -MCD_GAP_DB),
          Criterion(f'{arm}: STOI above {KL} by {STOI_GAP} or more', arm, KL, 'stoi', 1, STOI_GAP)]
  if KL in arms:
    found.append(Criterion(f'{KL} whispers: voiced recall {speech.WHISPERED_RECALL} or less', KL, None, 'voiced_recall', -1,
                           speech.WHISPERED_RECALL))
  return found


def judge(measured: Mapping[int, Voices], *, seed: int = 0) -> list[dict[str, Any]]:
  """A row {"criterion", "value", "low", "high", "threshold", "num_train_seeds", "verdict"} for each criterion.

  The value is the mean over the seeds of z and of training; the 95% interval is over recordings, with ENOUGH training seeds
  over these too (the half-widths squared add). `yes` and `no` take ENOUGH training seeds, all on the same side, and an interval
  without the threshold; with fewer it is `indicated`, no more. The teacher is one, and is judged over recordings.

  Args:
    measured: seed of z -> voices, of the same arms and training seeds.
    seed: of the resampling.
  """
  arms = next(iter(measured.values()))
  metrics = speech.metrics(arms[TEACHER][None])
  return [_row(criterion, measured, seed) for criterion in criteria(arms) if criterion.metric in metrics]


def _row(c: Criterion, measured: Mapping[int, Voices], seed: int) -> dict[str, Any]:
  arms = next(iter(measured.values()))
  of_arm, of_other = arms[c.arm], arms.get(c.other, {None: None})
  train_seeds = [each for each in of_arm if None in of_other or each in of_other]
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
  found = {arm: dict.fromkeys(speech.label(each) for voices in measured.values() for each in voices[arm].values())
           for arm in arms if arm != 'recording'}
  return {arm: ', '.join(words) for arm, words in found.items()}
