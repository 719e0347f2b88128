"""Classifiers: their loss, their shapes, training, loading and use, and the distance of images in their layers."""
import constructors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import CONFIG

from inverse_matching import runs
from inverse_matching.data import catalogue
from inverse_matching.data.images import dataset as images
from inverse_matching.errors import InputError
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.classifier import ConvClassifier
from inverse_matching.runs import classifier as classifiers
from inverse_matching.runs.classifier import SETTINGS, cross_entropy, train_classifier
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.types import Batch

DATA = dict(name='digits', levels=17, logit_lambda=0.01, held_out=0.1, split_seed=0)
TINY = {**SETTINGS, 'network': {'width': 4, 'num_levels': 2, 'num_features': 12},
        'train': {**SETTINGS['train'], 'num_epochs': 3}}


@pytest.mark.parametrize('event_shape', [(8, 8, 1), (28, 28, 1), (32, 32, 3), (5, 7, 2)])
def test_shapes(event_shape):
  """Grey and colour, any size."""
  init, apply = functions(ConvClassifier(num_classes=7, width=2, num_levels=3, num_features=6), event_shape)
  params = jax.eval_shape(init, jax.random.key(0))
  logits, found, maps = jax.eval_shape(apply, params, jnp.zeros((3, *event_shape)))
  assert logits.shape == (3, 7) and found.shape == (3, 6)
  assert [values.shape[-1] for values in maps] == [2, 4, 8] and maps[0].shape[1:3] == event_shape[:2]


