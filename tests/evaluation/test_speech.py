"""Measures of speech: closed forms on simple sounds, and a verdict on what is known to be a voice, a whisper or noise."""
import json
import sys
import types

import numpy as np
import pytest

from inverse_matching.data.speech import dataset as speech_data
from inverse_matching.errors import InputError
from inverse_matching.evaluation import speech
from inverse_matching.runtime import files

pytest.importorskip('pyworld')
RATE = 8000


@pytest.fixture(scope='module')
def arms():
  """Controls of synthetic speech, arm -> pairs."""
  source = speech_data.synthetic(crop_frames=10, burn_in_frames=2)
  data, features = source.data, source.space.codec
  found = {}
  for i, utterance in enumerate(data.held_out):
    for arm, candidate in speech.controls(utterance.waveform, features.raw(utterance.features), RATE, seed=i).items():
      found.setdefault(arm, []).append((utterance.waveform, candidate))
  return found


@pytest.fixture(scope='module')
def measured(arms):
  return {arm: speech.measure(pairs, RATE) for arm, pairs in arms.items()}


def values(measured):
  return {metric: speech.value(measured, metric) for metric in speech.metrics(measured)}


def tone(f0, seconds=1.0):
  """Many harmonics of f0."""
  time = np.arange(int(seconds * RATE)) / RATE
  return 0.1 * sum(np.cos(2 * np.pi * k * f0 * time + k * k) / k for k in range(1, int(3500 / f0)))


def test_a_recording_is_itself(measured):
  """Nothing is wrong with it, and the intervals say so."""
  perfect = {'voiced_recall': 1, 'voicing_f1': 1, 'periodicity_ratio': 1, 'periodic_share': 1, 'stoi': 1}
  for row in speech.rows('recording', measured['recording'], seed=0):
    for value in (row['value'], row['low'], row['high']):
      assert value == pytest.approx(perfect.get(row['metric'], 0), abs=1e-9)
    assert row['arm'] == 'recording' and row['n'] == 8 and row['reference'] == 'data' and row['seed'] == 0


def test_controls(measured):
  """The vocoder WORLD is a voice; noise in its place is a whisper, of nearly the same envelope; other noise is neither, nor
  is a voice with as much noise."""
  assert {arm: speech.label(m) for arm, m in measured.items()} == {
      'recording': 'voice', 'world': 'voice', 'hoarse': 'neither', 'whisper': 'whisper', 'noise': 'neither',
      'shaped_noise': 'neither'}
  found = {arm: values(m) for arm, m in measured.items()}
  assert found['world']['voiced_recall'] > 0.9 and found['whisper']['voiced_recall'] < 0.1
  assert found['world']['periodicity_ratio'] > 0.9 and found['whisper']['periodicity_ratio'] < 0.3
  assert found['world']['periodic_share'] > 0.95 and found['whisper']['periodic_share'] < 0.15
  assert 0.4 < found['hoarse']['periodic_share'] < 0.9
  assert found['world']['voicing_error'] < 0.1 < 0.4 < found['whisper']['voicing_error']
  assert found['world']['f0_error_cents'] < 50
  for worse, better in (('whisper', 'world'), ('noise', 'whisper')):
    assert found[worse]['mel_cepstral_distortion_db'] > found[better]['mel_cepstral_distortion_db'] + 1
  blind = 'log_spectral_distance_db'  # to the voice
  assert abs(found['whisper'][blind] - found['world'][blind]) < 2
  for m in measured.values():
    for row in speech.rows('arm', m, seed=1):
      assert not np.isfinite(row['value']) or not np.isfinite(row['low']) or row['low'] <= row['value'] <= row['high']


def test_louder_and_softer(arms, measured):
  """A gain is its decibels in every band, 1e-6, and a collapse of scale, not a whisper; voice and periodicity stay. What is
  loud beyond full scale is cut."""
  for gain in (0.1, 0.4):
    found = speech.measure([(x, gain * x) for x, _ in arms['recording']], RATE)
    for metric, value in values(found).items():
      if metric.startswith('band_') and metric not in ('band_error_db', 'band_worst_db'):
        assert value == pytest.approx(20 * np.log10(gain), abs=1e-6)
    for metric in ('band_error_db', 'band_worst_db'):
      assert values(found)[metric] == pytest.approx(-20 * np.log10(gain), abs=1e-6)
    for metric in ('voiced_recall', 'periodicity_ratio'):
      assert values(found)[metric] == pytest.approx(1, abs=0.02)
    assert speech.label(found) == 'scale collapse'
  for candidates in ([0.1 * y for _, y in arms['whisper']], [1e9 * x for x, _ in arms['recording']]):
    assert speech.label(speech.measure([(x, y) for (x, _), y in zip(arms['recording'], candidates)], RATE)) == 'scale collapse'


