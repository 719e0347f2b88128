"""Rarity, stiffness and noise, each moved by itself."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching import losses
from inverse_matching.analysis import expansion
from inverse_matching.experiments.experiment import Rows
from inverse_matching.experiments.gaussian import lanes, mechanism, training
from inverse_matching.types import Batch


@pytest.mark.parametrize('start', list(mechanism.STARTS))
def test_other_coordinates_change_the_condition_number_alone(start):
  """P of the signal and KL stay, of each seed; every start has another P."""
  zero, found = np.zeros(8), {}
  for condition in (1.0, 100.0):
    pair = mechanism.in_coordinates(condition, start, 8, 3, seed=1)
    np.testing.assert_allclose(np.linalg.cond(pair.teacher), condition, rtol=1e-6)
    found[condition] = ([expansion.expansion_probability_factors(zero, s, t) for t, s in zip(*pair)],
                        lanes.kl_gaussians(np.zeros((3, 8)), pair.student, pair.teacher))
  for a, b in zip(found[1.0], found[100.0]):
    np.testing.assert_allclose(a, b, rtol=1e-6)
  probability = np.mean(found[1.0][0])
  assert {'rare': probability < 0.1, 'even': 0.4 < probability < 0.6, 'always': probability > 0.999}[start]


def test_one_end_of_the_spectrum():
  sigma = np.array([0.1, 1.0, 1.0])
  pair = mechanism.with_spectrum(sigma, 2, seed=0)
  np.testing.assert_allclose(np.sort(np.linalg.svd(pair.teacher, compute_uv=False)), np.tile(np.sort(sigma), (2, 1)), rtol=1e-6)
  np.testing.assert_array_equal(pair.student, np.tile(np.eye(3), (2, 1, 1)))


def test_each_pair_is_trained_at_each_of_the_rates(record):
  """And is told of at that one after which the KL of its seeds is lowest, by the median."""
  pairs = {('a',): mechanism.with_spectrum(np.array([0.5, 2.0]), 3, seed=0),
           ('b',): mechanism.with_spectrum(np.array([0.1, 1.0]), 3, seed=1)}
  kls = {('a', 0.5): [4.0, 1.0, 4.0], ('a', 0.25): [3.0, 3.0, 9.0], ('b', 0.5): [5.0, 2.0, 1.0], ('b', 0.25): [7.0, 8.0, 9.0]}

  def final(call):
    """The KL of each lane by what it is trained with: the smallest singular value of its teacher tells its pair."""
    smallest = np.linalg.svd(np.asarray(call.models.teacher_params['matrix']), compute_uv=False)[:, -1]
    lanes_of = zip(np.where(smallest > 0.3, 'a', 'b'), np.asarray(call.models.teacher_params['rate'], np.float64))
    return np.array([kls[str(name), rate][i % 3] for i, (name, rate) in enumerate(lanes_of)])

  record(mechanism, '_final', final)
  found = mechanism._trained(pairs, 'sgd', {'rates': {'sgd': (0.5, 0.25), 'adam': (1.0,)}, 'num_seeds': 3, 'seed': 0})
  assert {cell: (of['rate'], of['kls'].tolist()) for cell, of in found.items()} == {
      ('a',): (0.25, [3.0, 3.0, 9.0]), ('b',): (0.5, [5.0, 2.0, 1.0])}


def test_what_diverged_is_infinitely_far(record):
  """With a mean or a matrix that is not finite; the other lanes have the KL of where they ended."""
  pair = mechanism.with_spectrum(np.array([0.5, 2.0]), 3, seed=0)
  models = mechanism._models([pair], [0.1], 0)
  mean, matrix = np.zeros((3, 2), np.float32), np.array(models.teacher_params['matrix'])
  mean[0, 1] = matrix[1, 0, 1] = np.nan
  trained = record(training, 'train', lambda call: training.Trained({'mean': mean, 'matrix': matrix}, None, None))
  found = mechanism._final(models, 'reverse_kl', 'adam', {})
  np.testing.assert_allclose(found, [np.inf, np.inf, 0.0], atol=1e-9)
  assert trained[0].models is models


def test_rows_of_a_pair_say_how_rare_its_signal_is(record):
  """And how far apart it is at the start, each of its seeds, as its name and the closed form for relative variances say."""
  record(mechanism, '_final', lambda call: np.arange(len(call.models.keys)))
  rows = mechanism._coordinates({'dimension': 8, 'num_seeds': 2, 'seed': 1, 'conditions': (1.0, 10.0),
                                 'rates': {name: (0.1,) for name in mechanism.OPTIMIZERS}})
  assert len(rows) == len(mechanism.OPTIMIZERS) * 3 * 2 * 2
  for start, variances in mechanism.STARTS.items():
    of = rows.where(start=start)
    np.testing.assert_allclose(of.values('kl_start'), sum(4 * (v - 1 - np.log(v)) / 2 for v in variances), rtol=1e-6)
    for probability in of.values('probability'):
      assert {'rare': probability < 0.1, 'even': 0.4 < probability < 0.6, 'always': probability > 0.999}[start]
    for name in mechanism.OPTIMIZERS:  # a lane for each condition and seed
      assert [(row['condition'], row['seed'], row['kl']) for row in of.where(optimizer=name)] == [
          (1.0, 0, 0), (1.0, 1, 1), (10.0, 0, 2), (10.0, 1, 3)]


def _gradients(keep, which, num=4000):
  """[num, parameters]: the gradients of batches of 16 under a thinned loss."""
  models = lanes.make(3, ['I'], 1, seed=4)
  teacher_params = jax.tree.map(lambda leaf: leaf[0], models.teacher_params)
  params = {'mean': teacher_params['mean'] + 0.1, 'matrix': 0.8 * teacher_params['matrix'] + 0.1 * jnp.eye(3)}
  loss = (losses.make('reverse_kl', models.teacher, models.student) if which is None else
          mechanism.thinned(models.teacher, models.student, keep=keep, which=which))

  def gradient(key):
    keys = jax.random.split(key, 16)
    batch = Batch(key=keys, z=jax.vmap(lambda k: jax.random.normal(k, (3,)))(keys))
    grads = jax.grad(lambda p: jnp.mean(loss(p, teacher_params, batch)[0]))(params)
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(grads)])

  return np.asarray(jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(0), num)), np.float64)


def test_thinned_gradients_are_unbiased_and_of_equal_variance():
  """Both ways of dropping leave the mean, and have the same second moment, larger than that of all samples."""
  plain = _gradients(1.0, None)
  moments = []
  for which in ('signal', 'any'):
    found = _gradients(0.1, which)
    error = np.sqrt(found.var(0) / len(found) + plain.var(0) / len(plain))
    assert np.all(np.abs(found.mean(0) - plain.mean(0)) < 4.5 * error), which
    moments.append(np.sum(found.var(0)))
  assert moments[0] > 1.5 * np.sum(plain.var(0))
  np.testing.assert_allclose(moments[0], moments[1], rtol=0.15)


def test_shares_of_variance():
  """Of a table that is a sum of effects, the effects' shares; they add to 1."""
  rng, rows = np.random.default_rng(0), Rows()
  for condition, by_condition in ((1.0, -2.0), (10.0, 2.0)):
    for start, by_start in (('a', -1.0), ('b', 0.0), ('c', 1.0)):
      rows += [{'condition': condition, 'start': start, 'kl': np.exp(by_condition + by_start + 0.01 * e)}
               for e in rng.normal(size=20)]
  found = mechanism.shares(rows)
  assert sum(found.values()) == pytest.approx(1)
  np.testing.assert_allclose([found['condition'], found['start']], [4 / (4 + 2 / 3), (2 / 3) / (4 + 2 / 3)], atol=0.01)
  assert found['both'] < 0.01 and found['seeds'] < 0.01
