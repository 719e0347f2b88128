"""Students against their teacher."""
import json
import types

from commands import launched
import jax
import jax.numpy as jnp
import numpy as np
from prepared import write_prepared
import pytest
from small_run import CONFIG, EVENT, LEVELS, RUN

from inverse_matching import runs, students
from inverse_matching.data.images import dataset as images
from inverse_matching.errors import InputError
from inverse_matching.experiments import distillation, headroom
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.training import checkpoint
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


def with_images(train, held_out):
  """The teacher of small_run on other images."""
  source = images.source(images.Images(images.Split(train), images.Split(held_out), LEVELS), name='tiny', levels=LEVELS,
                         logit_lambda=0.01)
  return RUN._replace(config={'data': {}}, load=lambda: source)


def test_measures_are_distances_to_held_out_images(tmp_path, record):
  """By features of a classifier, by those of a network of another seed that is not trained, and by pixels."""
  rng = np.random.default_rng(0)
  train, held_out = (rng.integers(low, low + 2, (40, *EVENT)).astype(np.uint8) for low in (0, 3))
  sees = lambda pixel: lambda call: headroom.classifiers.Observer(
      lambda pixels: (pixels.reshape(len(pixels), -1)[:, [pixel]] / (LEVELS - 1), None))
  trained = record(headroom.classifiers, 'train_classifier', sees(0))
  untrained = record(headroom.classifiers, 'random_observer', sees(1))
  measures = headroom.measures_to_data(Experiment({}, tmp_path, 'command', 1), with_images(train, held_out), 30, 0, 7)
  assert trained[0].config['train']['seed'] == 7 != untrained[0].seed
  of = lambda pixels: np.array([distance(pixels)[0] for distance in measures.values()])
  assert ['another' in name for name in measures] == [True, False, False] and ['random' in name for name in measures] == [
      False, True, False]
  near, far = of(held_out), of(train)
  assert np.all(np.abs(near) < 0.1 * far)
  for pixel, moved in ((0, [True, False, True]), (1, [False, True, True]), (2, [False, False, True])):
    changed = held_out.copy()
    changed.reshape(len(changed), -1)[:, pixel] = 0
    assert (of(changed) != near).tolist() == moved


def test_what_the_controls_are_trained_on(tmp_path, record):
  """`shuffled` has pairs of the teacher; `untrained` encodings of random weights that are not the teacher's."""
  config = {**CONFIG, 'train': {**CONFIG['train'], 'seed': 3}, 'arms': {'flow/a': {}}, 'pairs': {'num': 40, 'seed': 1},
            'encodings': {'num': 30, 'seed': 2}, 'headroom': {'control': 'flow/a', 'training': {'train': {'num_epochs': 9}}}}
  stored, trained = record(runs, 'make_pairs', lambda call: call.workdir), record(runs, 'distill')
  for name in ('shuffled', 'untrained'):
    headroom._control(Experiment(config, tmp_path, 'command', 1), RUN, name)
  assert [(call.pairs_from, call.num) for call in stored] == [('z', 40), ('data', 30)]
  assert [call.pairs for call in trained] == [call.workdir for call in stored] == [
      tmp_path / 'pairs', tmp_path / 'headroom' / 'untrained' / 'encodings']
  assert [call.config['loss']['name'] for call in trained] == [headroom.SHUFFLED, 'x_reconstruction']
  assert all(call.config['train']['num_epochs'] == 9 for call in trained)
  assert stored[0].run is RUN and trained[0].teacher_run is RUN
  for run in (stored[1].run, trained[1].teacher_run):
    assert run.hash == checkpoint.tree_hash(run.params) == checkpoint.tree_hash(RUN.teacher.init(jax.random.key(3))) != RUN.hash


