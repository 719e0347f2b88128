"""Utterances as a vocoder sees them: normalised features, waveforms with noise that is always the same."""
import numpy as np
import pytest

from inverse_matching.data import catalogue
from inverse_matching.data.speech import audio, phase, recordings, world
from inverse_matching.data.speech import dataset as speech
from inverse_matching.errors import InputError

pytest.importorskip('soundfile')
pytest.importorskip('pyworld')
FRAMING = dict(crop_frames=20, burn_in_frames=5)


@pytest.fixture(scope='module')
def synthetic():
  return speech.synthetic(**FRAMING, dither=0.0)


@pytest.fixture(scope='module')
def data_dir(synthetic, tmp_path_factory):
  """Eight of the synthetic utterances, as recordings of one's own; an eighth is held out."""
  path = tmp_path_factory.mktemp('speech')
  for utterance in synthetic.data.train[:8]:
    audio.write(path / 'mine' / f'{utterance.name}.wav', utterance.waveform, synthetic.space.codec.rate)
  recordings.prepare('recordings', path, path / 'mine', rate=8000, held_out=0.25)
  return path


def load(data_dir, **settings):
  return speech.prepared('recordings', **FRAMING, data_dir=data_dir, **settings)


def test_every_utterance_has_whole_frames(synthetic, data_dir):
  """T = F hop; every name once."""
  for data, sizes in ((synthetic, (24, 8)), (load(data_dir), (6, 2))):
    codec, data = data.space.codec, data.data
    assert (len(data.train), len(data.held_out)) == sizes and (codec.rate, codec.hop, codec.num_cepstra) == (8000, 40, 24)
    everything = (*data.train, *data.held_out)
    assert len({utterance.name for utterance in everything}) == sum(sizes)
    for utterance in everything:
      assert utterance.waveform.shape == (40 * len(utterance.features),) and utterance.features.shape[1] == 26
      assert utterance.waveform.dtype == utterance.features.dtype == np.float32


