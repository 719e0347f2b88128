"""What the configs of images share: arms of the figures, kinds of teachers, and the scales of those prepared by TFDS."""
from typing import Any, Iterable, Mapping, Sequence

import ml_collections
from ml_collections import config_dict

FLOWS = ('flow/reverse_kl', 'flow/z_reconstruction', 'flow/x_reconstruction', 'flow/oracle_prediction')  # figure 4
# Figure 5: distance and noise of each ResNet. The paper's noise is "N(0, 0.5)": taken as a standard deviation here.
RESNETS = {
    'l2': dict(distance='l2'),
    'l1': dict(distance='l1'),
    'l2_noise': dict(distance='l2', noise_std=0.5),
    'l1_noise': dict(distance='l1', noise_std=0.5),
    'l1_l2_noise': dict(distance='l1_l2', noise_std=0.5),
}


def loss(name: str, *, distance: str = 'l2', noise_std: float = 0.0, estimator: str = 'total') -> dict[str, Any]:
  """The section config.loss."""
  return dict(name=name, distance=distance, noise_std=noise_std, estimator=estimator)


def flow_arms() -> dict[str, Any]:
  """The arms of figure 4, and reverse KL with the path derivative; each puts other sections in the place of some."""
  return {
      'flow/reverse_kl': dict(loss=loss('reverse_kl')),
      'flow/reverse_kl_path': dict(loss=loss('reverse_kl', estimator='path')),
      'flow/z_reconstruction': dict(loss=loss('z_reconstruction')),
      'flow/x_reconstruction': dict(loss=loss('x_reconstruction')),
      'flow/oracle_prediction': dict(loss=loss('oracle_prediction')),
  }


