"""Classifiers of images: one sees what the numbers compare, and another gives an objective its distance of features.

Small grey images have no use for a network trained on photographs, so small ones are trained here, on the training images.
Distances of features compare under one classifier only: its hash belongs to the settings of every JSON of numbers.
"""
import os
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import jax
import numpy as np
import optax

from inverse_matching import random
from inverse_matching.data import catalogue
from inverse_matching.data.images.dataset import Images
from inverse_matching.data.source import Space
from inverse_matching.errors import InputError
from inverse_matching.losses import distances
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.classifier import ConvClassifier
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runtime import processes
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint, loop
from inverse_matching.types import Array, Batch, LossFn, Params

CHUNK = 256  # images per device and call; part of what fixes the bits of a result

IMAGES_SEEN = 200_000  # in training, about: as many epochs as that makes, up to those below

SETTINGS = {
    'network': {'width': 16, 'num_levels': 2, 'num_features': 32},
    'optimizer': {'name': 'adam', 'learning_rate': 2e-3, 'decay_rate': 0.9},
    'train': {'batch_size': 64, 'num_epochs': 30, 'seed': 0, 'ema_decay': 0.99, 'grad_clip': None, 'log_every_steps': 50,
              'evaluate_every_epochs': 10, 'checkpoint_every_epochs': 10, 'keep_checkpoints': 1},
}
# Of the classifier whose features an objective compares: another network, so that no student is judged by what it was fit to.
OF_OBJECTIVES = merge(SETTINGS, {'network': {'width': 24, 'num_features': 48}, 'train': {'seed': 2}})
SCALED_BY = 512  # training images, for a distance
FEATURES_SCALED_BY = 10_000  # the same for what the metrics see


class Observer(NamedTuple):
  """What the metrics see of integer images [N, H, W, C], or of other examples: a trained classifier, or features alone."""
  # examples -> (features [N, F], of a classifier its penultimate layer; probabilities [N, K] float32 of the classes, or None)
  see: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
  num_classes: int = 0
  held_out_accuracy: float | None = None
  hash: str | None = None  # of the parameters of a classifier

  def features(self, examples: np.ndarray) -> np.ndarray:
    """[N, F] of examples [N, ...]."""
    return self.see(examples)[0]


def cross_entropy(apply: Callable) -> LossFn:
  """-log p(label | x) in nats, with the accuracy.

  Args:
    apply: (params, x [B, *event]) -> (logits [B, K], more of anything).
  """

  def loss(params, teacher_params, batch: Batch):
    del teacher_params
    logits, *_ = apply(params, batch.x)
    correct = (logits.argmax(-1) == batch.label).astype(logits.dtype)
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch.label), {'accuracy': correct}

  return loss


def train_classifier(data: Mapping[str, Any], workdir: str | os.PathLike, devices: int | None = None, *,
                     config: Mapping[str, Any] = SETTINGS) -> Observer:
  """Trains a classifier on the training images of a data set, or loads it where that is done.

  Dequantisation noise is the only augmentation: anything stronger would teach it to overlook what the metrics look for.

  Args:
    data: config.data; its logit_lambda and end_noise do not matter here.
    workdir: of the classifier.
    devices: number of local devices, or None for the largest that divides the batch.
    config: with sections network (see nets.classifier.ConvClassifier), optimizer and train (see loop.fit).

  Raises:
    InputError: the images have no labels.
  """
  apply, params, images, num_classes = _trained(data, workdir, devices, config)
  outputs = _outputs(apply, params, images, devices)

  def see(pixels):
    logits, features = outputs(pixels)
    return features, np.asarray(jax.nn.softmax(logits))

  correct = see(images.held_out.pixels)[1].argmax(-1) == images.held_out.labels
  return Observer(see, num_classes, float(np.mean(correct)), checkpoint.tree_hash(params))


def feature_distance(data: Mapping[str, Any], space: Space, workdir: str | os.PathLike, devices: int | None = None, *,
                     config: Mapping[str, Any] = OF_OBJECTIVES) -> tuple[distances.Distance, str]:
  """(the distance of images in a classifier's features, the hash of its parameters), see distances.of_features.

  Its depths are the image itself, the maps of each resolution and the features, each of mean square 1 over training images.

  Args:
    data: see `train_classifier`, also for what else there is.
    space: of the events that are compared.
    workdir: of the classifier.
    devices: number of local devices.
    config: see `train_classifier`.
  """
  apply, params, images, _ = _trained(data, workdir, devices, config)
  seen = processes.map_examples(lambda params, pixels: _depths(apply, params, _scale(pixels, 0.5, images.levels)), devices,
                                CHUNK)(params, images.train.pixels[:SCALED_BY])
  scales = [float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) for values in seen]
  return distance_in(apply, params, space, scales), checkpoint.tree_hash(params)


