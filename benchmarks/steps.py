"""Training steps of the configs by their shapes alone: no data, no parameters; for what is lowered or compiled and not run."""
from typing import Any, Callable, Mapping

import jax
import numpy as np

from inverse_matching import losses, students, teachers
from inverse_matching.data import catalogue
from inverse_matching.data.source import Space, prepare_arrays
from inverse_matching.data.speech import world
from inverse_matching.losses import distances
from inverse_matching.nets.causal_conv import functions
from inverse_matching.nets.classifier import ConvClassifier
from inverse_matching.runs import classifier
from inverse_matching.runtime.devices import map_step
from inverse_matching.runtime.overlays import merge
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Student, Teacher

IMAGES = {'digits': (8, 8, 1), 'mnist': (28, 28, 1), 'fashion_mnist': (28, 28, 1), 'cifar10': (32, 32, 3)}
RATES = {'synthetic': 8000, 'spoken_digit': 8000, 'ljspeech': 16000}  # Hz


def space_of(data: Mapping[str, Any]) -> Space:
  """The space of a section config.data; features of speech are not normalised."""
  name = data['name']
  if name in IMAGES:
    return catalogue.space(dict(kind='images', event_shape=IMAGES[name], levels=data['levels'],
                                logit_lambda=data['logit_lambda'], end_noise=data.get('end_noise'),
                                epoch_size=1))
  rate = RATES[name]
  cepstra = world.default_num_cepstra(rate)
  size = len(world.names(rate, cepstra))
  features = dict(rate=rate, hop=world.hop(rate), num_cepstra=cepstra, mean=np.zeros(size), std=np.ones(size),
                  phase=data['phase'])
  return catalogue.space(dict(kind='speech', features=features, crop_frames=data['crop_frames'],
                              burn_in_frames=data['burn_in_frames'], epoch_size=1))


def models(config: Mapping[str, Any]) -> tuple[Teacher, Student]:
  """The teacher and the student of a config."""
  space = space_of(config['data'])
  settings = dict(event_shape=space.event_shape, **space.model_settings)
  return teachers.make(**config['teacher'], **settings), students.make(**config['student'], **settings)


def trained_by(config: Mapping[str, Any], of_teacher: bool) -> dict[str, Any]:
  """The config with the sections that the teacher of a vocoder has for itself."""
  return merge(config, config.get('teacher_study', {}) if of_teacher else {})


def training_step(config: Mapping[str, Any], of_teacher: bool, batch: int, num_devices: int = 1) -> tuple[Callable, tuple]:
  """A training step as loop.fit has it, mapped over devices, and its arguments (state, constants, batch) as shapes.

  Args:
    config: with all sections.
    of_teacher: whether the teacher is trained, else the student.
    batch: examples; pairs (z, x) where the loss trains on them alone.
    num_devices: local devices.
  """
  config = trained_by(config, of_teacher)
  space, (teacher, student) = space_of(config['data']), models(config)
  trained = teacher if of_teacher else student
  from_pairs = not of_teacher and config['loss']['name'] in losses.ON_PAIRS
  optimizer = make_optimizer(steps_per_epoch=1, grad_clip=config['train']['grad_clip'], **config['optimizer'])
  loss_fn = (losses.maximum_likelihood(teacher) if of_teacher else
             losses.make(teacher=teacher, student=student, **_loss(config['loss'], space)))
  step = make_train_step(loss_fn, optimizer, ema_decay=config['train']['ema_decay'], num_steps=1,
                         prepare=prepare_arrays(0) if from_pairs else space.prepare(0))
  key = jax.eval_shape(jax.random.key, 0)
  state = jax.eval_shape(lambda key: init_state(trained.init(key), optimizer), key)
  constants = None if of_teacher else jax.eval_shape(teacher.init, key)
  mapped = map_step(step, num_devices, microbatch=batch // num_devices)
  return mapped, (state, constants, _raw(config['data'], space, batch, from_pairs))


def _loss(loss: Mapping[str, Any], space: Space) -> Mapping[str, Any]:
  """The section config.loss; in place of the distance features that in the layers of a classifier without training."""
  if loss.get('distance') != distances.FEATURES:
    return loss
  network = ConvClassifier(10, **classifier.OF_OBJECTIVES['network'])
  init, apply = functions(network, space.event_shape)
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(init, jax.random.key(0)))
  return {**loss, 'distance': classifier.distance_in(apply, params, space, [1.0] * (2 + network.num_levels))}


def _raw(data: Mapping[str, Any], space: Space, batch: int, from_pairs: bool) -> dict[str, jax.ShapeDtypeStruct]:
  """A batch as the data pipeline yields it."""
  shape = lambda *sizes, dtype=np.float32: jax.ShapeDtypeStruct((batch, *sizes), dtype)
  raw = {'position': shape(dtype=np.uint32)}
  if None in space.event_shape:
    frames, length = data['crop_frames'], data['crop_frames'] * space.codec.hop
    raw |= {'x': shape(length), 'mask': shape(length), 'cond': shape(frames, space.codec.size)}
    return {**raw, 'z': shape(length)} if from_pairs else raw
  event = space.event_shape
  return {**raw, 'x': shape(*event), 'z': shape(*event)} if from_pairs else {**raw, 'pixels': shape(*event, dtype=np.uint8)}
