"""What the configs of images share: the arms of the figures, and the scales of those that are prepared by TFDS."""
from typing import Any, Iterable, Mapping, Sequence

import ml_collections

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


def flows(parts: Iterable[str]) -> tuple[str, ...]:
  """The arms of figure 4 in the order of its panels; the variant `path` adds one."""
  return (FLOWS[0], 'flow/reverse_kl_path', *FLOWS[1:]) if 'path' in parts else FLOWS


def apply_arms(config: ml_collections.ConfigDict, file: str, parts: Iterable[str], variants: Sequence[str]) -> None:
  """Puts the arms among the parts of a variant into the config, for launch.distill; ValueError for unknown parts."""
  for part in parts:
    if part in config.arms:
      for section, fields in config.arms[part].items():
        config[section] = fields
    elif part not in variants:
      raise ValueError(f'{file} has the variants {", ".join(variants)} and {", ".join(config.arms)}, not {part!r}.')


# The paper's setting: section 4.1.2. What it does not state: lambda, the ResNet, how many samples were looked at.
PAPER = dict(
    data=dict(num_train=None, num_held_out=None),
    network=dict(num_blocks=3, num_filters=32, num_levels=3),
    resnet=dict(num_blocks=8, num_filters=64, dilations=(1, 2, 4)),
    optimizer=dict(learning_rate=0.0005, decay_rate=0.95),
    train=dict(batch_size=64, num_epochs=100, ema_decay=0.0, grad_clip=None, log_every_steps=100, evaluate_every_epochs=5,
               checkpoint_every_epochs=1),
    pairs=60000, num_samples=2000, num_seeds=1, num_directions=200, figure5=tuple(RESNETS))
AVERAGED = dict(ema_decay=0.999, grad_clip=10.0)  # what the paper does not have and a short training gains by
SMALL_RESNET = dict(num_blocks=4, num_filters=16, dilations=(1, 2, 4, 8))
# Each takes what it does not name from PAPER.
SCALES = {
    'paper': {},
    'gpu': dict(
        optimizer=dict(learning_rate=0.001, decay_rate=0.8),
        train=dict(batch_size=64, num_epochs=15, log_every_steps=100, evaluate_every_epochs=5, checkpoint_every_epochs=1,
                   **AVERAGED)),
    'small': dict(
        data=dict(num_train=10000, num_held_out=2000),
        network=dict(num_blocks=1, num_filters=16, num_levels=3), resnet=SMALL_RESNET,
        optimizer=dict(learning_rate=0.002, decay_rate=0.7),
        train=dict(batch_size=32, num_epochs=8, log_every_steps=50, evaluate_every_epochs=2, checkpoint_every_epochs=1,
                   **AVERAGED),
        pairs=10000, num_samples=1000, num_seeds=3),
    'tiny': dict(
        data=dict(num_train=4000, num_held_out=1000),
        network=dict(num_blocks=1, num_filters=12, num_levels=3), resnet=SMALL_RESNET,
        optimizer=dict(learning_rate=0.003, decay_rate=0.6),
        train=dict(batch_size=32, num_epochs=4, log_every_steps=25, evaluate_every_epochs=2, checkpoint_every_epochs=1,
                   **AVERAGED),
        pairs=4000, num_samples=500, figure5=('l1', 'l1_noise')),
    'smoke': dict(
        data=dict(num_train=128, num_held_out=64),
        network=dict(num_blocks=1, num_filters=4, num_levels=2), resnet=dict(SMALL_RESNET, num_filters=4),
        optimizer=dict(learning_rate=0.003, decay_rate=0.6),
        train=dict(batch_size=32, num_epochs=1, log_every_steps=1, evaluate_every_epochs=1, checkpoint_every_epochs=1,
                   **AVERAGED),
        pairs=64, num_samples=48, num_directions=8, figure5=('l1_noise',)),
}


def tfds_images(name: str, variant: str) -> ml_collections.ConfigDict:
  """Config of a data set of launch.prepare_data: a name in SCALES, `path` (see `flows`), arms, with commas between."""
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
  config.teacher = dict(name='pixelcnn', dropout=0.0, **scale['network'])
  config.student = dict(name='flow', dropout=0.0, **scale['network'])
  config.loss = loss('x_reconstruction')
  config.optimizer = dict(name='adam', **scale['optimizer'])
  config.train = dict(seed=0, keep_checkpoints=2, **scale['train'])
  if config.train.grad_clip is None:
    config.train.grad_clip = ml_collections.config_dict.placeholder(float)
  config.pairs = dict(num=scale['pairs'], seed=1, solver='auto')
  config.evaluation = dict(num_samples=scale['num_samples'], seed=2, num_seeds=scale['num_seeds'])
  resnet = dict(name='resnet', dropout=0.0, bottleneck=None, bottleneck_skip=False, **scale['resnet'])
  config.arms = {**flow_arms(), **resnet_arms(resnet, RESNETS)}
  config.figures = {'4': flows(parts), '5': tuple(f'resnet/x_reconstruction_{arm}' for arm in scale['figure5']),
                    '6': ('resnet/x_reconstruction_l1_noise',)}
  config.appendix_a = dict(num_directions=scale['num_directions'], num_shown=12, seed=3)
  apply_arms(config, f'configs/{name}.py', parts, (*SCALES, 'path'))
  return config
