"""The neural vocoder of section 4.1.4: one teacher, students under several objectives, and whether they speak or whisper."""
import pathlib
import textwrap
from typing import Any, Mapping, NamedTuple, Sequence

from absl import logging
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import losses, runs
from inverse_matching.data.speech import audio
from inverse_matching.data.speech.dataset import by_recording
from inverse_matching.errors import InputError
from inverse_matching.evaluation import speech as measures
from inverse_matching.evaluation import statistics, tables, voices
from inverse_matching.experiments import distillation, figures, voice_criteria
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.runs import StudentRun, TeacherRun, exported
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite

MAIN = (('voiced_recall', 'data'), ('voicing_f1', 'data'), ('periodicity_ratio', 'data'), ('periodic_share', 'data'),
        ('f0_error_cents', 'data'),
        ('mel_cepstral_distortion_db', 'data'), ('log_spectral_distance_db', 'data'), ('band_mean_db', 'data'),
        ('stoi', 'data'), ('dnsmos', 'data'), ('log_prob_per_sample', 'teacher'), ('log_prob_mean_shift', 'teacher'))
SHOWN = 4  # utterances in the picture
HEARD, HEARD_SECONDS = 4, 1.9  # recordings in a wav file, of each voice, and how much of each
PAUSE = 0.15  # seconds between them
DYNAMIC_RANGE = 70  # dB, of the colours
PAIRS = 'pairs'  # what oracle prediction takes, see losses.stored
CONTROLS = ('recording', 'world', 'hoarse', 'whisper')
NOISE_STD = (5e-4, 1e-3, 2e-3, 4e-3)  # on x, with which the encodings of the validation part are looked at

Students = Mapping[str, Mapping[int, StudentRun]]  # arm -> training seed -> student


class Spoken(NamedTuple):
  """The held-out utterances by every voice, for one seed of z."""
  waveforms: dict[str, list[np.ndarray]]  # arm -> [T_i], of the first training seed
  measured: voice_criteria.Voices
  rows: list[dict[str, Any]]


def run(experiment: Experiment) -> str:
  """Trains what is missing, speaks the held-out utterances, and writes vocoder.json, .md and .png, forest.png and wav/ARM.wav.

  Beside the sections of distillation.carry_out, the config has teacher_study (sections that take the place of those of the
  students while the teacher trains), evaluation.least_recall (of voiced parts of the validation part by the teacher, below
  which students are not trained) and figures.vocoder (names of arms; with none the teacher is listened to, and that is all:
  nothing is measured on held-out utterances). Every arm has its first training before any has its second, and is listened to on
  the validation part at once (voice_students.json): that is what a choice between students is to be made by. Those under
  x-reconstruction encode their crops in each step, with noise or without, so that all see the same recordings. Beside the
  teacher and each student, the pairs (z, T^-1(z)) get a folder, where an arm takes them. A student whose loss becomes not
  finite has a row of the metric `diverged`.

  Returns:
    The table and the verdicts as text.

  Raises:
    InputError: the teacher is below evaluation.least_recall.
  """
  config, path, command, devices = experiment
  configs = distillation.student_configs(config, config['figures']['vocoder'])
  seeds = distillation.sample_seeds(config, config['figures']['vocoder'])
  trainings = sorted(((arm, seed) for arm, each in configs.items() for seed in distillation.train_seeds(each)),
                     key=lambda training: training[1])
  takes_pairs = any(losses.stored(each['loss']) == PAIRS for each in configs.values())
  listening = lambda arm, seed: f'listen to {arm}, training seed {seed}'
  stages = Stages(path / 'timing.json', [
      'train the teacher', 'listen to the teacher', *([f'make {PAIRS}'] if takes_pairs else []),
      *(stage for training in trainings for stage in (distillation.distil_stage(config, *training), listening(*training))),
      *(f'speak and measure, seed {seed}' for seed in seeds), 'reconstruct'])
  of_teacher = merge(config, config['teacher_study'])
  runs.check(of_teacher, configs.values())  # before the hours of the first of them
  teacher_run = stages.run('train the teacher', runs.train_teacher, of_teacher, path / 'teacher', devices)
  heard = stages.run('listen to the teacher', _listen, experiment, teacher_run, seeds)
  if not configs:
    return heard
  stores = {PAIRS: stages.run(f'make {PAIRS}', distillation.make_store, experiment, teacher_run, PAIRS)} if takes_pairs else {}
  students: dict[str, dict[int, StudentRun]] = {arm: {} for arm in configs}
  diverged: list[dict[str, Any]] = []
  validation = Rows()
  for arm, seed in trainings:
    of_seed = merge(configs[arm], {'train': {'seed': seed}})
    try:
      student_run = students[arm][seed] = distillation.distil(experiment, arm, of_seed, teacher_run, stores, stages)
      validation += stages.run(listening(arm, seed), _listen_to_student, experiment, teacher_run, arm, seed, student_run,
                               seeds[0])
      experiment.write('voice_students', {'teacher_hash': teacher_run.hash, 'part': _part(teacher_run)}, validation)
    except NotFinite as error:  # one of many, which must not end the study
      logging.warning('%s, training seed %d: %s', arm, seed, error)
      diverged.append({**statistics.row(arm, 'diverged', None, 1.0, n=1, seed=seeds[0]), 'train_seed': seed})

  likelihood = voices.Likelihood(teacher_run, devices)
  spoken = {seed: stages.run(f'speak and measure, seed {seed}', _speak, teacher_run, students, likelihood, seed,
                             seed == seeds[0], config['pairs']['solver'], devices) for seed in seeds}
  rows = Rows([*(row for of_seed in spoken.values() for row in of_seed.rows),
               *stages.run('reconstruct', _reconstruct, teacher_run, students, seeds[0], devices), *diverged])
  measured = {seed: of_seed.measured for seed, of_seed in spoken.items()}
  verdicts = voice_criteria.judge(measured)
  decided = [['criterion', 'number', 'training seeds', 'verdict'], *map(_cells, verdicts)]
  named = [['arm', 'what it is'], *map(list, voice_criteria.labels(measured).items())]
  _write(experiment, teacher_run, spoken[seeds[0]].waveforms, rows, verdicts, [decided, named])
  table = tables.by_arm(rows.where(seed=seeds[0]).of_first_training(), MAIN, intervals=False)
  return '\n\n'.join(map(tables.plain, (table, decided, named)))