def test_every_share_is_kept_or_nothing_is_trained(tmp_path, record):
  """The earliest checkpoint is the one that may be missing."""
  config = {**CONFIG, 'train': {'num_epochs': 4, 'checkpoint_every_epochs': 1, 'keep_checkpoints': 3}, 'arms': {'flow/a': {}},
            'headroom': {'arms': (), 'control': 'flow/a', 'shares': (0.5, 0.25, 1.0), 'longer': None}}
  begun = record(distillation, 'carry_out')
  with pytest.raises(InputError, match='0.25 of its training, .* set it to 4 or more'):
    headroom.run(Experiment(config, tmp_path, 'command', 1))
  assert not begun


@pytest.mark.parametrize('accuracy,verdict', [(0.5, 'farther'), (0.9, 'not meaningful at this scale')])
def test_each_distance_is_of_the_samples_that_its_row_names(tmp_path, record, accuracy, verdict):
  """The floor is that of training images; where a teacher's samples are told from data nothing is judged."""
  config = {**CONFIG, 'data': {}, 'evaluation': {'seed': 100, 'num_train_seeds': 3}, 'arms': {'flow/a': {}}, 'headroom': {
      'arms': ('flow/a',), 'control': 'flow/a', 'shares': (0.5, 1.0), 'longer': {'train': {'num_epochs': 6}},
      'classifier_seed': 7}}
  constant = lambda value: np.full((8, *EVENT), value)
  teacher_run = with_images(constant(1).astype(np.uint8), constant(4).astype(np.uint8))
  context = types.SimpleNamespace(settings={}, seed=100, samples=types.SimpleNamespace(
      z=constant(0.5), paired=types.SimpleNamespace(x=constant(2)), independent=types.SimpleNamespace(x=constant(3))))
  told_apart = {'arm': 'teacher', 'metric': 'two_sample_accuracy', 'reference': 'data', 'value': accuracy}
  record(distillation, 'carry_out', lambda call: distillation.Outcome(
      teacher_run, {}, context, [told_apart], {}, Stages(tmp_path / 'timing.json', call.more_stages)))
  for step in (50, 100):
    (tmp_path / 'teacher' / 'checkpoints').mkdir(parents=True, exist_ok=True)
    (tmp_path / 'teacher' / 'checkpoints' / f'{step:08d}.json').touch()
  record(headroom, 'measures_to_data', lambda call: {'distance': lambda pixels: (pixels.mean(), pixels.mean() - 0.1,
                                                                                 pixels.mean() + 0.1)})
  record(headroom.examples, 'to_pixels', lambda call: call.x)
  # Students and teachers are the value of their pixels.
  record(runs, 'load_student', lambda call: 10 + int(call.workdir.name.removeprefix('seed')))
  record(headroom, '_control', lambda call: {'shuffled': 20, 'untrained': 30}[call.name])
  record(runs, 'generate', lambda call: call.student_run + call.z)
  record(runs, 'load_teacher', lambda call: types.SimpleNamespace(hash=call.step))
  longer = record(runs, 'train_teacher', lambda call: types.SimpleNamespace(hash=40))
  record(runs, 'draw_pairs', lambda call: {'x': constant(call.run.hash), 'z': None})
  record(headroom.figures, 'forest')
  headroom.run(Experiment(config, tmp_path, 'command', 1))
  document = json.loads((tmp_path / 'headroom.json').read_text())
  rows = Rows(document['rows'])
  assert {(row['arm'], row.get('train_seed')): row['value'] for row in rows} == {
      ('teacher', None): 2, **{('flow/a', seed): 10.5 + seed for seed in range(3)}, ('teacher at 0.5', None): 50,
      ('shuffled', None): 20.5, ('untrained', None): 30.5, ('teacher longer', None): 40}
  assert rows.distinct('floor') == [1.0]
  assert longer[0].config['train']['num_epochs'] == 6 and longer[0].init_from == tmp_path / 'teacher'
  assert [row['verdict'] for row in document['summary'] if (row['arm'], row['baseline']) == ('flow/a', 'teacher')] == [verdict]


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
