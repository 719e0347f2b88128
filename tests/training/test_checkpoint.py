"""Checkpoints: whole or passed over."""
import os
import pathlib
import resource

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inverse_matching.errors import InputError
from inverse_matching.runtime.devices import replicate
from inverse_matching.training import checkpoint
from inverse_matching.training.step import init_state

OPTIMIZER = optax.adam(0.1)


def state_at(step):
  params = {'dense': {'kernel': jnp.arange(6.0).reshape(2, 3) + step}, 'bias': jnp.full(3, 1.0 / (step + 1))}
  return init_state(params, OPTIMIZER)._replace(step=jnp.int32(step))


def data_file(workdir, step) -> pathlib.Path:
  """The largest file of a checkpoint: it holds arrays."""
  folder = pathlib.Path(workdir) / 'checkpoints' / f'{step:08d}'
  return max((p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)


def flip_bit(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


def saved(workdir, *steps, keep=3):
  for step in steps:
    checkpoint.save(workdir, step, state_at(step), keep=keep)
  return workdir


@pytest.mark.parametrize('num_devices', [1, 8])
def test_round_trip(tmp_path, num_devices):
  """Every leaf comes back bit for bit with its type, also from a state that is replicated over devices."""
  checkpoint.save(tmp_path, 7, replicate(state_at(7), num_devices))
  assert checkpoint.latest(tmp_path) == 7
  loaded = checkpoint.load(tmp_path, 7, jax.eval_shape(lambda: state_at(0)))
  chex.assert_trees_all_equal_structs(loaded, state_at(7))
  chex.assert_trees_all_equal_shapes_and_dtypes(loaded, state_at(7))
  jax.tree.map(np.testing.assert_array_equal, loaded, state_at(7))


def test_load_ema_takes_the_average_only(tmp_path):
  """What sampling and evaluation use is the average, not the parameters; its step comes with it."""
  state = state_at(3)._replace(ema=jax.tree.map(lambda a: a + 10, state_at(3).params))
  checkpoint.save(tmp_path, 3, state)
  ema, step = checkpoint.load_ema(tmp_path, jax.eval_shape(lambda: state_at(0).params))
  assert step == 3
  jax.tree.map(np.testing.assert_array_equal, ema, state.ema)


def test_only_the_last_are_kept(tmp_path):
  """And nothing else is left in the folder."""
  saved(tmp_path, 1, 2, 3, 10, keep=2)
  assert checkpoint.steps(tmp_path) == [3, 10]
  assert sorted(os.listdir(tmp_path / 'checkpoints')) == ['00000003', '00000003.json', '00000010', '00000010.json']


def test_where_a_run_was_stopped_does_not_matter_later(tmp_path):
  """The checkpoint of a stop is there until the next one, and never in the place of one on the grid."""
  for step, left in ((10, [10]), (20, [10, 20]), (27, [10, 20, 27]), (28, [10, 20, 28]), (30, [10, 20, 30]),
                     (33, [20, 30, 33]), (40, [20, 30, 40])):
    checkpoint.save(tmp_path, step, state_at(step), keep=3, every=10)
    assert checkpoint.steps(tmp_path) == left


def test_saving_a_step_again_replaces_it(tmp_path):
  """As after a loss that was not finite at the step of a checkpoint."""
  saved(tmp_path, 1)
  checkpoint.save(tmp_path, 1, state_at(5))
  assert int(checkpoint.load(tmp_path, 1, state_at(0)).step) == 5


def test_a_kill_in_the_middle_of_a_write(tmp_path):
  """A folder without its manifest is ignored, and cleaned away by the next save."""
  saved(tmp_path, 1, 2, 3)
  (tmp_path / 'checkpoints' / '00000003.json').unlink()
  assert checkpoint.latest(tmp_path) == 2
  (tmp_path / 'checkpoints' / '00000004.orbax-checkpoint-tmp').mkdir()
  saved(tmp_path, 5)
  assert checkpoint.latest(tmp_path) == 5
  assert not [name for name in os.listdir(tmp_path / 'checkpoints') if name.startswith(('00000003', '00000004'))]


@pytest.mark.parametrize('damage,word', [(flip_bit, 'altered'), (truncate, 'altered'), (os.remove, 'missing')])
def test_damage_falls_back_to_the_one_before(tmp_path, caplog, damage, word):
  """And says so; what is loaded is whole."""
  saved(tmp_path, 1, 2)
  damage(data_file(tmp_path, 2))
  assert checkpoint.latest(tmp_path) == 1
  [warning] = [r.getMessage() for r in caplog.records if r.levelname == 'WARNING']
  assert 'step 2' in warning and word in warning and 'going back' in warning
  _, step = checkpoint.load_ema(tmp_path, state_at(0).params)
  assert step == 1


def test_a_damaged_manifest_is_damage(tmp_path):
  """Not a traceback."""
  saved(tmp_path, 1, 2)
  (tmp_path / 'checkpoints' / '00000002.json').write_text('{"step"')
  assert checkpoint.latest(tmp_path) == 1
  (tmp_path / 'checkpoints' / '00000002.json').write_text('[]')
  assert checkpoint.latest(tmp_path) == 1


def test_all_damaged_is_one_sentence(tmp_path):
  """Training must not silently start from nothing."""
  saved(tmp_path, 1, 2)
  for step in (1, 2):
    flip_bit(data_file(tmp_path, step))
  with pytest.raises(InputError, match='Every checkpoint in .* is damaged: remove that folder'):
    checkpoint.latest(tmp_path)


def test_no_checkpoint(tmp_path):
  """latest is None; loading is refused with the folder."""
  assert checkpoint.latest(tmp_path) is None
  with pytest.raises(InputError, match='There is no checkpoint in'):
    checkpoint.load_ema(tmp_path, state_at(0).params)


@pytest.mark.parametrize('other', [
    {'dense': {'kernel': jnp.zeros((2, 4))}, 'bias': jnp.zeros(3)},
    {'dense': {'weights': jnp.zeros((2, 3))}, 'bias': jnp.zeros(3)},
    {'dense': {'kernel': jnp.zeros((2, 3))}, 'bias': jnp.zeros(3), 'more': jnp.zeros(1)},
    {'dense': {'kernel': jnp.zeros((2, 3))}},
])
def test_another_network_does_not_load(tmp_path, other):
  """Other shapes or names of parameters: one sentence, not wrong numbers."""
  saved(tmp_path, 1)
  with pytest.raises(InputError, match='does not fit the network of this config'):
    checkpoint.load_ema(tmp_path, other)


def test_no_room(tmp_path, monkeypatch):
  """Told in one sentence before orbax begins to write; nothing is left of it, and the checkpoint before is still the last."""
  saved(tmp_path, 1)
  before = sorted(tmp_path.rglob('*'))
  monkeypatch.setattr(checkpoint.ocp, 'save', None)
  previous = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, previous[1]))
    with pytest.raises(InputError, match='step 2 could not be written.*File too large.*earlier checkpoints are intact'):
      saved(tmp_path, 2)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, previous)
  assert sorted(tmp_path.rglob('*')) == before and checkpoint.latest(tmp_path) == 1


def test_a_write_that_fails_keeps_the_earlier_ones(tmp_path, monkeypatch):
  """A full disk: one sentence; the checkpoint before is still the last."""
  saved(tmp_path, 1)

  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(checkpoint.ocp, 'save', full)
  with pytest.raises(InputError, match='step 2 could not be written.*earlier checkpoints are intact'):
    saved(tmp_path, 2)
  assert checkpoint.latest(tmp_path) == 1


def test_tree_hash():
  """Equal trees have equal hashes; one bit, a shape, a type or a name makes another."""
  tree = {'a': np.zeros((2, 3), np.float32), 'b': np.ones(2, np.float32)}
  others = [{**tree, 'b': np.nextafter(tree['b'], 2)}, {**tree, 'a': np.zeros((3, 2), np.float32)},
            {**tree, 'a': np.zeros((2, 3), np.int32)}, {'a': tree['a'], 'c': tree['b']}]
  assert checkpoint.tree_hash(tree) == checkpoint.tree_hash(jax.tree.map(jnp.asarray, tree))
  assert len({checkpoint.tree_hash(t) for t in [tree, *others]}) == 5
