"""The vocoder: verdicts on controls, numbers of reconstructions in closed form, and the whole path on synthetic speech."""
import json
import subprocess
import sys
import types
import wave

import numpy as np
import pytest
import small_speech

from inverse_matching.data.speech import audio, world
from inverse_matching.data.speech import dataset as speech
from inverse_matching.errors import InputError
from inverse_matching.evaluation import speech as measures
from inverse_matching.evaluation import statistics, voices
from inverse_matching.experiments import vocoder, voice_criteria
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.experiments.voice_criteria import KL, TEACHER, X_RECONSTRUCTION
from inverse_matching.runs import StudentRun, utterances
from inverse_matching.types import Student

pytest.importorskip('pyworld')
SOURCE = speech.synthetic(crop_frames=10, burn_in_frames=2, num_train=2, num_held_out=2)
SPEECH, FEATURES = SOURCE.data, SOURCE.space.codec


def candidates(kind):
  """A control for each held-out utterance."""
  controls = [measures.controls(u.waveform, FEATURES.raw(u.features), FEATURES.rate, seed=0) for u in SPEECH.held_out]
  return measures.measure([(u.waveform, c[kind]) for u, c in zip(SPEECH.held_out, controls)], FEATURES.rate)


@pytest.fixture(scope='module')
def controls():
  """What is measured of a voice and of a whisper."""
  return {kind: candidates(kind) for kind in ('recording', 'world', 'whisper')}


def voices_of(teacher, x_reconstruction, regularized_kl):
  """Of what was measured of the teacher, and of every training seed of two students."""
  return {TEACHER: {None: teacher}, X_RECONSTRUCTION: dict(enumerate(x_reconstruction)), KL: dict(enumerate(regularized_kl))}


def verdicts(*measured):
  """The verdicts, in order, of voices that are the same for two seeds of z."""
  return [row['verdict'] for row in voice_criteria.judge(dict.fromkeys((0, 1), voices_of(*measured)))]


def test_a_voice_passes_and_a_whisper_fails(controls):
  """The thresholds tell the recording, or WORLD's resynthesis of it, from a forced whisper."""
  voice, whisper = controls['recording'], controls['whisper']
  good = verdicts(voice, [voice] * 3, [whisper] * 3)
  assert len(good) == len(voice_criteria.criteria((X_RECONSTRUCTION, KL))) and set(good) == {'yes'}
  bad = dict(zip((c.metric + (c.other or '') + c.arm for c in voice_criteria.criteria((X_RECONSTRUCTION, KL))),
                 verdicts(whisper, [whisper] * 3, [voice] * 3)))
  assert bad.pop(f'voiced_recallteacher{X_RECONSTRUCTION}') == 'yes'  # it is not below its teacher, another whisper
  assert bad.pop(f'periodicity_ratioteacher{X_RECONSTRUCTION}') == 'yes'
  assert bad.pop(f'band_worst_db{X_RECONSTRUCTION}') in ('yes', 'no', 'not decided')  # a whisper has the envelope of the voice
  assert bad.pop(f'band_error_db{KL}') == 'yes'  # which a voice has too
  assert bad.pop(f'stoi{KL}', 'yes') == 'yes'  # and where pystoi is there this
  assert set(bad.values()) == {'no'}
  assert voice_criteria.labels({0: voices_of(voice, [voice] * 3, [whisper])}) == {
      'teacher': 'voice', X_RECONSTRUCTION: 'voice', KL: 'whisper'}


def test_what_decides(controls):
  """Three training seeds that agree; fewer indicate; one that disagrees leaves it open; the value is the mean."""
  voice, whisper = controls['recording'], controls['whisper']
  words = verdicts(voice, [voice] * 2, [whisper])
  assert words[:3] == ['yes'] * 3 and set(words[3:]) == {'indicated: yes'}  # the teacher is one
  mixed = {0: voices_of(voice, [voice, whisper, voice], [whisper] * 3)}
  rows = voice_criteria.judge(mixed)
  recall = next(row for row in rows if row['criterion'].startswith(f'{X_RECONSTRUCTION}: voiced recall 0.8'))
  assert recall['verdict'] == 'not decided' and recall['num_train_seeds'] == 3
  values = [measures.value(each, 'voiced_recall') for each in (voice, whisper, voice)]
  assert recall['value'] == pytest.approx(np.mean(values)) and recall['low'] < min(values) < max(values) < recall['high']
  paired = next(row for row in rows if 'above flow' in row['criterion'] and row['criterion'].startswith(X_RECONSTRUCTION))
  assert paired['value'] == pytest.approx(np.mean(values) - values[1])
  assert voice_criteria.labels(mixed)[X_RECONSTRUCTION] == 'voice, whisper'


