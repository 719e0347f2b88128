"""Students against their teacher."""
import json

from commands import launched
import jax
import jax.numpy as jnp
import numpy as np
from prepared import write_prepared
import pytest
from small_run import RUN

from inverse_matching import students
from inverse_matching.errors import InputError
from inverse_matching.experiments import headroom
from inverse_matching.experiments.experiment import Rows
from inverse_matching.types import Batch


def test_a_decoder_of_shuffled_z_learns_the_mean():
  """The loss of a constant student is the spread of x around it; the loss of a perfect one is twice its variance."""
  student = students.make('constructors:dense_flow', (2, 2, 1))
  params = student.init(jax.random.key(0))
  z = jnp.asarray(np.random.default_rng(0).normal(size=(512, 2, 2, 1)), jnp.float32)
  x = student.z_to_x(params, z).x
  loss = headroom.shuffled(RUN.teacher, student)(params, None, Batch(
      x=x, z=z, key=jax.random.split(jax.random.key(1), len(x))))[0]
  np.testing.assert_allclose(loss.mean(), 2 * np.var(x, axis=0).mean(), rtol=0.15)


def test_steps_near_a_share_of_the_training(tmp_path):
  """The nearest checkpoint, and a sentence where none is near."""
  (tmp_path / 'checkpoints').mkdir()
  for step in (100, 330, 1000):
    (tmp_path / 'checkpoints' / f'{step:08d}.json').touch()
  assert headroom._step(tmp_path, 0.1) == 100 and headroom._step(tmp_path, 1 / 3) == 330
  with pytest.raises(InputError, match='no checkpoint near step 600: .*keep_checkpoints'):
    headroom._step(tmp_path, 0.6)


def test_what_a_teacher_will_keep():
  """As many checkpoints as there are from the share to the end, both counted."""
  train = {'num_epochs': 12, 'checkpoint_every_epochs': 2, 'keep_checkpoints': 5}
  headroom._check_kept(train, 1 / 3)
  with pytest.raises(InputError, match='set it to 6 or more'):
    headroom._check_kept(train, 1 / 4)


@pytest.mark.slow
def test_a_study_from_training_to_picture(tmp_path):
  """Every arm by every measure; the controls are there."""
  write_prepared(tmp_path / 'data', 'mnist', {'train': 128, 'test': 64}, (28, 28, 1))
  launched('reproduce', '--figure=headroom', '--config=configs/mnist.py:smoke', f'--config.data.data_dir={tmp_path}/data',
           f'--workdir={tmp_path}/run')
  rows = Rows(json.loads((tmp_path / 'run' / 'headroom.json').read_text())['rows'])
  assert rows.distinct('arm') == ['teacher', 'flow/oracle_prediction', 'shuffled', 'untrained', 'teacher longer']
  assert rows.where(metric='memorisation_ratio').distinct('arm') == ['teacher', 'flow/oracle_prediction']
  assert len(rows.distinct('metric')) == 4 and len(rows) == 15 + 2
  assert all(row['low'] <= row['value'] <= row['high'] and row['floor'] is not None for row in rows)
  assert (tmp_path / 'run' / 'headroom.png').exists()
