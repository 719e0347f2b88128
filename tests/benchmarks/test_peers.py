"""The comparisons with other libraries compare the same thing; where those are missing, one sentence says what to install."""
import sys

import jax
import numpy as np
import pytest

from benchmarks import interleaved, peers
from inverse_matching import losses, random, teachers
from inverse_matching.errors import InputError
from inverse_matching.types import Batch

NETWORK = dict(num_blocks=1, num_filters=4, num_levels=2)


def test_rounds_take_turns():
  """Every function once a round; of the ratios of the rounds, the median and the quartiles."""
  calls = []
  seconds = interleaved.seconds({name: lambda name=name: calls.append(name) for name in 'ab'}, 3)
  assert calls == list('ababab') and all(values.shape == (3,) and np.all(values >= 0) for values in seconds.values())
  ours, peer = np.array([1.0, 2.0, 4.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0, 5.0, 3.0])
  assert peers.compared(ours, peer) == {'seconds': 1.0, 'peer_seconds': 2.0, 'ratio': 2.0, 'low': 1.0, 'high': 3.0}


@pytest.mark.parametrize('module,run', [('torch', lambda: peers.train_step(8, NETWORK, 2, 1)),
                                        ('flowjax', lambda: peers.sampling('digits', 8, 1, 1, [1], 1))])
def test_what_is_not_installed(monkeypatch, module, run):
  """The sentence has the command."""
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(InputError, match=rf'{module} is not installed.*: run pip install {module}==[\d.]+, or choose the other'):
    run()


def test_different_results_are_not_compared():
  """Relative to the largest value; what is not a number is not equal."""
  assert peers.difference('x', np.array([1.0, 100.0]), np.array([1.001, 100.0])) == pytest.approx(1e-5)
  for theirs in (100.1, np.nan):
    with pytest.raises(InputError, match='should have the same x, but differ by'):
      peers.difference('x', np.array([1.0, 100.0]), np.array([1.0, theirs]))


@pytest.mark.slow
def test_the_network_in_pytorch():
  """It trains as ours: the same losses in each of some steps, on images whose size is odd at both resolutions."""
  torch = pytest.importorskip('torch')
  x = np.random.default_rng(0).normal(size=(3, 5, 5, 1)).astype(np.float32)
  teacher = teachers.make('pixelcnn', (5, 5, 1), **NETWORK)
  params = teacher.init(jax.random.key(0))
  advance = peers.trainer(teacher, params, lambda raw: Batch(x=raw, key=random.keys_at(0, np.arange(3, dtype=np.uint32))))
  theirs = peers.torch_trainer(torch, NETWORK, params, x, None)
  np.testing.assert_allclose([theirs() for _ in range(4)], [advance(x)[0] for _ in range(4)], rtol=1e-4)
  assert peers.torch_trainer(torch, NETWORK, params, x, torch.bfloat16)() == pytest.approx(
      float(np.mean(losses.maximum_likelihood(teacher)(params, None, Batch(x=x))[0])), rel=0.02)


def test_rows_of_a_training_step():
  """Against both of PyTorch's."""
  pytest.importorskip('torch')
  rows = peers.train_step(5, NETWORK, 2, 2)
  assert [row['peer'] for row in rows] == ['torch float32', 'torch bfloat16']
  assert all(row['low'] <= row['ratio'] <= row['high'] and row['batch'] == 2 for row in rows)


@pytest.mark.slow
def test_the_flow_of_flowjax():
  """The teacher has its z and log-determinant; what is solved is what flowjax inverts, by either solver."""
  pytest.importorskip('flowjax')
  from benchmarks import flowjax_maf
  bijection = flowjax_maf.bijection(6, 8, 1)
  teacher = flowjax_maf.teacher((2, 3), bijection)
  x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
  z, log_det = teacher.x_to_z(teacher.init(jax.random.key(0)), x)
  expected, expected_log_det = jax.vmap(bijection.transform_and_log_det)(x.reshape(4, 6))
  np.testing.assert_allclose(z.reshape(4, 6), expected, atol=1e-5)
  np.testing.assert_allclose(log_det, expected_log_det, atol=1e-5)
  rows = peers.sampling('digits', 8, 1, 2, [1, 3], 1)
  assert [(row['ours'], row['batch']) for row in rows] == [
      (name, batch) for batch in (1, 3) for name in ('fixed_point', 'ancestral')]
  assert all(row['difference'] <= peers.TOLERANCE for row in rows) and rows[1]['sweeps'] == 64