def spoken(recall=0.95, ratio=1.0, distortion=4.0, band=0.0, stoi=0.95, share=1.0):
  """What would have been measured of four recordings that all have these values: recall, periodicity, dB, dB, STOI, share."""
  values = {'voiced_recall': recall, 'periodicity_ratio': ratio, 'periodic_share': share,
            'mel_cepstral_distortion_db': distortion, 'stoi': stoi,
            'band_0_500_db': 10**(band / 10), 'band_500_1000_db': 1.0}
  return measures.Measured({metric: np.tile([100.0 * value, 100.0], (4, 1)) for metric, value in values.items()}, 4)


WHISPER = dict(recall=0.3, ratio=0.3, distortion=7.0, stoi=0.7, share=0.1)


@pytest.mark.parametrize('who,criterion,passes,fails', [
    (TEACHER, 'the teacher speaks', dict(recall=0.86), dict(recall=0.84)),
    (TEACHER, 'the teacher: periodicity ratio', dict(ratio=0.86), dict(ratio=0.84)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: voiced recall 0.8 or more', dict(recall=0.81), dict(recall=0.79)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: voiced recall at most', dict(recall=0.86), dict(recall=0.84)),  # the teacher: 0.95
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: periodicity ratio 0.85', dict(ratio=0.86), dict(ratio=0.84)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: power of each voiced band', dict(band=2.9), dict(band=3.1)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: power of each voiced band', dict(band=-2.9), dict(band=-3.1)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: voiced recall above {KL}', dict(recall=0.56), dict(recall=0.54)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: mel-cepstral distortion', dict(distortion=5.9), dict(distortion=6.1)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: STOI', dict(stoi=0.76), dict(stoi=0.74)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: periodicity ratio above {KL}', dict(ratio=0.46), dict(ratio=0.44)),
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: periodicity ratio at most', dict(ratio=0.91), dict(ratio=0.89)),  # the teacher: 1
    (X_RECONSTRUCTION, f'{X_RECONSTRUCTION}: share of periodic', dict(share=0.91), dict(share=0.89)),
    (TEACHER, 'the teacher: share of periodic', dict(share=0.91), dict(share=0.89)),
    (KL, f'{KL} whispers: voiced recall', dict(recall=0.49), dict(recall=0.51)),
    (KL, f'{KL} whispers: periodicity', dict(ratio=0.39), dict(ratio=0.41)),
    (KL, f'{KL} whispers: power', dict(band=11.9), dict(band=12.1)),  # of one of two bands: half in the mean
    (KL, f'{KL} whispers: STOI', dict(stoi=0.56), dict(stoi=0.54))])
def test_every_threshold_is_where_it_was_fixed(who, criterion, passes, fails, monkeypatch):
  """What is just on the right side of it passes, what is just on the other does not."""
  monkeypatch.setattr(statistics, 'NUM_RESAMPLES', 20)  # of recordings that are all alike
  verdict = {}
  for change in (passes, fails):
    values = {TEACHER: {}, X_RECONSTRUCTION: {}, KL: WHISPER}
    values[who] = {**values[who], **change}
    teacher, x, kl = (spoken(**each) for each in values.values())
    rows = voice_criteria.judge({0: voices_of(teacher, [x] * 3, [kl] * 3)})
    verdict[tuple(change.values())], = (row['verdict'] for row in rows if row['criterion'].startswith(criterion))
  assert verdict == {tuple(passes.values()): 'yes', tuple(fails.values()): 'no'}


