"""The neural vocoder of section 4.1.4: one teacher, students under several objectives, and whether they speak or whisper."""
import pathlib
from typing import Any, Mapping, Sequence

import jax
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.data.speech import audio
from inverse_matching.evaluation import speech as measures
from inverse_matching.evaluation import tables, voices
from inverse_matching.experiments import figures
from inverse_matching.experiments.stages import Stages
from inverse_matching.runtime import files

# Fixed before any student was trained, from controls: WORLD resynthesis, forced whispers, mixtures.
TEACHER_RECALL = 0.85  # below it the run is void
RECALL_BELOW_TEACHER = 0.10  # at most
BAND_DB = 3.0
MCD_GAP_DB = 1.0  # at least, against the regularised KL
STOI_GAP = 0.05

MAIN = (('voiced_recall', 'data'), ('voicing_error', 'data'), ('periodicity_ratio', 'data'), ('f0_error_cents', 'data'),
        ('mel_cepstral_distortion_db', 'data'), ('log_spectral_distance_db', 'data'), ('band_mean_db', 'data'),
        ('stoi', 'data'), ('log_prob_per_sample', 'teacher'), ('log_prob_mean_shift', 'teacher'))
X_RECONSTRUCTION, KL = 'flow/x_reconstruction', 'flow/regularized_kl'
SHOWN = 4  # utterances in the picture
HEARD = 4  # in a wav file, of each voice
PAUSE = 0.15  # seconds between them
DYNAMIC_RANGE = 70  # dB, of the colours


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Trains what is missing, speaks the held-out utterances, and writes vocoder.json, vocoder.png, vocoder.md and wav/ARM.wav.

  Args:
    config: with sections data, teacher, student, loss, optimizer, train, pairs (num of recordings, None for all; num_drawn of
      T^-1(z) for oracle prediction; seed, solver), evaluation (seed, num_seeds), teacher_study (sections that take the place of
      those of the students while the teacher trains), arms and figures.vocoder (names of arms).
    workdir: of the experiment; the teacher, the encodings z = T(x), the pairs (z, T^-1(z)) and each student get a folder in it.
    command: that was called, for the record.
    devices: number of local devices, or None.

  Returns:
    The table and the verdicts as text.
  """
  path = pathlib.Path(workdir)
  arms = {arm: {**config, **config['arms'][arm]} for arm in config['figures']['vocoder']}
  seeds = range(config['evaluation']['seed'], config['evaluation']['seed'] + config['evaluation']['num_seeds'])
  draws = any(settings['loss']['name'] == 'oracle_prediction' for settings in arms.values())
  stages = Stages(path / 'timing.json', 3 + draws + len(arms) + len(seeds))
  teacher_config = {**config, **config['teacher_study']}
  teacher_run = stages.run('train the teacher', runs.train_teacher, teacher_config, path / 'teacher', devices)
  encodings = stages.run('encodings of the recordings', runs.make_pairs, teacher_run, path / 'encodings', devices=devices,
                         num=config['pairs']['num'] or len(teacher_run.source.data.train), seed=config['pairs']['seed'],
                         solver=config['pairs']['solver'], pairs_from='data')
  pairs = {'x_reconstruction': encodings}
  if draws:
    pairs['oracle_prediction'] = stages.run('draws of the teacher', runs.make_pairs, teacher_run, path / 'pairs',
                                            devices=devices, num=config['pairs']['num_drawn'], seed=config['pairs']['seed'],
                                            solver=config['pairs']['solver'])
  students = {}
  for arm, settings in arms.items():
    students[arm] = stages.run(f'distil {arm}', runs.distill, settings, path / 'students' / arm, teacher_run,
                               pairs.get(settings['loss']['name']), devices)
    jax.clear_caches()

  spoken, measured, rows = {}, {}, []
  likelihood = voices.Likelihood(teacher_run, devices)
  for seed in seeds:
    found = stages.run(f'speak and measure, seed {seed}', _speak, teacher_run, students, likelihood, seed,
                       seed == seeds[0], config['pairs']['solver'], devices)
    rows += found[2]
    measured[seed] = found[1]
    spoken = spoken or found[0]
  rows += stages.run('reconstruct', _reconstruct, teacher_run, students, seeds[0], devices)
  settings = {name: config[name] for name in ('data', 'teacher', 'student', 'optimizer', 'train', 'teacher_study', 'pairs',
                                              'evaluation', 'arms')}
  verdicts = judge(measured)
  files.write_json(path / 'vocoder.json', {'command': command, 'settings': {**settings, 'utterances': {
      split: len(getattr(teacher_run.source.data, split)) for split in ('train', 'held_out')}}, 'rows': rows})
  _draw(path / 'vocoder.png', spoken, teacher_run.space.codec.rate)
  _write_wavs(path / 'wav', spoken, teacher_run.space.codec.rate)
  first = [row for row in rows if row['seed'] == seeds[0]]
  lines = [' '.join(verdict) for verdict in verdicts]
  report = [f'    {command}', tables.markdown(tables.by_arm(first, MAIN)),
            tables.markdown([['what', 'number', 'verdict'], *verdicts])]
  files.write_bytes(path / 'vocoder.md', '\n\n'.join(['# Vocoder', *report, '']).encode())
  return '\n'.join([tables.plain(tables.by_arm(first, MAIN, intervals=False)), *lines])


def _speak(teacher_run: runs.TeacherRun, students: Mapping[str, runs.StudentRun], likelihood: voices.Likelihood, seed: int,
           with_controls: bool, solver: str, devices: int | None
           ) -> tuple[dict[str, list[np.ndarray]], dict[str, measures.Measured], list[dict[str, Any]]]:
  """(arm -> waveforms, arm -> what is measured, rows) for one seed of z."""
  speech, held_out = teacher_run.space.codec, teacher_run.source.data.held_out
  z = voices.prior_draws(teacher_run, seed)
  spoken = {}
  if with_controls:
    controls = [measures.controls(u.waveform, speech.raw(u.features), speech.rate, seed=seed) for u in held_out]
    spoken = {arm: voices.Voice([c[arm] for c in controls]) for arm in ('recording', 'world', 'whisper')}
  spoken['teacher'] = voices.speak(teacher_run, None, z, solver=solver, devices=devices)
  spoken |= {arm: voices.speak(teacher_run, student, z, devices=devices) for arm, student in students.items()}
  usual = likelihood.per_sample(spoken['teacher'].waveforms)
  measured, rows = {}, []
  for arm, voice in spoken.items():
    measured[arm] = measures.measure(voices.pairs(teacher_run, voice.waveforms), speech.rate)
    rows += measures.rows(arm, measured[arm], seed=seed, floor=measured.get('world'))
    if arm not in ('world', 'whisper'):  # which are no samples of anything with this density
      rows += voices.likelihood_rows(arm, likelihood, voice, usual, seed=seed)
  return {arm: voice.waveforms for arm, voice in spoken.items()}, measured, rows


def _reconstruct(teacher_run: runs.TeacherRun, students: Mapping[str, runs.StudentRun], seed: int,
                 devices: int | None) -> list[dict[str, Any]]:
  """Rows of S(T(x)), as arms ARM@reconstruction."""
  rows = []
  for arm, student in students.items():
    waveforms = voices.reconstruction(teacher_run, student, devices)
    name = f'{arm}@reconstruction'
    rows += voices.reconstruction_rows(name, teacher_run, waveforms, seed=seed)
    rows += measures.rows(name, measures.measure(voices.pairs(teacher_run, waveforms), teacher_run.space.codec.rate), seed=seed)
  return rows


def judge(measured: Mapping[int, Mapping[str, measures.Measured]]) -> list[tuple[str, str, str]]:
  """(what, number, verdict) for each criterion, of seed -> arm -> what was measured. All seeds must pass."""
  found = []

  def decide(what: str, values: Sequence[float], passes: Sequence[bool], words: tuple[str, str] = ('yes', 'no')) -> None:
    number = f'{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})'
    found.append((what, number, words[0] if all(passes) else words[1]))

  value = lambda arm, metric: [measures.value(m[arm], metric) for m in measured.values()]
  gap = lambda a, b, metric: [measures.gap(m[a], m[b], metric, seed=seed) for seed, m in measured.items()]
  recall = value('teacher', 'voiced_recall')
  decide(f'voiced recall of the teacher is {TEACHER_RECALL} or more, without which the run is void', recall,
         [v >= TEACHER_RECALL for v in recall], ('valid', 'void'))
  arms = [arm for arm in next(iter(measured.values())) if arm.startswith('flow/')]
  if X_RECONSTRUCTION in arms:
    x = X_RECONSTRUCTION
    values = value(x, 'voiced_recall')
    decide(f'{x}: voiced recall is {measures.VOICED_RECALL} or more', values, [v >= measures.VOICED_RECALL for v in values])
    decide(f'{x}: and at most {RECALL_BELOW_TEACHER} below the teacher', values,
           [v >= t - RECALL_BELOW_TEACHER for v, t in zip(values, recall)])
    values = value(x, 'periodicity_ratio')
    decide(f'{x}: periodicity ratio is {measures.VOICED_RATIO} or more', values, [v >= measures.VOICED_RATIO for v in values])
    bands = [max((measures.value(m[x], b) for b in m[x].sums if b.startswith('band_')), key=abs) for m in measured.values()]
    decide(f'{x}: power of each voiced band within {BAND_DB} dB', bands, [abs(v) <= BAND_DB for v in bands])
    if KL in arms:
      for metric, sign, least in (('mel_cepstral_distortion_db', -1, MCD_GAP_DB), ('stoi', 1, STOI_GAP)):
        if any(metric not in m[x].sums for m in measured.values()):
          continue
        gaps = [sign * g[0] for g in gap(x, KL, metric)]
        decide(f'{x}: {metric} better than {KL} by {least} or more', gaps, [g >= least for g in gaps])
  for arm in arms:
    labels = [measures.label(m[arm]) for m in measured.values()]
    recalls = value(arm, 'voiced_recall')
    decide(f'{arm}: what it is, with its voiced recall', recalls, [len(set(labels)) == 1], (labels[0], ', '.join(labels)))
  return found


def _draw(path: pathlib.Path, spoken: Mapping[str, Sequence[np.ndarray]], rate: int) -> None:
  """Spectrograms: a row per voice, a column per utterance."""
  count = min(SHOWN, len(next(iter(spoken.values()))))
  figure, axes = plt.subplots(len(spoken), count, figsize=(2.6 * count, 1.15 * len(spoken)), squeeze=False, sharex='col',
                              layout='constrained')
  loudest = None  # of the recording of each utterance, the first row
  for line, (arm, waveforms) in zip(axes, spoken.items()):
    pictures = [axis.specgram(waveform + 1e-9, NFFT=round(0.025 * rate), Fs=rate / 1000, noverlap=round(0.02 * rate),
                              cmap='magma', pad_to=1024)[3] for axis, waveform in zip(line, waveforms)]
    loudest = loudest or [picture.get_array().max() for picture in pictures]
    for axis, picture, top in zip(line, pictures, loudest):
      picture.set_clim(top - DYNAMIC_RANGE, top)
      axis.set_yticks([])
      axis.tick_params(labelsize=6)
    line[0].set_ylabel(arm.replace('/', '\n'), fontsize=7)
  for axis in axes[-1]:
    axis.set_xlabel('ms', fontsize=7)
  figure.suptitle(f'Held-out utterances, 0 to {rate // 2} Hz: the same features for all, and the same noise z for the teacher '
                  'and every student', fontsize=8)
  figures.save(figure, path, palette=True)


def _write_wavs(folder: pathlib.Path, spoken: Mapping[str, Sequence[np.ndarray]], rate: int) -> None:
  pause = np.zeros(round(PAUSE * rate), np.float32)
  for arm, waveforms in spoken.items():
    joined = np.concatenate([part for waveform in waveforms[:HEARD] for part in (waveform, pause)])
    audio.write(folder / f'{arm.replace("/", "_")}.wav', np.nan_to_num(joined), rate)