def _listen(experiment: Experiment, teacher_run: TeacherRun, seeds: Sequence[int]) -> str:
  """Warns of a teacher that does not speak, or refuses it, before students are trained, by the validation part (held-out
  utterances, where there is none) over the seeds; writes voice_course.json and returns its table.

  The checkpoints that were kept of its training are listened to as well, with the first seed."""
  part, path = _part(teacher_run), experiment.path / 'teacher'
  last = runs.last_step(path)
  before = [] if exported.is_model(path) else [step for step in checkpoint.steps(path) if step != last]

  def measure(step, seed):
    return [{**row, 'updates': step} for row in _heard(experiment, 'teacher', runs.load_teacher(path, step), None, seed, part)]

  about = {'teacher_hash': teacher_run.hash, 'part': part, 'seeds': list(seeds), 'before': before}
  course = experiment.cached('voice_course', about, lambda: [
      *({**row, 'updates': last} for row in voices.noise_rows(teacher_run, NOISE_STD, seed=seeds[0], part=part,
                                                              devices=experiment.devices)),
      *(row for step, seed in (*((step, seeds[0]) for step in before), *((last, seed) for seed in seeds))
        for row in measure(step, seed))])
  rows = course.where(updates=last)
  recall = float(np.mean(rows.where(metric='voiced_recall').values('value')))
  least = experiment.config['evaluation'].get('least_recall')
  threshold = voice_criteria.TEACHER_RECALL if least is None else least
  if not recall >= threshold:
    words = (f'The teacher has a voiced recall of {recall:.2f} on the {part.replace("_", "-")} utterances, below '
             f'{threshold:g}: its students can say nothing about the paper')
    if least is not None and experiment.config['figures']['vocoder']:
      raise InputError(f'{words}. Train a teacher that is told the phase, with config.data.phase=True and another '
                       '--workdir, or set config.evaluation.least_recall=None to train them all the same.')
    logging.warning('%s.', words)
  named = [{**row, 'arm': f'teacher, {row["updates"]} updates, seed {row["seed"]}'} for row in course]
  return tables.plain(tables.by_arm(named, (*MAIN, ('clipped', None))))


def _part(teacher_run: TeacherRun) -> str:
  """The part of the data by which anything is chosen: no part of a result, unless there is no other."""
  return 'validation' if teacher_run.source.data.validation else 'held_out'


def _heard(experiment: Experiment, arm: str, teacher_run: TeacherRun, student_run: StudentRun | None,
           seed: int, part: str) -> list[dict[str, Any]]:
  """Rows of what a student, or without one the teacher, makes of a part of the data, with z of one seed."""
  voice = voices.speak(teacher_run, student_run, voices.prior_draws(teacher_run, seed, part), devices=experiment.devices,
                       solver=experiment.config['pairs']['solver'], part=part)
  found = voices.measure(teacher_run, voice.waveforms, part)
  clipped = np.mean(np.abs(np.concatenate(voice.waveforms)) > 1)  # values that no recording has
  return [*measures.rows(arm, found, seed=seed),
          statistics.row(arm, 'clipped', None, float(clipped), n=len(voice.waveforms), seed=seed, floor=0.0)]


def _listen_to_student(experiment: Experiment, teacher_run: TeacherRun, arm: str, train_seed: int, student_run: StudentRun,
                       seed: int) -> list[dict[str, Any]]:
  """`_heard` of a student that was trained."""
  part = _part(teacher_run)
  about = {'student_hash': checkpoint.tree_hash(student_run.params), 'part': part, 'seed': seed}
  return [{**row, 'train_seed': train_seed} for row in experiment.cached(
      f'students/{arm}/seed{train_seed}/heard', about, lambda: _heard(experiment, arm, teacher_run, student_run, seed,
                                                                       part))]


