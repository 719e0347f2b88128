"""Per-example randomness."""
import jax
import numpy as np
import pytest
import scipy.stats

from inverse_matching import random


def test_streams_differ_and_are_per_example():
  """Each purpose has its own keys; key i depends on example i and nothing else."""
  keys = random.keys_at(0, np.arange(4, dtype=np.uint32))
  streams = {p: jax.random.key_data(random.stream(keys, p)).tolist() for p in ('dequantise', 'prior', 'noise', 'dropout')}
  flat = [tuple(key) for value in streams.values() for key in value]
  assert len(set(flat)) == 16
  np.testing.assert_array_equal(jax.random.key_data(random.stream(keys[2:3], 'noise')), [streams['noise'][2]])
  with pytest.raises(KeyError):
    random.stream(keys, 'other')


def test_stream_numbers_are_frozen():
  """They are part of every saved run: purposes may be added, never renumbered."""
  first = {'dequantise': 0, 'prior': 1, 'noise': 2, 'dropout': 3, 'time': 4}
  assert first.items() <= random._STREAMS.items()
  assert len(set(random._STREAMS.values())) == len(random._STREAMS)


def test_keys_at_depends_on_seed_and_position():
  """Position p of a seed is one key, wherever p stands in the batch, up to the largest uint32."""
  positions = np.array([5, 2**32 - 1, 0], np.uint32)
  keys = jax.random.key_data(random.keys_at(3, positions))
  np.testing.assert_array_equal(keys[1:2], jax.random.key_data(random.keys_at(3, positions[1:2])))
  other = jax.random.key_data(random.keys_at(4, positions))
  assert len({tuple(k) for k in [*keys.tolist(), *other.tolist()]}) == 6


@pytest.mark.parametrize('draw,cdf', [(random.normal, scipy.stats.norm.cdf), (random.uniform, scipy.stats.uniform.cdf)])
def test_draws_have_their_distribution(draw, cdf):
  """20,000 draws over examples and dimensions pass a Kolmogorov-Smirnov test."""
  keys = random.keys_at(0, np.arange(200, dtype=np.uint32))
  values = np.asarray(draw(keys, (10, 10)))
  assert values.shape == (200, 10, 10)
  assert scipy.stats.kstest(values.ravel(), cdf).pvalue > 1e-3
  assert len(np.unique(values[:, 0, 0])) == 200
  if draw is random.uniform:
    assert values.min() > 0 and values.max() < 1
