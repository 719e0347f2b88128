"""Models to pass on."""
from unittest import mock

import jax
import numpy as np
import pytest
import safetensors.numpy

from configs import table
from inverse_matching.errors import InputError
from inverse_matching.evaluation import export
from inverse_matching.runs import exported, models, workdir
from inverse_matching.runs.pairs import make_pairs
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint

PARAMS = {'params': {'conv': {'kernel': np.arange(6, dtype=np.float32).reshape(2, 3), 'bias': np.float32([np.pi])}},
          'blocks': ({'a': np.float32(1e-30)}, {'a': np.float32(-0.0)})}


def structure(params=None):
  return jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, PARAMS if params is None else params))


def write(folder):
  exported.write(folder, PARAMS, step=7, others={'config.json': b'{}', 'card.md': b'# A card'})
  return folder


def test_the_same_bits_come_back(tmp_path):
  """Values, names and the hash, by which students know their teacher; the weights are what another program reads."""
  folder = write(tmp_path / 'new' / 'model')
  params, step = exported.read(folder, structure())
  assert step == exported.step(folder) == 7 and exported.is_model(folder) and not exported.is_model(tmp_path)
  assert checkpoint.tree_hash(params) == checkpoint.tree_hash(PARAMS)
  stored = safetensors.numpy.load_file(folder / 'weights.safetensors')
  assert sorted(stored) == ['blocks/0/a', 'blocks/1/a', 'params/conv/bias', 'params/conv/kernel']
  np.testing.assert_array_equal(stored['params/conv/kernel'], PARAMS['params']['conv']['kernel'])


def test_equal_models_are_equal_files(tmp_path):
  """Nothing of the time or the machine is in them."""
  content = lambda folder: {path.name: path.read_bytes() for path in folder.iterdir()}
  assert content(write(tmp_path / 'a')) == content(write(tmp_path / 'b'))


@pytest.mark.parametrize('name', ['weights.safetensors', 'config.json', 'card.md'])
@pytest.mark.parametrize('how', ['altered', 'missing'])
def test_damage_is_told(tmp_path, name, how):
  """Of every file."""
  folder = write(tmp_path / 'model')
  if how == 'missing' and name == 'weights.safetensors':
    (folder / name).unlink()
    assert not exported.is_model(folder)
    return
  (folder / name).unlink() if how == 'missing' else (folder / name).write_bytes(b'other')
  with pytest.raises(InputError, match=f'{name} is missing or altered'):
    exported.read(folder, structure())


def test_refusals(tmp_path):
  """Another network, a folder that is there, a run in the folder of a model."""
  folder = write(tmp_path / 'model')
  for other, message in (
      ({'params': {}}, 'hold blocks/0/a, blocks/1/a, params/conv/bias, params/conv/kernel beside those of the network'),
      ({**PARAMS, 'more': np.float32(0)}, 'lack more: the network of the config has blocks/0/a, .* more'),
      ({**PARAMS, 'blocks': ({'a': np.zeros(3, np.float32)}, PARAMS['blocks'][1])},
       r'blocks/0/a of the weights in .* has shape \[\], and that of the network of the config \[3\]')):
    with pytest.raises(InputError, match=message):
      exported.read(folder, structure(other))
  with pytest.raises(InputError, match='is there already: name another folder'):
    write(folder)
  with pytest.raises(InputError, match='is a model to use and not to write into'):
    with workdir.open_run(folder, {}):
      pass
  assert sorted(path.name for path in tmp_path.iterdir()) == ['model']


def test_weights_of_other_programs(tmp_path):
  """Of .npz and .safetensors, of other precisions, the same parameters; what is no such file is refused."""
  arrays = {name: np.asarray(leaf, np.float64) for name, leaf in exported.named(PARAMS).items()}
  np.savez(tmp_path / 'w.npz', **arrays)
  safetensors.numpy.save_file(arrays, tmp_path / 'w.safetensors')
  for name in ('w.npz', 'w.safetensors'):
    params = exported.fit(exported.read_weights(tmp_path / name), structure(), name)
    assert checkpoint.tree_hash(params) == checkpoint.tree_hash(PARAMS)
  np.save(tmp_path / 'one.npy', np.zeros(3))
  (tmp_path / 'damaged.safetensors').write_bytes(b'no')
  np.savez(tmp_path / 'objects.npz', a=np.array([{}]))
  for name in ('none.npz', 'one.npy', 'damaged.safetensors', 'objects.npz'):
    with pytest.raises(InputError, match=f'{name} cannot be read as weights'):
      exported.read_weights(tmp_path / name)


