"""The neural vocoder of section 4.1.4: one teacher, students under several objectives, and whether they speak or whisper."""
import functools
import pathlib
from typing import Any, Mapping, Sequence

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import losses, runs
from inverse_matching.data.speech import audio
from inverse_matching.evaluation import speech as measures
from inverse_matching.evaluation import tables, voices
from inverse_matching.experiments import distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge

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


def run(experiment: Experiment) -> str:
  """Trains what is missing, speaks the held-out utterances, and writes vocoder.json, vocoder.png, vocoder.md and wav/ARM.wav.

  Beside the sections of distillation.carry_out, the config has teacher_study (sections that take the place of those of the
  students while the teacher trains) and figures.vocoder (names of arms); config.pairs has num (of recordings, None for all),
  num_drawn (of T^-1(z), for oracle prediction), seed and solver. Beside the teacher and each student, the encodings z = T(x)
  and the pairs (z, T^-1(z)) get a folder.

  Returns:
    The table and the verdicts as text.
  """
  config, path, command, devices = experiment
  configs = distillation.student_configs(config, config['figures']['vocoder'])
  seeds = distillation.sample_seeds(config)
  draws = any(losses.stored(student['loss']) == 'pairs' for student in configs.values())
  stages = Stages(path / 'timing.json', [
      'train the teacher', 'encodings of the recordings', *['draws of the teacher'] * draws,
      *(f'distil {arm}' for arm in configs), *(f'speak and measure, seed {seed}' for seed in seeds), 'reconstruct'])
  teacher_run = stages.run('train the teacher', runs.train_teacher, merge(config, config['teacher_study']), path / 'teacher',
                           devices)
  make_pairs = functools.partial(runs.make_pairs, teacher_run, seed=config['pairs']['seed'], solver=config['pairs']['solver'],
                                 devices=devices)
  stores = {'encodings': stages.run(
      'encodings of the recordings', make_pairs, path / 'encodings', pairs_from='data',
      num=config['pairs']['num'] or len(teacher_run.source.data.train))}
  if draws:
    stores['pairs'] = stages.run('draws of the teacher', make_pairs, path / 'pairs',
                                 num=config['pairs']['num_drawn'])
  students = {arm: distillation.distil(experiment, arm, each, teacher_run, stores, stages) for arm, each in configs.items()}

  spoken, measured, rows = {}, {}, []
  likelihood = voices.Likelihood(teacher_run, devices)
  for seed in seeds:
    waveforms, measured[seed], rows_of_seed = stages.run(
        f'speak and measure, seed {seed}', _speak, teacher_run, students, likelihood, seed, seed == seeds[0],
        config['pairs']['solver'], devices)
    spoken = spoken or waveforms  # of the first seed
    rows += rows_of_seed
  rows += stages.run('reconstruct', _reconstruct, teacher_run, students, seeds[0], devices)
  names = ('data', 'teacher', 'student', 'optimizer', 'train', 'teacher_study', 'pairs', 'evaluation', 'arms')
  utterances = {split: len(getattr(teacher_run.source.data, split)) for split in ('train', 'held_out')}
  experiment.write('vocoder', {**{name: config[name] for name in names}, 'utterances': utterances}, rows)
  _draw(path / 'vocoder.png', spoken, teacher_run.space.codec.rate)
  _write_wavs(path / 'wav', spoken, teacher_run.space.codec.rate)
  first, verdicts = Rows(rows).where(seed=seeds[0]), judge(measured)
  report = ['# Vocoder', f'    {command}', tables.markdown(tables.by_arm(first, MAIN)),
            tables.markdown([['what', 'number', 'verdict'], *verdicts]), '']
  files.write_bytes(path / 'vocoder.md', '\n\n'.join(report).encode())
  return '\n'.join([tables.plain(tables.by_arm(first, MAIN, intervals=False)), *map(' '.join, verdicts)])


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
  verdicts = []

  def decide(what: str, values: np.ndarray, passes: np.ndarray | bool, words: tuple[str, str] = ('yes', 'no')) -> None:
    number = f'{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})'
    verdicts.append((what, number, words[0] if np.all(passes) else words[1]))

  value = lambda arm, metric: np.array([measures.value(by_arm[arm], metric) for by_arm in measured.values()])
  recall = {arm: value(arm, 'voiced_recall') for arm in next(iter(measured.values())) if arm.startswith(('teacher', 'flow/'))}
  teacher = recall.pop('teacher')
  decide(f'voiced recall of the teacher is {TEACHER_RECALL} or more, without which the run is void', teacher,
         teacher >= TEACHER_RECALL, ('valid', 'void'))
  x = X_RECONSTRUCTION
  if x in recall:
    decide(f'{x}: voiced recall is {measures.VOICED_RECALL} or more', recall[x], recall[x] >= measures.VOICED_RECALL)
    decide(f'{x}: and at most {RECALL_BELOW_TEACHER} below the teacher', recall[x], recall[x] >= teacher - RECALL_BELOW_TEACHER)
    ratio = value(x, 'periodicity_ratio')
    decide(f'{x}: periodicity ratio is {measures.VOICED_RATIO} or more', ratio, ratio >= measures.VOICED_RATIO)
    bands = np.array([max((measures.value(by_arm[x], band) for band in by_arm[x].sums if band.startswith('band_')), key=abs)
                      for by_arm in measured.values()])
    decide(f'{x}: power of each voiced band within {BAND_DB} dB', bands, np.abs(bands) <= BAND_DB)
    for metric, sign, least in (('mel_cepstral_distortion_db', -1, MCD_GAP_DB), ('stoi', 1, STOI_GAP)):
      if KL in recall and all(metric in by_arm[x].sums for by_arm in measured.values()):
        gaps = np.array([sign * measures.gap(by_arm[x], by_arm[KL], metric, seed=seed)[0] for seed, by_arm in measured.items()])
        decide(f'{x}: {metric} better than {KL} by {least} or more', gaps, gaps >= least)
  for arm, values in recall.items():
    labels = [measures.label(by_arm[arm]) for by_arm in measured.values()]
    decide(f'{arm}: what it is, with its voiced recall', values, len(set(labels)) == 1, (labels[0], ', '.join(labels)))
  return verdicts


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
