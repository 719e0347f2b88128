"""The classifier: its loss, its shapes, and training, loading and use."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching.data.images import dataset as images
from inverse_matching.errors import InputError
from inverse_matching.evaluation import classifier as evaluation_classifier
from inverse_matching.evaluation.classifier import SETTINGS, cross_entropy, train_classifier
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.classifier import ConvClassifier
from inverse_matching.runtime import files
from inverse_matching.types import Batch

DATA = dict(name='digits', levels=17, logit_lambda=0.01, held_out=0.1, split_seed=0)
TINY = {**SETTINGS, 'network': {'width': 4, 'num_levels': 2, 'num_features': 12},
        'train': {**SETTINGS['train'], 'num_epochs': 3}}


@pytest.mark.parametrize('event_shape', [(8, 8, 1), (28, 28, 1), (32, 32, 3), (5, 7, 2)])
def test_shapes(event_shape):
  """Grey and colour, any size."""
  init, apply = functions(ConvClassifier(num_classes=7, width=2, num_levels=3, num_features=6), event_shape)
  params = jax.eval_shape(init, jax.random.key(0))
  logits, found = jax.eval_shape(apply, params, jnp.zeros((3, *event_shape)))
  assert logits.shape == (3, 7) and found.shape == (3, 6)


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
  probabilities = classifier.probabilities(held_out.pixels)
  np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
  assert np.mean(probabilities.argmax(1) == held_out.labels) == classifier.held_out_accuracy
  found = classifier.features(held_out.pixels)
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


def test_large_data_sets_get_fewer_epochs(tmp_path, monkeypatch):
  """As many as make IMAGES_SEEN, rounded up: 2 epochs of 1,617 images."""
  monkeypatch.setattr(evaluation_classifier, 'IMAGES_SEEN', 2000)
  train_classifier(DATA, tmp_path, 1, config=TINY)
  assert files.read_json(tmp_path / 'config.json')['train']['num_epochs'] == 2