def _cells(verdict: Mapping[str, Any]) -> list[str]:
  value, low, high = (f'{verdict[name]:.3g}' for name in ('value', 'low', 'high'))
  return [verdict['criterion'], f'{value} [{low}, {high}]', str(verdict['num_train_seeds']), verdict['verdict']]


def _speak(teacher_run: TeacherRun, students: Students, likelihood: voices.Likelihood, seed: int, with_controls: bool,
           solver: str, devices: int | None) -> Spoken:
  speech, held_out = teacher_run.space.codec, teacher_run.source.data.held_out
  z = voices.prior_draws(teacher_run, seed)
  spoken = {}
  if with_controls:
    controls = [measures.controls(u.waveform, speech.raw(u.features), speech.rate, seed=seed) for u in held_out]
    spoken = {(arm, None): voices.Voice([c[arm] for c in controls]) for arm in CONTROLS}
  spoken['teacher', None] = voices.speak(teacher_run, None, z, solver=solver, devices=devices)
  spoken |= {(arm, train_seed): voices.speak(teacher_run, student, z, devices=devices)
             for arm, of_arm in students.items() for train_seed, student in of_arm.items()}
  usual = likelihood.per_sample(spoken['teacher', None].waveforms)
  waveforms, measured, rows = {}, {}, []
  for (arm, train_seed), voice in spoken.items():
    waveforms.setdefault(arm, voice.waveforms)
    found = measured.setdefault(arm, {})[train_seed] = voices.measure(teacher_run, voice.waveforms)
    of_voice = measures.rows(arm, found, seed=seed, floor=measured['world'][None] if 'world' in measured else None)
    if arm not in CONTROLS[1:]:  # which are no samples of anything with this density
      of_voice += voices.likelihood_rows(arm, likelihood, voice, usual, seed=seed)
    rows += of_voice if train_seed is None else [{**row, 'train_seed': train_seed} for row in of_voice]
  return Spoken(waveforms, measured, rows)


def _reconstruct(teacher_run: TeacherRun, students: Students, seed: int, devices: int | None) -> list[dict[str, Any]]:
  """Rows of S(T(x)), as arms ARM@reconstruction."""
  rows = []
  for arm, of_arm in students.items():
    for train_seed, student in of_arm.items():
      waveforms = voices.reconstruction(teacher_run, student, devices)
      measured = voices.measure(teacher_run, waveforms)
      found = [*voices.reconstruction_rows(f'{arm}@reconstruction', teacher_run, waveforms, seed=seed),
               *measures.rows(f'{arm}@reconstruction', measured, seed=seed)]
      rows += [{**row, 'train_seed': train_seed} for row in found]
  return rows


def _write(experiment: Experiment, teacher_run: TeacherRun, waveforms: Mapping[str, Sequence[np.ndarray]], rows: Rows,
           verdicts: Sequence[Mapping[str, Any]], decided: Sequence[list[list[str]]]) -> None:
  """Writes all files but those of the runs."""
  config, path, rate = experiment.config, experiment.path, teacher_run.space.codec.rate
  names = ('data', 'teacher', 'student', 'optimizer', 'train', 'teacher_study', 'pairs', 'evaluation', 'arms')
  utterances = {split: len(getattr(teacher_run.source.data, split)) for split in ('train', 'held_out')}
  experiment.write('vocoder', {**{name: config[name] for name in names}, 'utterances': utterances}, rows, summary=verdicts)
  first = rows.where(seed=config['evaluation']['seed'])
  figures.forest(path / 'forest.png', Rows(row for row in first if '@' not in row['arm'] and row['arm'] != 'recording'), MAIN)
  _draw(path / 'vocoder.png', waveforms, rate)
  _write_wavs(path / 'wav', [pieces[0] for pieces in by_recording(teacher_run.source.data.held_out)[:HEARD]], waveforms, rate)
  report = ['# Vocoder', f'    {experiment.command}', '![the main numbers of every voice](forest.png)',
            tables.markdown(tables.by_arm(first.of_first_training(), MAIN)), '## Verdicts', *map(tables.markdown, decided), '']
  files.write_bytes(path / 'vocoder.md', '\n\n'.join(report).encode())


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
    line[0].set_ylabel(textwrap.fill(arm.replace('/', ' ').replace('_', ' '), 15), fontsize=7)
  for axis in axes[-1]:
    axis.set_xlabel('ms', fontsize=7)
  figure.suptitle(f'Held-out utterances, 0 to {rate // 2} Hz: the same features for all, and the same noise z for the teacher '
                  'and every student', fontsize=8)
  figures.save(figure, path, palette=True)


def _write_wavs(folder: pathlib.Path, heard: Sequence[int], spoken: Mapping[str, Sequence[np.ndarray]], rate: int) -> None:
  """Writes a file for each voice, with the beginnings of these utterances."""
  length, pause = round(HEARD_SECONDS * rate), np.zeros(round(PAUSE * rate), np.float32)
  for arm, waveforms in spoken.items():
    joined = np.concatenate([part for i in heard for part in (waveforms[i][:length], pause)])
    audio.write(folder / f'{arm.replace("/", "_")}.wav', np.nan_to_num(joined), rate)