def resnet_arms(student: Mapping[str, Any], losses: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Arms of figure 5: name -> what `loss` takes beside the name."""
  return {f'resnet/x_reconstruction_{name}': dict(student=dict(student), loss=loss('x_reconstruction', **settings))
          for name, settings in losses.items()}


# Elementwise maps: variant -> fields of config.teacher.
HEADS = {
    'logistic': {},
    'mixture_of_logistics': dict(num_mixtures=5),
    'neural': dict(num_units=8, num_layers=2),
}
DISCRETE_HEADS = {'categorical': {}, 'discretized_mixture_of_logistics': dict(num_mixtures=5)}
ORDERS = {'column_order': 'columns', 'random_order': 'random'}  # variant -> config.teacher.order
KINDS = ('gaussian', *HEADS, *DISCRETE_HEADS, *ORDERS, 'transformer')  # of teachers
SMOKE_KINDS = ('mixture_of_logistics', 'categorical', 'transformer')


def pixelcnn(**network) -> dict[str, Any]:
  """The section config.teacher of a PixelCNN++, with room for what KINDS are made of; None leaves it to the teacher."""
  room = dict(elementwise=str, num_mixtures=int, num_units=int, num_layers=int, prior=str, levels=int, order=str)
  return dict(name='pixelcnn', **network, **{field: config_dict.placeholder(kind) for field, kind in room.items()})


def flow(**network) -> dict[str, Any]:
  """The section config.student of a flow, with room for the order of its teacher."""
  return dict(name='flow', dropout=0.0, **network, order=config_dict.placeholder(str))


def teacher_kinds(levels: int, transformer: Mapping[str, Any]) -> dict[str, Any]:
  """KINDS: name -> sections to put into the config (see `put`).

  Args:
    levels: of the data.
    transformer: the settings of that teacher.
  """
  head = lambda name, settings: dict(teacher=dict(elementwise=name, **settings))
  return {
      'gaussian': {},
      **{name: head(name, settings) for name, settings in HEADS.items()},
      **{name: dict(head(name, dict(settings, levels=levels)), data=dict(logit_lambda=config_dict.placeholder(float)))
         for name, settings in DISCRETE_HEADS.items()},
      **{name: dict(teacher=dict(order=order), student=dict(order=order)) for name, order in ORDERS.items()},
      'transformer': dict(teacher=dict(name='transformer', **transformer)),
  }


def put(config: ml_collections.ConfigDict, sections: ml_collections.ConfigDict) -> None:
  """Puts sections into the config: one with a name takes the place of that there, the fields of others take that of theirs."""
  for section, fields in sections.items():
    if 'name' in fields:
      config[section] = fields
    else:
      for field, value in fields.items(preserve_field_references=True):
        config[section][field] = value


def study_arms(resnet: Mapping[str, Any]) -> dict[str, Any]:
  """The students of figure `teachers`: ResNets, which suit a teacher of any order."""
  return {f'resnet/{name}_l1': dict(student=dict(resnet), loss=loss(name, distance='l1'))
          for name in ('x_reconstruction', 'oracle_prediction')}


def flows(parts: Iterable[str]) -> tuple[str, ...]:
  """The arms of figure 4 in the order of its panels; the variant `path` adds one."""
  return (FLOWS[0], 'flow/reverse_kl_path', *FLOWS[1:]) if 'path' in parts else FLOWS


def apply_arms(config: ml_collections.ConfigDict, file: str, parts: Iterable[str], variants: Sequence[str]) -> None:
  """Puts the kinds of teachers and the arms among the parts of a variant into the config; ValueError for unknown parts."""
  kinds = config.get('teacher_kinds', {})
  for part in parts:
    if part in kinds:
      put(config, kinds[part])
    elif part in config.arms:
      put(config, config.arms[part])
    elif part not in variants:
      raise ValueError(f'{file} has the variants {", ".join([*variants, *kinds])} and {", ".join(config.arms)}, not {part!r}.')


# The paper's setting: section 4.1.2. What it does not state: lambda, the ResNet, how many samples were looked at.
PAPER = dict(
    data=dict(num_train=None, num_held_out=None),
    network=dict(num_blocks=3, num_filters=32, num_levels=3),
    resnet=dict(num_blocks=8, num_filters=64, dilations=(1, 2, 4)),
    transformer=dict(num_blocks=8, num_layers=4, width=256, num_heads=4, patch_size=4),  # not the paper's
    optimizer=dict(learning_rate=0.0005, decay_rate=0.95),
    train=dict(batch_size=64, num_epochs=100, ema_decay=0.0, grad_clip=None, log_every_steps=100, evaluate_every_epochs=5,
               checkpoint_every_epochs=1),
    pairs=60000, num_samples=2000, num_seeds=1, num_directions=200, figure5=tuple(RESNETS))
AVERAGED = dict(ema_decay=0.999, grad_clip=10.0)  # what the paper does not have and a short training gains by
SMALL_RESNET = dict(num_blocks=4, num_filters=16, dilations=(1, 2, 4, 8))
SMALL_TRANSFORMER = dict(num_blocks=4, num_layers=2, width=64, num_heads=4, patch_size=4)
# Each takes what it does not name from PAPER.
SCALES = {
    'paper': {},
    'gpu': dict(
        optimizer=dict(learning_rate=0.001, decay_rate=0.8),
        train=dict(batch_size=64, num_epochs=15, log_every_steps=100, evaluate_every_epochs=5, checkpoint_every_epochs=1,
                   **AVERAGED)),
    'small': dict(
        data=dict(num_train=10000, num_held_out=2000),
        network=dict(num_blocks=1, num_filters=16, num_levels=3), resnet=SMALL_RESNET, transformer=SMALL_TRANSFORMER,
        optimizer=dict(learning_rate=0.002, decay_rate=0.7),
        train=dict(batch_size=32, num_epochs=8, log_every_steps=50, evaluate_every_epochs=2, checkpoint_every_epochs=1,
                   **AVERAGED),
        pairs=10000, num_samples=1000, num_seeds=3),
    'tiny': dict(
        data=dict(num_train=4000, num_held_out=1000),
        network=dict(num_blocks=1, num_filters=12, num_levels=3), resnet=SMALL_RESNET, transformer=SMALL_TRANSFORMER,
        optimizer=dict(learning_rate=0.003, decay_rate=0.6),
        train=dict(batch_size=32, num_epochs=4, log_every_steps=25, evaluate_every_epochs=2, checkpoint_every_epochs=1,
                   **AVERAGED),
        pairs=4000, num_samples=500),
    'smoke': dict(
        data=dict(num_train=128, num_held_out=64),
        network=dict(num_blocks=1, num_filters=4, num_levels=2), resnet=dict(SMALL_RESNET, num_filters=4),
        transformer=dict(num_blocks=2, num_layers=1, width=8, num_heads=2, patch_size=4),
        optimizer=dict(learning_rate=0.003, decay_rate=0.6),
        train=dict(batch_size=32, num_epochs=1, log_every_steps=1, evaluate_every_epochs=1, checkpoint_every_epochs=1,
                   **AVERAGED),
        pairs=64, num_samples=48, num_directions=8, figure5=('l1_noise',)),
}


def tfds_images(name: str, variant: str) -> ml_collections.ConfigDict:
  """Config of a data set of launch.prepare_data: a name in SCALES, `path` (see `flows`), KINDS, arms, with commas between."""
  parts = variant.split(',')
  scales = [part for part in parts if part in SCALES] or ['paper']
  if len(scales) > 1:
    raise ValueError(f'configs/{name}.py takes one of {", ".join(SCALES)}, not {" and ".join(scales)}.')
  scale = {**PAPER, **SCALES[scales[0]]}
  config = ml_collections.ConfigDict()
  # None: all images; the folder that TFDS_DATA_DIR names.
  config.data = dict(name=name, levels=256, logit_lambda=1e-6, data_dir=ml_collections.config_dict.placeholder(str),
                     split_seed=0, **{field: value or ml_collections.config_dict.placeholder(int)
                                      for field, value in scale['data'].items()})
  config.teacher = pixelcnn(dropout=0.0, **scale['network'])
  config.student = flow(**scale['network'])
  config.loss = loss('x_reconstruction')
  config.optimizer = dict(name='adam', **scale['optimizer'])
  config.train = dict(seed=0, keep_checkpoints=2, **scale['train'])
  if config.train.grad_clip is None:
    config.train.grad_clip = ml_collections.config_dict.placeholder(float)
  config.pairs = dict(num=scale['pairs'], seed=1, solver='auto')
  config.evaluation = dict(num_samples=scale['num_samples'], seed=2, num_seeds=scale['num_seeds'])
  resnet = dict(name='resnet', dropout=0.0, bottleneck=None, bottleneck_skip=False, **scale['resnet'])
  config.teacher_kinds = teacher_kinds(config.data.levels, dict(scale['transformer'], dropout=0.0))
  config.arms = {**flow_arms(), **resnet_arms(resnet, RESNETS), **study_arms(resnet)}
  config.figures = {'4': flows(parts), '5': tuple(f'resnet/x_reconstruction_{arm}' for arm in scale['figure5']),
                    '6': ('resnet/x_reconstruction_l1_noise',)}
  config.appendix_a = dict(num_directions=scale['num_directions'], num_shown=12, seed=3)
  config.teachers_study = dict(kinds=SMOKE_KINDS if scales[0] == 'smoke' else KINDS, arms=tuple(study_arms(resnet)))
  apply_arms(config, f'configs/{name}.py', parts, (*SCALES, 'path'))
  return config