def test_cross_entropy():
  """By hand, per example, with the accuracy."""
  logits = np.log([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
  loss_fn = cross_entropy(lambda params, x: (jnp.asarray(logits), None))
  loss, metrics = loss_fn(None, None, Batch(x=jnp.zeros((2, 1)), label=jnp.array([0, 1])))
  np.testing.assert_allclose(loss, -np.log([0.7, 0.3]), rtol=1e-6)
  np.testing.assert_array_equal(metrics['accuracy'], [1, 0])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """(classifier, its workdir)."""
  workdir = tmp_path_factory.mktemp('classifier')
  return train_classifier(DATA, workdir, 1, config=TINY), workdir


def test_training_and_use(trained):
  """It learns; features and probabilities are those of each image whatever its company."""
  classifier, _ = trained
  digits = images.digits().data
  assert classifier.num_classes == 10 and classifier.held_out_accuracy > 0.4
  held_out = digits.held_out
  found, probabilities = classifier.see(held_out.pixels)
  np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
  assert np.mean(probabilities.argmax(1) == held_out.labels) == classifier.held_out_accuracy
  assert found.shape == (len(held_out.pixels), 12) and found.dtype == np.float32
  np.testing.assert_array_equal(classifier.features(held_out.pixels[5:8].astype(np.int32)), found[5:8])
  np.testing.assert_allclose(np.mean(classifier.features(digits.train.pixels)**2), 1, rtol=1e-4)


def test_a_trained_one_is_loaded(trained):
  """The same classifier without training, whatever logit_lambda; another network is refused."""
  classifier, workdir = trained
  lines = (workdir / 'metrics.jsonl').read_text()
  again = train_classifier({**DATA, 'logit_lambda': 1e-6}, workdir, 1, config=TINY)
  assert again.hash == classifier.hash and again.held_out_accuracy == classifier.held_out_accuracy
  assert (workdir / 'metrics.jsonl').read_text() == lines
  with pytest.raises(InputError, match='another config'):
    train_classifier(DATA, workdir, 1)


@pytest.mark.slow
def test_accuracy_of_the_default(tmp_path):
  """Good enough for its features to mean something."""
  assert train_classifier(DATA, tmp_path, 1).held_out_accuracy >= 0.96


def test_small_data_sets_get_small_batches(tmp_path):
  """64 halved until the training images, 54 here, fill it."""
  classifier = train_classifier({**DATA, 'held_out': 0.97}, tmp_path, config=merge(TINY, {'train': {'num_epochs': 1}}))
  assert 0 <= classifier.held_out_accuracy <= 1
  assert files.read_json(tmp_path / 'config.json')['train']['batch_size'] == 32


def test_large_data_sets_get_fewer_epochs(tmp_path, monkeypatch):
  """As many as make IMAGES_SEEN, rounded up: 2 epochs of 1,617 images."""
  monkeypatch.setattr(classifiers, 'IMAGES_SEEN', 2000)
  train_classifier(DATA, tmp_path, 1, config=TINY)
  assert files.read_json(tmp_path / 'config.json')['train']['num_epochs'] == 2


@pytest.fixture(scope='module')
def distance(trained):
  """That of the trained classifier, for the digits as logits."""
  measure, found_hash = classifiers.feature_distance(DATA, images.digits(levels=17, logit_lambda=0.01).space, trained[1], 1,
                                                     config=TINY)
  assert found_hash == trained[0].hash
  return measure


def test_distance_of_features(trained, distance):
  """Against the layers of the network on the images themselves; 0 for equal images; its gradient reaches every pixel."""
  source = images.digits(levels=17, logit_lambda=0.01)
  keys = jax.random.split(jax.random.key(0), 12)
  x = source.space.codec.to_x(source.data.held_out.pixels[:12], keys)
  a, b = x[:6], x[6:]
  init, apply = functions(ConvClassifier(10, **TINY['network']), (8, 8, 1))
  params, _ = runs.models.load_params(trained[1], init)

  def depths(unit):
    _, found, maps = apply(params, 2 * unit - 1)
    return [np.asarray(values, np.float64).reshape(len(unit), -1) for values in (2 * unit - 1, *maps, found)]

  train = (images.digits().data.train.pixels[:classifiers.SCALED_BY] + np.float32(0.5)) / 17
  unit = lambda x: (jax.nn.sigmoid(x) - 0.01) / 0.98
  expected = np.mean([np.mean((u - v)**2, axis=1) / np.mean(scale**2)
                      for u, v, scale in zip(depths(unit(a)), depths(unit(b)), depths(train))], axis=0)
  np.testing.assert_allclose(distance(a, b), expected, rtol=1e-4)
  np.testing.assert_array_equal(distance(a, a), np.zeros(6))
  assert np.all(jax.grad(lambda a: distance(a, b).sum())(a) != 0)
  with pytest.raises(InputError, match='must be the same'):
    distance(a, b[:3])
  with pytest.raises(InputError, match='have no mask'):
    distance(a, b, jnp.ones((6, 8)))


def teacher_run(config):
  """Of a teacher without a network, of data that are named in its config."""
  source = catalogue.load(config['data'])
  teacher = constructors.dense_teacher(source.space.event_shape, scale=0.1)
  params = teacher.init(jax.random.key(0))
  return runs.TeacherRun(config, source.space, teacher, params, checkpoint.tree_hash(params), lambda: source)


def test_distillation_by_features(tmp_path, monkeypatch):
  """The classifier is trained once and kept by its hash; what cannot be is refused before anything is written."""
  monkeypatch.setattr(classifiers.feature_distance, '__kwdefaults__', {'config': TINY})
  run, features = teacher_run({'data': DATA}), tmp_path / 'classifier'
  config = {**CONFIG, 'student': {'name': 'resnet', 'num_blocks': 2, 'num_filters': 4},
            'loss': {'name': 'x_reconstruction', 'distance': 'features'}, 'train': {**CONFIG['train'], 'batch_size': 256}}
  by_squares = {**config, 'loss': {**config['loss'], 'distance': 'l2'}}
  for wrong, given, words in [
      (config, None, 'needs a classifier: give --features'),
      (by_squares, features, '--features is the classifier of the distance features'),
      ({**config, 'loss': {**config['loss'], 'name': 'z_reconstruction'}}, features, 'z_reconstruction compares noise')]:
    with pytest.raises(InputError, match=words):
      runs.distill(wrong, tmp_path / 'student', run, features=given)
  assert not list(tmp_path.iterdir())
  runs.distill(config, tmp_path / 'student', run, features=features)
  seen = files.read_json(tmp_path / 'student' / 'config.json')
  assert seen['loss']['distance'] == 'features'
  assert seen['features_hash'] == train_classifier(DATA, features, config=TINY).hash
  runs.distill(config, tmp_path / 'student', run, features=features)
  monkeypatch.setattr(classifiers.feature_distance, '__kwdefaults__',
                      {'config': merge(TINY, {'train': {'num_epochs': 1}})})
  with pytest.raises(InputError, match='features_hash is'):
    runs.distill(config, tmp_path / 'student', run, features=tmp_path / 'another')


def test_no_student_is_judged_by_the_network_that_it_was_fit_to():
  """The classifier of an objective has another network and another seed than that of the numbers, and each is the default."""
  ours, others = SETTINGS, classifiers.OF_OBJECTIVES
  assert ours['network']['width'] != others['network']['width']
  assert ours['network']['num_features'] != others['network']['num_features']
  assert ours['train']['seed'] != others['train']['seed']
  assert train_classifier.__kwdefaults__['config'] is ours and classifiers.feature_distance.__kwdefaults__['config'] is others


def test_features_of_a_table_are_refused(tmp_path):
  """There are no images that a classifier could see."""
  np.save(tmp_path / 'table.npy', np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
  with pytest.raises(InputError, match='A classifier is of images'):
    train_classifier({'name': 'arrays', 'path': str(tmp_path / 'table.npy')}, tmp_path / 'classifier')
