"""What training and samples cost."""
import jax.numpy as jnp
import pytest

from inverse_matching.experiments import costs


@pytest.mark.parametrize('loss,stored,expected', [
    (dict(name='oracle_prediction'), 30, (1, 0, 30)), (dict(name='x_reconstruction'), None, (1, 1000, 0)),
    (dict(name='x_reconstruction'), 40, (1, 40, 0)), (dict(name='reverse_kl'), None, (1, 1000, 0)),
    (dict(name='energy_score'), None, (2, 0, 0)), (dict(name='energy_oracle', num_draws=3), 30, (4, 0, 30)),
    (dict(name='mixture'), 30, (2, 1000, 30)), (dict(name='flow_matching', coupling='independent'), None, (1, 0, 0)),
    (dict(name='flow_matching'), None, (1, 1000, 0))])
def test_calls(loss, stored, expected):
  """Of 1,000 examples, by hand."""
  passes, of_t, inverse = expected
  assert costs.passes(loss) == passes
  assert costs.calls(loss, 1000, stored) == {'S': passes * 1000, 'T': of_t, 'T^-1': inverse}


def test_multiply_adds():
  """Of products of matrices in closed form."""
  params = {'a': jnp.zeros((12, 30)), 'b': jnp.zeros((30, 5))}
  count = costs.multiply_adds(lambda params, z: z.reshape(1, 12) @ params['a'] @ params['b'], params, (3, 4, 1))
  assert count == pytest.approx(12 * 30 + 30 * 5, rel=0.01)