def test_lost_numbers_are_told_and_measured(arms, caplog):
  """A sample that is not finite, or huge, is a click, and does not hide the rest."""
  pairs = [(x, np.where(np.arange(len(x)) == 100, lost, x)) for (x, _), lost in zip(arms['recording'], (np.nan, np.inf, 1e30))]
  found = speech.measure(pairs, RATE)
  assert '2 of 3 candidates have samples that are NaN or infinite' in caplog.text
  assert speech.label(found) == 'voice' and all(np.isfinite(value) for value in values(found).values())


def test_pitch_in_cents():
  """A semitone is 100 cents, 2 cents; octaves are not folded."""
  for cents in (100, -100, 700):
    found = values(speech.measure([(tone(150), tone(150 * 2**(cents / 1200)))], RATE))
    assert found['f0_error_cents'] == pytest.approx(abs(cents), abs=2) and found['voiced_recall'] > 0.95


def test_voicing_of_one_half():
  """A voice in the first half of a voiced recording has recall 1/2, precision 1 and F1 2/3; in the other order recall is 1."""
  whole, noise = tone(150, 2.0), 1e-3 * np.random.default_rng(0).normal(size=2 * RATE)
  half = np.where(np.arange(2 * RATE) < RATE, whole, noise)
  for pair, recall in (((whole, half), 0.5), ((half, whole), 1.0)):
    found = values(speech.measure([pair], RATE))
    assert found['voiced_recall'] == pytest.approx(recall, abs=0.03) and found['voicing_f1'] == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize('share', [0.0, 0.3, 0.5, 1.0])
def test_periodicity_is_the_share_of_the_periodic_power(share):
  """Of a sum of a tone and white noise, 0.1: noise has no correlation but what the best of three lags finds by chance."""
  reference = tone(120, 2.0)
  noise = np.random.default_rng(0).normal(size=len(reference)) * np.std(reference)
  found = values(speech.measure([(reference, np.sqrt(share) * reference + np.sqrt(1 - share) * noise)], RATE))
  assert found['periodicity_ratio'] == pytest.approx(share, abs=0.1)


def test_spectral_distances():
  """A gain of white noise is its decibels, 0.05, and no distortion of the envelope; what is under the floor does not count."""
  rng = np.random.default_rng(0)
  noise = 0.1 * rng.normal(size=RATE)
  found = values(speech.measure([(noise, 2 * noise)], RATE))
  assert found['log_spectral_distance_db'] == pytest.approx(20 * np.log10(2), abs=0.05)
  assert found['mel_cepstral_distortion_db'] < 0.05
  quiet = values(speech.measure([(1e-5 * noise, np.zeros(RATE))], RATE))
  assert quiet['log_spectral_distance_db'] < 0.01 and quiet['mel_cepstral_distortion_db'] < 0.01
  hiss = values(speech.measure([(np.zeros(RATE), 0.1 * noise)], RATE))
  assert hiss['log_spectral_distance_db'] > 15


def test_distortion_of_a_known_filter():
  """Root mean square over the mel axis of the decibels of a filter, without their mean, 20%."""
  noise = 0.1 * np.random.default_rng(0).normal(size=4 * RATE)
  filtered = np.convolve(noise, [1, 0.8])[:len(noise)]
  mel = np.linspace(1127 * np.log1p(40 / 700), 1127 * np.log1p(RATE / 2 / 700), 1000)
  frequencies = 700 * np.expm1(mel / 1127)
  decibels = 20 * np.log10(np.abs(1 + 0.8 * np.exp(-2j * np.pi * frequencies / RATE)))
  found = values(speech.measure([(noise, filtered)], RATE))
  assert found['mel_cepstral_distortion_db'] == pytest.approx(np.std(decibels), rel=0.2)


def test_contrasts_are_paired(measured):
  """None between an arm and itself, with no spread; one that 0 is outside of, between a voice and a whisper; a mean of several
  is that of their values."""
  same = [(measured['world'], measured['world'])]
  assert speech.contrast_interval(same, 'voiced_recall', seed=0) == (0, 0, 0)
  for metric, least in (('voiced_recall', 0.25), ('periodicity_ratio', 0.15)):
    pairs = [(measured['world'], measured['whisper'])]
    value, low, high = speech.contrast_interval(pairs, metric, seed=0)
    assert value == speech.contrast(pairs, metric)
    assert value == pytest.approx(values(measured['world'])[metric] - values(measured['whisper'])[metric])
    assert least < low <= value <= high
    halved = speech.contrast_interval([*pairs, *same], metric, seed=0)
    assert halved == pytest.approx((value / 2, low / 2, high / 2))
    alone = speech.contrast([(measured['world'], None), (measured['noise'], None)], metric)
    assert alone == pytest.approx((values(measured['world'])[metric] + values(measured['noise'])[metric]) / 2)
  one = speech.Measured({metric: sums[:1] for metric, sums in measured['world'].sums.items()}, 1)
  with pytest.raises(InputError, match='between 1 and 8 recordings'):
    speech.contrast([(measured['world'], one)], 'voiced_recall')
  with pytest.raises(InputError, match='pesq was not measured: use one of voiced_recall, '):
    speech.value(one, 'pesq')


