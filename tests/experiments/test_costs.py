"""What training and samples cost."""
import pathlib

import jax.numpy as jnp
import pytest

from inverse_matching import losses
from inverse_matching.experiments import costs

PAGE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'students_and_losses.md'


@pytest.mark.parametrize('loss,stored,expected', [
    (dict(name='oracle_prediction'), 30, (1, 0, 30)), (dict(name='x_reconstruction'), None, (1, 1000, 0)),
    (dict(name='x_reconstruction'), 40, (1, 40, 0)), (dict(name='x_reconstruction'), 5000, (1, 1000, 0)),
    (dict(name='reverse_kl'), None, (1, 1000, 0)),
    (dict(name='energy_score'), None, (2, 0, 0)), (dict(name='energy_oracle', num_draws=3), 30, (4, 0, 30)),
    (dict(name='mixture'), 30, (1, 1000, 30)), (dict(name='mixture', estimator='path'), 30, (7, 1000, 30)),
    (dict(name='reverse_kl', estimator='path'), None, (6, 1000, 0)),
    (dict(name='flow_matching', coupling='independent'), None, (1, 0, 0)),
    (dict(name='flow_matching'), None, (1, 1000, 0)), (dict(name='flow_matching'), 40, (1, 40, 0)),
    (dict(name='flow_matching', encoding_std=1.5), 40, (1, 1000, 0)),
    (dict(name='x_reconstruction', data_noise_std=0.1), 40, (1, 1000, 0))])
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


def test_the_table_of_the_page():
  """It names every objective, and counts as the code does."""
  lines = PAGE.read_text().partition('## What each asks for')[2].partition('\n- ')[0].splitlines()
  found = set()
  for line in lines:
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    if not cells[0].startswith('`'):
      continue
    names = [name.strip('`') for name in cells[0].split(', ')]
    coupling = next((name.partition('=')[2] for name in names if '=' in name), None)
    for loss in (dict(name=name, num_draws=5, coupling=coupling) for name in names if '=' not in name):
      found.add(loss['name'])
      stored = costs.calls(loss, 100, 7)
      passes = {'num_draws': 5, '1 + num_draws': 6}.get(cells[1].replace('`', '')) or int(cells[1])
      assert costs.passes(loss) == passes and stored['S'] == 100 * passes
      assert costs.calls(loss, 100, None)['T'] == 100 * (cells[2][0] == '1') and stored['T^-1'] == 7 * (cells[3] == 'stored')
      assert stored['T'] == (7 if 'stored' in cells[2] else 100 * (cells[2][0] == '1'))
  assert found == set(losses.LOSSES)