def test_another_step_than_its_own_is_refused(tmp_path):
  """A model holds one; asking for that one is fine."""
  folder = write(tmp_path / 'model')
  init = lambda key: jax.tree.map(jax.numpy.asarray, PARAMS)
  assert models.load_params(folder, init)[1] == models.load_params(folder, init, 7)[1] == 7
  with pytest.raises(InputError, match='is an exported model of step 7 alone, not 3'):
    models.load_params(folder, init, 3)


def test_a_model_stands_for_its_run(tmp_path, monkeypatch):
  """Training in it returns its parameters, with pairs made elsewhere too; not where the config or the updates are others."""
  np.save(tmp_path / 'table.npy', np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32))
  config = table.get_config('smoke').to_dict()
  config['data']['path'] = str(tmp_path / 'table.npy')
  teacher = models.train_teacher(config, tmp_path / 'teacher')
  config['loss']['name'] = 'oracle_prediction'
  pairs = [make_pairs(teacher, tmp_path / f'pairs{seed}', num=32, seed=seed) for seed in range(2)]
  student = models.distill(config, tmp_path / 'student', teacher, pairs[0])
  for name in ('teacher', 'student'):
    export.export(tmp_path / name, tmp_path / 'models' / name)
  assert 'Events of shape (2,).' in (tmp_path / 'models' / 'teacher' / 'card.md').read_text()
  before = {path: path.read_bytes() for path in (tmp_path / 'models').rglob('*') if path.is_file()}
  fit = mock.Mock(side_effect=AssertionError('it trains'))
  monkeypatch.setattr(models.loop, 'fit', fit)
  taken = models.train_teacher(config, tmp_path / 'models' / 'teacher')
  assert taken.hash == teacher.hash
  again = models.distill(config, tmp_path / 'models' / 'student', taken, pairs[1])
  assert checkpoint.tree_hash(again.params) == checkpoint.tree_hash(student.params)

  train = lambda **fields: {**config, 'train': {**config['train'], **fields}}
  with pytest.raises(InputError, match='holds a run of another config: train.num_epochs is 2 there and 3 now'):
    models.train_teacher(train(num_epochs=3), tmp_path / 'models' / 'teacher')
  with pytest.raises(InputError, match='holds a run of another config: loss.name is .oracle_prediction. there'):
    models.distill({**config, 'loss': {**config['loss'], 'name': 'x_reconstruction'}}, tmp_path / 'models' / 'student', taken)
  export.export(tmp_path / 'teacher', tmp_path / 'models' / 'half', step=checkpoint.steps(tmp_path / 'teacher')[0])
  with pytest.raises(InputError, match='is a model of step .*, and this config trains for .* updates: take the model of'):
    models.train_teacher(config, tmp_path / 'models' / 'half')
  assert {path: path.read_bytes() for path in before} == before
  with pytest.raises(InputError, match='is a model, and this needs the checkpoints and metrics of a training'):
    exported.require_run(tmp_path / 'models' / 'teacher')


def test_a_teacher_at_the_end_of_an_epoch_is_that_of_so_many(tmp_path):
  """To the bit, where the schedule does not ask how many there are to be; an experiment of the shorter config takes it."""
  np.save(tmp_path / 'table.npy', np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32))
  config = table.get_config('smoke').to_dict()
  config['data']['path'] = str(tmp_path / 'table.npy')
  config['optimizer'] |= {'schedule': None, 'decay_rate': 0.5}
  models.train_teacher(config, tmp_path / 'two')
  export.export(tmp_path / 'two', tmp_path / 'model', step=checkpoint.steps(tmp_path / 'two')[0])
  config['train']['num_epochs'] = 1
  one = models.train_teacher(config, tmp_path / 'one')
  assert models.train_teacher(config, tmp_path / 'model').hash == one.hash
  assert f'Trained for {checkpoint.steps(tmp_path / "one")[-1]} updates' in (tmp_path / 'model' / 'card.md').read_text()
  config['train']['num_epochs'], config['optimizer']['cooldown_epochs'] = 2, 2.0
  models.train_teacher(config, tmp_path / 'cooled')
  export.export(tmp_path / 'cooled', tmp_path / 'of_cooled', step=checkpoint.steps(tmp_path / 'cooled')[0])
  assert files.read_json(tmp_path / 'of_cooled' / 'config.json')['train']['num_epochs'] == 2


def test_an_imported_model_is_a_teacher_too(tmp_path):
  """Of whatever number of updates."""
  np.save(tmp_path / 'table.npy', np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32))
  config = table.get_config('smoke').to_dict()
  config['data']['path'] = str(tmp_path / 'table.npy')
  run = models.train_teacher(config, tmp_path / 'teacher')
  np.savez(tmp_path / 'weights.npz', **exported.named(run.params))
  export.import_teacher(config, tmp_path / 'weights.npz', tmp_path / 'model')
  assert models.train_teacher(config, tmp_path / 'model').hash == run.hash