def test_features_are_normalised(data_dir):
  """Mean 0 and standard deviation 1 over the training frames, 1e-4, but for the voiced flag; `raw` gives back what WORLD said,
  however few utterances are taken."""
  source = load(data_dir, dither=0.0)
  data, codec = source.data, source.space.codec
  frames = np.concatenate([utterance.features for utterance in data.train])
  voiced = world.names(8000, 24).index('voiced')
  assert set(np.unique(frames[:, voiced])) == {0.0, 1.0}
  rest = np.delete(frames, voiced, 1)
  np.testing.assert_allclose(rest.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(rest.std(0), 1, atol=1e-4)
  fewer = load(data_dir, dither=0.0, num_train=1)
  np.testing.assert_array_equal(fewer.space.codec.mean, codec.mean)
  for utterance in (*fewer.data.train, *data.held_out):
    np.testing.assert_allclose(codec.raw(utterance.features), world.analyse(utterance.waveform, 8000, 24), atol=2e-5)


def test_pieces(data_dir):
  """Side by side they are the held-out utterances, of equal length to a frame; training utterances stay whole."""
  whole, cut = load(data_dir, phase=True).data, load(data_dir, phase=True, piece_seconds=0.2).data
  assert [u.name for u in cut.train] == [u.name for u in whole.train]
  pieces = iter(cut.held_out)
  for utterance in whole.held_out:
    count = round(len(utterance.features) / 40)
    parts = [next(pieces) for _ in range(count)]
    assert count > 1 and [part.name for part in parts] == [f'{utterance.name}_{k}' for k in range(count)]
    assert {len(part.features) for part in parts} <= {len(utterance.features) // count, -(-len(utterance.features) // count)}
    for field in ('waveform', 'features'):
      np.testing.assert_array_equal(np.concatenate([getattr(part, field) for part in parts]), getattr(utterance, field))
  assert next(pieces, None) is None
  for seconds in (1e3, 1e-9):  # never more pieces than frames, nor fewer than one
    assert len(load(data_dir, piece_seconds=seconds).data.held_out) == (
        2 if seconds > 1 else sum(len(u.features) for u in whole.held_out))
  with pytest.raises(InputError, match='piece_seconds must be above 0'):
    load(data_dir, piece_seconds=0.0)


def test_three_parts_without_a_common_utterance(data_dir):
  """Validation utterances are the last of training, cut like the held-out ones, which stay as they are and stand in where none
  are set apart; an epoch is as many crops as hold the frames of training."""
  plain, split = load(data_dir), load(data_dir, num_validation=2)
  names = lambda part: [utterance.name for utterance in part]
  assert names(split.data.train) == names(plain.data.train)[:4]
  assert names(split.data.validation) == names(plain.data.train)[4:]
  assert names(split.data.held_out) == names(plain.data.held_out) and plain.data.validation == ()
  seen = lambda part: {bytes(x) for x in part['x']}
  assert seen(split.validation).isdisjoint(seen(split.held_out)) and seen(plain.validation) == seen(plain.held_out)
  assert seen(split.held_out) == seen(plain.held_out)
  frames = sum(len(utterance.features) for utterance in split.data.train)
  assert split.space.epoch_size == frames // (FRAMING['crop_frames'] - FRAMING['burn_in_frames'])
  pieces = load(data_dir, num_validation=2, piece_seconds=0.2).data
  assert len(pieces.validation) > 2 and {piece.recording for piece in pieces.validation} == set(names(split.data.validation))


def test_phase(data_dir):
  """Follows WORLD's features, which are as they were; those of the waveform without the noise, in voiced frames alone."""
  plain, data = load(data_dir), load(data_dir, phase=True)
  voiced = world.names(8000, 24).index('voiced')
  for a, b in zip(plain.data.held_out, data.data.held_out):
    assert b.features.shape[1] == 26 + phase.SIZE and b.features.dtype == np.float32
    np.testing.assert_array_equal(b.features[:, :26], a.features)
    np.testing.assert_array_equal(b.waveform, a.waveform)
    np.testing.assert_array_equal(data.space.codec.raw(b.features), plain.space.codec.raw(a.features))
    np.testing.assert_array_equal(np.any(b.features[:, 26:] != 0, axis=1), a.features[:, voiced] > 0.5)


def test_dither(data_dir):
  """Gaussian of the standard deviation asked for, within 3%; the same for an utterance whichever others there are."""
  plain, noisy = load(data_dir, dither=0.0).data, load(data_dir, dither=0.01).data
  noise = np.concatenate([n.waveform - p.waveform for n, p in zip(noisy.train, plain.train)])
  assert abs(noise.std() / 0.01 - 1) < 0.03 and abs(noise.mean()) < 5e-4
  assert abs(np.mean(np.abs(noise) < 0.01) - 0.6827) < 0.02
  assert not np.array_equal(noise[:4000], noise[len(plain.train[0].waveform):][:4000])
  np.testing.assert_array_equal(load(data_dir, dither=0.01, num_train=2).data.train[1].waveform, noisy.train[1].waveform)
  files = {u.name: audio.read(data_dir / 'mine' / f'{u.name}.wav').waveform for u in plain.train}
  for utterance in plain.train:
    np.testing.assert_array_equal(utterance.waveform, files[utterance.name][:len(utterance.waveform)])
  for phase_too in (False, True):
    plain, noisy = (load(data_dir, dither=dither, phase=phase_too).data for dither in (0.0, 0.01))
    np.testing.assert_array_equal(plain.train[0].features, noisy.train[0].features)


def test_fewer_utterances_are_the_first_of_a_seeded_order(data_dir):
  """Fewer are a part of more."""
  names = lambda split: [utterance.name for utterance in split]
  data = load(data_dir).data
  assert names(load(data_dir, num_train=3, num_held_out=1).data.train) == names(data.train)[:3]
  assert names(load(data_dir, split_seed=1).data.train) != names(data.train)
  assert sorted(names(load(data_dir, split_seed=1).data.train)) == sorted(names(data.train))


def test_synthetic_speech_needs_no_files(synthetic):
  """The same whenever it is made; half of the frames are voiced, at pitches of a voice; the splits differ."""
  again = speech.synthetic(**FRAMING, dither=0.0)
  np.testing.assert_array_equal(again.data.train[3].waveform, synthetic.data.train[3].waveform)
  frames = synthetic.space.codec.raw(np.concatenate([utterance.features for utterance in synthetic.data.train]))
  voiced = frames[:, 25] > 0.5
  assert 0.3 < voiced.mean() < 0.7
  assert 45 < np.exp(frames[voiced, 24]).min() and np.exp(frames[voiced, 24]).max() < 220
  train = [utterance.waveform for utterance in synthetic.data.train]
  assert not any(np.array_equal(utterance.waveform, other) for utterance in synthetic.data.held_out for other in train)


def test_wrong_settings_get_a_sentence(data_dir):
  """Numbers, names, and the settings of another data set."""
  for settings, words in (({'num_train': 7}, 'num_train is 7, but recordings has 6 such utterances: give 1 to 6, or None'),
                          ({'num_held_out': 0}, 'num_held_out is 0'), ({'dither': -1.0}, 'dither must be a share'),
                          ({'num_validation': 6}, 'num_validation is 6, but there are 6 training utterances: give 1 to 5')):
    with pytest.raises(InputError, match=words):
      load(data_dir, **settings)
  with pytest.raises(InputError, match="Unknown data set 'spoken_digits' .did you mean 'spoken_digit'"):
    catalogue.load({'name': 'spoken_digits'})
  with pytest.raises(InputError, match="does not fit 'synthetic': .*'data_dir'; its own fields are crop_frames, burn_in"):
    catalogue.load({'name': 'synthetic', **FRAMING, 'data_dir': data_dir})
