"""Utterances of different lengths: the same numbers as one by one, pairs of them, and a student distilled on them."""
import jax
import numpy as np
import pytest
from small_speech import FRAMES, HOP, PARAMS, RUN, TEACHER

from inverse_matching import runs
from inverse_matching.data import pairs
from inverse_matching.errors import InputError
from inverse_matching.runs import utterances
from inverse_matching.runtime import devices


def alone(function, *values):
  """Without padding or neighbours."""
  return [np.asarray(function(*(v[None] for v in value)))[0] for value in zip(*values)]


def test_padding_and_neighbours_change_nothing():
  """T, T^-1 and S of a list of utterances are those of each alone."""
  x, conds = [u.waveform for u in RUN.source.data.train], [u.features for u in RUN.source.data.train]
  z = utterances.encoder(TEACHER, 1)(PARAMS, x, conds)
  expected = alone(jax.jit(lambda x, c: TEACHER.x_to_z(PARAMS, x, c)[0]), x, conds)
  back = utterances.solver_fn(TEACHER, 'auto', 1)(PARAMS, z, conds)
  for got, want, again, wave in zip(z, expected, back, x):
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(again, wave, atol=1e-4)


def test_few_lengths():
  """At least as long, at most half as long again, and a handful for all of a data set."""
  sizes = {n: utterances.bucket(n) for n in range(1, 1000)}
  assert all(n <= size <= max(utterances.SMALLEST, 1.5 * n + 1) for n, size in sizes.items())
  assert len(set(sizes.values())) < 12


def test_prior_draws_belong_to_positions():
  """The same for an utterance whatever stands beside it; standard normal."""
  whole = utterances.prior_draws(TEACHER, 3, np.arange(5), FRAMES, HOP)
  part = utterances.prior_draws(TEACHER, 3, np.array([4, 1]), [FRAMES[4], FRAMES[1]], HOP)
  np.testing.assert_array_equal(part[0], whole[4])
  np.testing.assert_array_equal(part[1], whole[1])
  assert [len(z) for z in whole] == [n * HOP for n in FRAMES]
  long = utterances.prior_draws(TEACHER, 0, np.arange(2), [2000, 2000], HOP)
  assert abs(np.mean(long)) < 0.05 and abs(np.std(long) - 1) < 0.05


def test_pairs_of_speech(tmp_path):
  """From data: each recording with its T(x). From z: draws through T^-1, over the features of all utterances in turn."""
  folder = runs.make_pairs(RUN, tmp_path / 'data', num=5, seed=1, pairs_from='data')
  for stored, u in zip(pairs.dataset(folder, RUN.hash), RUN.source.data.train):
    np.testing.assert_array_equal(stored['x'], u.waveform)
    np.testing.assert_array_equal(stored['cond'], u.features)
    np.testing.assert_allclose(stored['z'], TEACHER.x_to_z(PARAMS, u.waveform[None], u.features[None])[0][0], atol=1e-5)
  folder = runs.make_pairs(RUN, tmp_path / 'z', num=7, seed=1)
  found = list(pairs.dataset(folder, RUN.hash))
  np.testing.assert_array_equal(found[6]['cond'], RUN.source.data.train[1].features)
  assert not np.array_equal(found[6]['z'], found[1]['z'])
  again = TEACHER.x_to_z(PARAMS, found[6]['x'][None], found[6]['cond'][None])[0][0]
  np.testing.assert_allclose(found[6]['z'], again, atol=1e-4)


CONFIG = {
    'student': dict(name='small_speech:student'),
    'loss': dict(name='x_reconstruction', distance='l1'),
    'optimizer': dict(name='adam', learning_rate=0.05, decay_rate=0.8),
    'train': dict(batch_size=4, num_epochs=15, seed=0, ema_decay=0.0, grad_clip=10.0, log_every_steps=9,
                  evaluate_every_epochs=5, checkpoint_every_epochs=5, keep_checkpoints=1),
}


@pytest.mark.parametrize('loss, stored', [(dict(name='x_reconstruction', distance='l1'), 'data'),
                                          (dict(name='regularized_kl'), None)])
def test_a_student_of_speech(tmp_path, loss, stored):
  """Learns the teacher's weight from crops: by reconstruction of stored pairs, and by the regularised KL of its own draws."""
  folder = runs.make_pairs(RUN, tmp_path / 'pairs', num=5, seed=1, pairs_from=stored) if stored else None
  run = runs.distill({**CONFIG, 'loss': loss}, tmp_path / 'student', RUN, folder, devices=1)
  # The student sees noise before, not x: x_t = w x_{t-1} + ... is z_{t-1} s w + ... to first order.
  weight, scale = float(run.params['weight']), np.exp(-1)
  assert 0.5 < weight / (float(PARAMS['weight']) * scale) < 1.5
  loaded = runs.load_student(tmp_path / 'student', RUN)
  assert loaded.params['weight'] == run.params['weight']


def test_refusals(tmp_path):
  """What speech cannot do, and what images cannot."""
  with pytest.raises(InputError, match='no features to speak with'):
    runs.make_pairs(RUN, tmp_path / 'a', num=1, seed=0, pairs_from='sample')
  with pytest.raises(InputError, match='5 training utterances'):
    runs.make_pairs(RUN, tmp_path / 'b', num=6, seed=0, pairs_from='data')


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
  """So that one list takes several calls."""
  monkeypatch.setattr(utterances, 'CHUNK', 2)
  monkeypatch.setattr(devices, 'DEFAULT_CHUNK', 4)