def test_controls_of_one_seed_of_z_and_students_that_diverged():
  """Controls are measured once; other students are held against the KL; two without a common training seed against none."""
  first = {'recording': {None: spoken()}, 'whisper': {None: spoken(**WHISPER)}, TEACHER: {None: spoken()},
           X_RECONSTRUCTION: {1: spoken()}, 'flow/oracle_prediction': {0: spoken()}, KL: {0: spoken(**WHISPER)}}
  later = {arm: voice for arm, voice in first.items() if arm not in ('recording', 'whisper')}
  assert voice_criteria.labels({0: first, 1: later, 2: later}) == {
      'whisper': 'whisper', TEACHER: 'voice', X_RECONSTRUCTION: 'voice', 'flow/oracle_prediction': 'voice', KL: 'whisper'}
  decided = {row['criterion']: row['verdict'] for row in voice_criteria.judge({0: first, 1: later})}
  assert decided[f'flow/oracle_prediction: voiced recall above {KL} by 0.25 or more'] == 'indicated: yes'
  assert not any(criterion.startswith(f'{X_RECONSTRUCTION}: voiced recall above {KL}') for criterion in decided)
  assert decided[f'{X_RECONSTRUCTION}: voiced recall 0.8 or more'] == 'indicated: yes'


@pytest.mark.parametrize('recalls,verdict', [
    ([0.85, 0.86, 0.87], 'yes'), ([0.75, 0.74, 0.73], 'no'),
    ([0.81, 0.82, 0.90], 'not decided'),  # all pass, and the interval holds 0.8
    ([0.9] * 5 + [0.799], 'not decided')])  # the interval excludes 0.8, and one fails
def test_seeds_that_agree_and_an_interval_without_the_threshold_decide(recalls, verdict, monkeypatch):
  """Both, not one of the two."""
  monkeypatch.setattr(statistics, 'NUM_RESAMPLES', 20)
  rows = voice_criteria.judge({0: voices_of(spoken(), [spoken(recall=recall) for recall in recalls], [spoken(**WHISPER)])})
  row, = (row for row in rows if row['criterion'].startswith(f'{X_RECONSTRUCTION}: voiced recall 0.8'))
  assert row['verdict'] == verdict
  _, low, high = statistics.over_seeds(recalls)
  assert (row['low'], row['high']) == pytest.approx((low, high))


@pytest.mark.parametrize('recalls,least,arms,refused', [
    ((0.80, 0.82), 0.85, ('flow/a',), True), ((0.84, 0.88), 0.85, ('flow/a',), False), ((0.80, 0.82), None, ('flow/a',), False),
    ((0.80, 0.82), 0.85, (), False)])
def test_students_of_a_teacher_that_does_not_speak_are_not_trained(tmp_path, monkeypatch, recalls, least, arms, refused):
  """By the mean over the seeds of z, on the validation part; where there are no students to train, it is told alone."""
  config = {'pairs': {'solver': 'auto'}, 'evaluation': {'least_recall': least}, 'figures': {'vocoder': arms}}
  run = types.SimpleNamespace(hash='h', source=types.SimpleNamespace(data=types.SimpleNamespace(validation=[1])))
  parts, before, last = [], 10, 20
  monkeypatch.setattr(vocoder.runs, 'last_step', lambda path: last)
  monkeypatch.setattr(vocoder.checkpoint, 'steps', lambda path: [before, last])
  monkeypatch.setattr(vocoder.runs, 'load_teacher', lambda path, step: run if step == last else 'of before')
  monkeypatch.setattr(vocoder.voices, 'prior_draws', lambda run, seed, part: seed)
  monkeypatch.setattr(vocoder.voices, 'speak', lambda run, student, z, part, **_: types.SimpleNamespace(
      waveforms=[np.array([0.5, 1.5 + z])]))
  monkeypatch.setattr(vocoder.voices, 'noise_rows', lambda run, noise_std, **_: [
      statistics.row('teacher', 'noisy_encoding_rms', f'{std:g}', 1.0, n=1, seed=0) for std in noise_std])
  monkeypatch.setattr(vocoder.voices, 'measure', lambda run, waveforms, part: parts.append(part) or run)
  monkeypatch.setattr(vocoder.measures, 'rows', lambda arm, of, seed: [
      statistics.row(arm, 'voiced_recall', 'data', recalls[seed] if of is run else 0.5, n=1, seed=seed)])
  listen = lambda: vocoder._listen(Experiment(config, tmp_path, 'command', 1), run, range(2))
  if refused:
    with pytest.raises(InputError, match='voiced recall of 0.81 on the validation utterances, below 0.85'):
      listen()
  else:
    assert f'{recalls[0]:.3g}' in listen() and set(parts) == {'validation'}
  course = json.loads((tmp_path / 'voice_course.json').read_text())['rows']
  assert [(row['updates'], row['seed'], row['value']) for row in course if row['metric'] == 'voiced_recall'] == [
      (before, 0, 0.5), (last, 0, recalls[0]), (last, 1, recalls[1])]
  assert len([row for row in course if row['metric'] == 'noisy_encoding_rms']) == len(vocoder.NOISE_STD)
  assert {row['value'] for row in course if row['metric'] == 'clipped'} == {0.5}  # of two samples one is above 1