def test_pieces_of_a_recording_are_one(arms):
  """Cut into pieces that are the same, recordings have the values and intervals of whole ones: no more is known of them."""
  whole = speech.measure(arms['whisper'], RATE)
  cut = speech.measure([pair for pair in arms['whisper'] for _ in range(3)], RATE,
                       [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(whole.n)])
  assert cut.n == whole.n
  for metric in speech.metrics(whole):
    if metric != 'stoi':  # it is of runs of recordings, which are longer now
      interval = [speech.contrast_interval([(each, None)], metric, seed=0) for each in (whole, cut)]
      np.testing.assert_allclose(*interval, rtol=1e-6, err_msg=metric)


def test_noise_with_the_spectrum_of_speech_is_no_whisper(measured):
  """It has no voice and the level of each band; what tells it is that it says nothing."""
  found = values(measured['shaped_noise'])
  assert found['voiced_recall'] < speech.WHISPERED_RECALL and found['band_error_db'] < speech.COLLAPSED_DB
  if 'stoi' in found:  # pystoi is there
    assert found['stoi'] < speech.INTELLIGIBLE < values(measured['whisper'])['stoi']


@pytest.mark.parametrize('recall,ratio,bands,expected', [
    (0.9, 0.9, (0, 0), 'voice'), (0.9, 0.7, (0, 0), 'neither'), (0.79, 0.9, (0, 0), 'neither'), (0.49, 0.39, (5, 5), 'whisper'),
    (0.51, 0.39, (0, 0), 'neither'), (0.49, 0.41, (0, 0), 'neither'),
    (0.0, 0.0, (-7, -7), 'scale collapse'), (0.9, 0.9, (7, 7), 'scale collapse'),
    (0.0, 0.0, (-10, 10), 'neither'), (0.0, 0.0, (-np.inf, 0), 'scale collapse'),
    (np.nan, np.nan, (np.nan, 0), 'scale collapse'),
])
def test_labels(recall, ratio, bands, expected):
  """On either side of each threshold."""
  sums = {'voiced_recall': [[recall, 1]], 'periodicity_ratio': [[ratio, 1]],
          'band_0_500_db': [[10**(bands[0] / 10), 1]], 'band_500_1000_db': [[10**(bands[1] / 10), 1]]}
  assert speech.label(speech.Measured({metric: np.array(value, float) for metric, value in sums.items()}, 1)) == expected


def test_intelligibility(arms, measured, monkeypatch):
  """A whisper has less, noise hardly any; short words are joined; it is left out without pystoi or enough speech."""
  pytest.importorskip('pystoi')
  found = {arm: values(m)['stoi'] for arm, m in measured.items()}
  assert found['world'] > found['whisper'] > found['noise'] + 0.2
  assert measured['world'].sums['stoi'][:, 1].tolist() == [5 * 5600, 3 * 5600], 'runs of 3 seconds or what is left'
  assert 'stoi' not in speech.measure([(x[1000:3000], x[1000:3000]) for x, _ in arms['recording'][:1]], RATE).sums
  monkeypatch.setitem(sys.modules, 'pystoi', None)
  assert 'stoi' not in {row['metric'] for row in speech.rows('arm', speech.measure(arms['recording'], RATE), seed=0)}


def test_listeners(monkeypatch):
  """The score of the candidate, each utterance the same weight; at 16 kHz alone, and left out without the package."""
  loudness = types.SimpleNamespace(run=lambda waveform, rate: {'ovrl_mos': float(np.abs(waveform).max()), 'bak_mos': 0.0})
  monkeypatch.setitem(sys.modules, 'speechmos', types.SimpleNamespace(dnsmos=loudness))
  pairs = [(tone(150, seconds), level * np.ones(int(seconds * RATE))) for seconds, level in ((1.0, 0.25), (2.0, 0.75))]
  assert speech.value(speech.measure(pairs, 16000), 'dnsmos') == 0.5
  assert 'dnsmos' not in speech.metrics(speech.measure(pairs, RATE))
  monkeypatch.setitem(sys.modules, 'speechmos', None)
  assert 'dnsmos' not in speech.metrics(speech.measure(pairs, 16000))


def test_nothing_to_measure_is_null(arms, tmp_path):
  """Silence has no pitch: the number is missing in the file, and the others are there."""
  found = speech.rows('silence', speech.measure([(x, 0 * x) for x, _ in arms['recording']], RATE), seed=0)
  files.write_json(tmp_path / 'a.json', found)
  read = {row['metric']: row['value'] for row in json.loads((tmp_path / 'a.json').read_text())}
  assert read['f0_error_cents'] is None and read['voiced_recall'] == 0 and read['periodicity_ratio'] == 0
  assert read['band_mean_db'] < -100


def test_bad_input():
  """One sentence."""
  x = tone(120)
  for pairs, words in (([], 'no utterances'), ([(x, x[:-1])], r'shape \(8000,\) and a candidate of shape \(7999,\)'),
                       ([(np.full(8000, np.nan), x)], 'NaN or infinite'), ([(x[:30], x[:30])], 'less than one frame')):
    with pytest.raises(InputError, match=words):
      speech.measure(pairs, RATE)