def distance_in(apply: Callable, params: Params, space: Space, scales: Sequence[float]) -> distances.Distance:
  """The distance of images of a space in the depths of a classifier (see `feature_distance`), each over its scale."""

  def depths(x):
    found = _depths(apply, params, 2 * space.codec.to_unit(x) - 1)
    return [values / scale for values, scale in zip(found, scales, strict=True)]

  return distances.of_features(depths)


def _depths(apply: Callable, params: Params, images: Array) -> list[Array]:
  _, features, maps = apply(params, images)
  return [images, *maps, features]


def _trained(data: Mapping[str, Any], workdir: str | os.PathLike, devices: int | None,
             config: Mapping[str, Any]) -> tuple[Callable, Params, Images, int]:
  """(apply, parameters, images, number of classes)."""
  data = {name: value for name, value in dict(data).items() if name not in ('logit_lambda', 'end_noise')}
  sections = {name: dict(config[name]) for name in ('network', 'optimizer', 'train')}
  images = catalogue.load(data).data
  if not isinstance(images, Images):
    raise InputError('A classifier is of images, and these data are something else: choose another distance or measure.')
  if images.train.labels is None:
    raise InputError('These images have no labels, which this takes a classifier of: give labels, or ask for something else '
                     '(launch.evaluate needs none).')
  num_classes = int(images.train.labels.max()) + 1
  num, batch_size = len(images.train.pixels), sections['train']['batch_size']
  while batch_size > num:
    batch_size //= 2  # which as many devices divide as can
  num_epochs = min(sections['train']['num_epochs'], -(-IMAGES_SEEN // num))
  sections['train'] = {**sections['train'], 'batch_size': batch_size, 'num_epochs': num_epochs}
  init, apply = functions(ConvClassifier(num_classes, **sections['network']), images.train.pixels.shape[1:])
  loss_fn = cross_entropy(apply)

  def prepare(raw):
    keys = random.keys_at(sections['train']['seed'], raw['position'])
    noise = random.uniform(random.stream(keys, 'dequantise'), images.train.pixels.shape[1:])
    return Batch(x=_scale(raw['pixels'], noise, images.levels), key=keys, label=raw['label'])

  examples = lambda split: {'pixels': split.pixels, 'label': split.labels}
  task = loop.Task('classifier', loss_fn, loss_fn, init, examples(images.train), examples(images.held_out), prepare)
  loop.check(workdir, task, sections, devices)
  with workdirs.open_run(workdir, {'kind': 'classifier', 'data': data, **sections}) as path:
    params = loop.fit(path, task, sections, devices)
  return apply, params, images, num_classes


def random_observer(images: Images, seed: int, devices: int | None = None) -> Observer:
  """Sees the features of such a network that was never trained, of mean square 1 in training, and no classes.

  Args:
    images: the data.
    seed: of its parameters.
    devices: number of local devices, or None for all.
  """
  init, apply = functions(ConvClassifier(1, **SETTINGS['network']), images.train.pixels.shape[1:])
  outputs = _outputs(apply, init(jax.random.key(seed)), images, devices)
  return Observer(lambda pixels: (outputs(pixels)[1], None))


def _outputs(apply: Callable, params: Params, images: Images, devices: int | None) -> Callable[[np.ndarray], tuple]:
  """pixels -> (logits, features of mean square 1 in training)."""
  outputs = processes.map_examples(lambda params, pixels: apply(params, _scale(pixels, 0.5, images.levels))[:2], devices, CHUNK)
  # One constant, so that kernel and Frechet distances do not depend on the scale that training happened to give.
  scale = np.sqrt(np.mean(np.square(outputs(params, images.train.pixels[:FEATURES_SCALED_BY])[1], dtype=np.float64)))

  def scaled(pixels):
    logits, features = outputs(params, pixels)
    return logits, (features / scale).astype(np.float32)

  return scaled


def _scale(pixels, noise, levels: int):
  """Integers 0..levels - 1 with noise in (0, 1) -> floats in (-1, 1)."""
  return 2 * (pixels.astype('float32') + noise) / levels - 1