def test_signal_to_noise_of_reconstructions():
  """Noise of a tenth of the signal is 20 dB, in every part; where there is no voice yet, nothing is counted."""
  run = small_speech.RUN._replace(space=SOURCE.space, load=lambda: SOURCE)
  waveforms = [1.1 * u.waveform for u in SPEECH.held_out]
  rows = {row['metric']: row for row in voices.reconstruction_rows('arm', run, waveforms, seed=0)}
  assert len(rows) == len(voices.ONSET_EDGES_MS) - 1, 'no voice here is older than 200 ms'
  np.testing.assert_allclose([row['value'] for row in rows.values()], 20, rtol=1e-3)
  voiced = world.names(FEATURES.rate, FEATURES.num_cepstra).index('voiced')
  late = []
  for u in SPEECH.held_out:  # wrong only where the voice is 100 ms old
    since = np.repeat(voices._since_onset(u.features[:, voiced] > 0.5), FEATURES.hop) * 5
    late.append(np.where(since >= 100, 2 * u.waveform, u.waveform))
  rows = {row['metric']: row['value'] for row in voices.reconstruction_rows('arm', run, late, seed=0)}
  assert rows['snr_50_100_ms_db'] > 60 and abs(rows['snr_100_200_ms_db']) < 1e-3


def test_likelihood_rows_are_those_of_the_gaussian():
  """log p_T a sample of the teacher's own voice is near its expectation, and a student with its scale differs by 0."""
  run, seed = small_speech.RUN, 3
  z = voices.prior_draws(run, seed)
  likelihood = voices.Likelihood(run, devices=1)
  own = voices.speak(run, None, z, devices=1)
  values = likelihood.per_sample(own.waveforms)
  for x, value, u, draw in zip(own.waveforms, values, run.source.data.held_out, z):
    exact = run.teacher.log_prob(run.params, x[None], u.features[None])[0]
    np.testing.assert_allclose(value, exact / len(x), rtol=1e-4)
    np.testing.assert_allclose(run.teacher.x_to_z(run.params, x[None], u.features[None])[0][0], draw, atol=1e-4)
  voice = voices.Voice(own.waveforms, likelihood.log_scale(own.waveforms))
  rows = voices.likelihood_rows('flow/echo', likelihood, voice, values, seed=0)
  assert {row['metric']: row['value'] for row in rows} == {
      'log_prob_per_sample': pytest.approx(values.mean()), 'log_prob_mean_shift': 0.0, 'log_scale_difference_median': 0.0}
  # A student with a larger scale than the teacher's, whose samples are less likely than the teacher's.
  noisy = [x + np.random.default_rng(i).normal(size=x.shape).astype(np.float32) for i, x in enumerate(own.waveforms)]
  voice = voices.Voice(noisy, [log_scale + 0.3 for log_scale in likelihood.log_scale(noisy)])
  rows = {row['metric']: row for row in voices.likelihood_rows('flow/noisy', likelihood, voice, values, seed=0)}
  assert rows['log_scale_difference_median']['value'] == pytest.approx(0.3, abs=1e-5)
  shift = rows['log_prob_mean_shift']
  assert shift['value'] == pytest.approx(np.mean(likelihood.per_sample(noisy)) - values.mean()) and shift['high'] < 0


def test_noise_on_recordings_widens_and_varies_their_encodings(monkeypatch):
  """Of an AR(1) process in closed form, of the frames whose first feature calls them voiced; without noise z is the same."""
  run, std = small_speech.RUN, 2.0
  monkeypatch.setattr(voices.world, 'names', lambda rate, num_cepstra: ('voiced',))
  rows = Rows(row for seed in range(30) for row in voices.noise_rows(run, (0.0, std), seed=seed, devices=1))
  of = lambda name, std: rows.where(metric=f'noisy_encoding_{name}', reference=std).values('value')
  features = np.concatenate([u.features for u in run.source.data.held_out])
  inverse_variance = np.exp(2 - 0.4 * np.tanh(features[features[:, 0] > 0.5, 1])).mean()
  variance = np.mean(of('rms', '0')**2)
  more = std**2 * (1 + float(run.params['weight'])**2) * inverse_variance
  assert np.mean(of('rms', '2')**2) == pytest.approx(variance + more, rel=0.15)  # of 30 times 40 samples
  assert of('correlation', '0') == pytest.approx(1)
  assert np.mean(of('correlation', '2')) == pytest.approx(variance / (variance + more), abs=0.1)


def test_reconstruction_by_the_inverse_is_exact():
  """S = T^-1 gives back the recordings."""
  run = small_speech.RUN
  inverse = Student((None,), lambda key: {}, lambda params, z, cond=None, key=None: type(
      'Output', (), {'x': run.teacher.z_to_x(params, z, cond)}), has_log_det=False)
  for x, u in zip(voices.reconstruction(run, StudentRun({}, inverse, run.params), devices=1), run.source.data.held_out):
    np.testing.assert_allclose(x, u.waveform, atol=1e-4)


@pytest.mark.slow
def test_reproduce_vocoder(tmp_path):
  """The smoke variant, with the phase of the voice, from nothing to JSON, picture and sound; again it does nothing; a recording
  is spoken again."""

  def run_command(*command):
    done = subprocess.run([sys.executable, '-m', *command], capture_output=True, text=True, check=True)
    return done.stdout

  command = ['launch.reproduce', '--figure=vocoder', '--config=configs/vocoder.py:smoke', f'--workdir={tmp_path}',
             '--config.data.phase', '--devices=1']
  first = run_command(*command)
  rows = json.loads((tmp_path / 'vocoder.json').read_text())['rows']
  arms = {row['arm'] for row in rows}
  assert {'recording', 'world', 'whisper', 'teacher', X_RECONSTRUCTION, 'flow/oracle_prediction', KL,
          f'{KL}_spectral', f'{KL}@reconstruction'} <= arms
  assert (tmp_path / 'vocoder.png').exists() and len(list((tmp_path / 'wav').glob('*.wav'))) == 9
  heard = json.loads((tmp_path / 'voice_students.json').read_text())['rows']
  assert {row['arm'] for row in heard} == {X_RECONSTRUCTION, 'flow/oracle_prediction', KL, f'{KL}_spectral'}
  assert run_command(*command) == first
  audio.write(tmp_path / 'in.wav', SPEECH.held_out[0].waveform, FEATURES.rate)
  for arm in ((), (f'--teacher={tmp_path}/teacher',)):
    workdir = tmp_path / 'students' / X_RECONSTRUCTION / 'seed0' if arm else tmp_path / 'teacher'
    said = run_command('launch.sample', f'--workdir={workdir}', *arm, f'--wav={tmp_path}/in.wav',
                       f'--output={tmp_path}/out.wav')
    assert 'real-time factor' in said
    with wave.open(str(tmp_path / 'out.wav')) as file:
      assert file.getnframes() == len(SPEECH.held_out[0].waveform) and file.getframerate() == FEATURES.rate


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
  """Two utterances a call."""
  monkeypatch.setattr(utterances, 'CHUNK', 2)
