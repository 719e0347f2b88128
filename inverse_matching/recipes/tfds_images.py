"""The tables of MNIST, Fashion-MNIST and CIFAR-10, which are one experiment; the fields are explained in configs/digits.py."""
from typing import Any, Mapping

import ml_collections
from ml_collections.config_dict import placeholder

from inverse_matching.recipes import images, variants

RESNET = dict(name='resnet', num_blocks=8, num_filters=64, dilations=(1, 2, 4), dropout=0.0, bottleneck=None,
              bottleneck_skip=False)
SMALL_RESNET = dict(RESNET, num_blocks=4, num_filters=16, dilations=(1, 2, 4, 8))
TRANSFORMER = dict(num_blocks=8, num_layers=4, width=256, num_heads=4, patch_size=4, dropout=0.0)  # not the paper's
SMALL_TRANSFORMER = dict(TRANSFORMER, num_blocks=4, num_layers=2, width=64)


def kinds(transformer):
  """With 256 grey levels."""
  return images.teacher_kinds(levels=256, transformer=transformer)


def base(name: str) -> dict[str, Any]:
  """The paper's setting, section 4.1.2. It does not state lambda, the ResNet, nor how many samples were looked at."""
  return dict(
      data=dict(
          name=name, levels=256, logit_lambda=1e-6, end_noise=placeholder(str), split_seed=0,
          data_dir=placeholder(str),  # folder of prepared data sets; None: the one that TFDS_DATA_DIR names
          num_train=placeholder(int), num_held_out=placeholder(int),  # images; None: all
          num_validation=placeholder(int)),
      teacher=dict(name='pixelcnn', num_blocks=3, num_filters=32, num_levels=3, dropout=0.0, **images.HEAD),
      student=dict(name='flow', num_blocks=3, num_filters=32, num_levels=3, dropout=0.0, order=placeholder(str)),
      loss=images.loss('x_reconstruction'),
      optimizer=dict(name='adam', learning_rate=0.0005, schedule=placeholder(str), decay_rate=0.95,
                     warmup_epochs=placeholder(float), cooldown_epochs=placeholder(float)),
      train=dict(
          batch_size=64, num_epochs=100, seed=0, precision=placeholder(str), microbatch=placeholder(int),
          ema_decay=0.0, grad_clip=placeholder(float),
          log_every_steps=100, evaluate_every_epochs=5, checkpoint_every_epochs=1, keep_checkpoints=2),
      pairs=dict(num=60000, seed=1, solver='auto'),
      encodings=dict(num=placeholder(int), seed=4),
      evaluation=dict(
          num_samples=2000, seed=100,
          num_seeds=1,  # of the samples: seed, seed + 1, ...
          num_train_seeds=1),
      arms=images.arms(RESNET),
      teacher_kinds=kinds(TRANSFORMER),
      figures={'4': images.FIGURE_4, '5': images.FIGURE_5, '6': images.FIGURE_6},
      appendix_a=dict(num_directions=200, seed=3, num_shown=12),
      sensitivity=dict(arms=(*images.FIGURE_4, *images.FIGURE_5), num_samples=200, seed=6),
      warm_start=images.WARM_START,
      factors=images.FACTORS,
      teacher_course=dict(num_samples=1000, seed=5),
      convergence=dict(arms=(*images.FIGURE_4, *images.FIGURE_5), updates=500),
      # Multiply-adds of a sample over those of a pass of the teacher.
      budget=dict(images.BUDGET, sizes=images.sizes(
          flow={'1/16': dict(num_blocks=1, num_filters=12), '1/4': dict(num_blocks=1, num_filters=24), '1': {}},
          resnet={'1/16': dict(num_filters=12), '1/4': dict(num_filters=24), '1': dict(num_filters=48)})),
      headroom=dict(
          arms=(*images.FIGURE_4[2:], *images.FIGURE_5),
          shares=(1 / 12, 1 / 3),  # of the teacher's training, of which checkpoints must be kept
          control='flow/oracle_prediction',  # the arm whose settings the controls have, with these changes
          training={},
          longer=dict(train=dict(num_epochs=10)),  # sections of the config for the teacher that is trained on
          classifier_seed=1),
      teachers_study=dict(kinds=images.KINDS, arms=images.TEACHERS_STUDY))


def cpu_arms(num_epochs=6, several=('flow/x_reconstruction', 'flow/oracle_prediction')):
  """Students of about 5,400 updates, or 900 an epoch, three of each of those in `several`."""
  students = images.arms(SMALL_RESNET, train=dict(num_epochs=num_epochs, keep_checkpoints=2),
                         optimizer=dict(schedule='cosine', cooldown_epochs=None))
  # The noise within a grey level serves for that on the data, and encodings are stored.
  students['few_step/flow_matching']['loss']['data_noise_std'] = 0.0
  students['resnet/x_reconstruction_l2_denoising']['loss']['data_noise_std'] = 0.165  # 5% of the spread of x
  students['resnet/energy_oracle']['loss']['weight'] = 0.2  # with which both parts have gradients of about one size
  return {**students, **{arm: {**students[arm], 'evaluation': dict(num_train_seeds=3)} for arm in several}}


AVERAGED = dict(ema_decay=0.999, grad_clip=10.0)  # what the paper does not have and a short training gains by
SCALES = {
    'paper': {},
    'gpu': dict(
        optimizer=dict(learning_rate=0.001, decay_rate=0.8),
        train=dict(num_epochs=15, **AVERAGED)),
    'cpu': dict(
        # Not 1e-6: of pilots of two epochs at 1e-6 to 0.05, those at 1e-3 had the fewest bits and the best samples.
        # With uniform noise black pixels have no z in the upper tail of the prior, and x-reconstruction learns that a large z
        # is ink (results/mnist).
        data=dict(num_validation=2000, logit_lambda=1e-3, end_noise='gaussian'),
        teacher=dict(num_blocks=2, num_filters=24, network_input='intensity'), student=dict(num_blocks=1, num_filters=24),
        # The rate stays, and the teacher stops early: from the sixth epoch on its bits still go down, and its samples away from
        # the data; so they do when the rate falls. --figure=teacher_course tells.
        optimizer=dict(learning_rate=0.002, decay_rate=1.0, warmup_epochs=0.5),
        train=dict(num_epochs=6, evaluate_every_epochs=1, keep_checkpoints=24, **AVERAGED),
        # Of 30,000 pairs oracle prediction had learnt too much after four epochs.
        pairs=dict(num=60000), encodings=dict(num=174000), evaluation=dict(num_samples=5000),
        arms=cpu_arms(),
        budget=dict(sizes=images.sizes(
            flow={'1/16': dict(num_filters=8), '1/4': dict(num_filters=16), '1': dict(num_blocks=2)},
            resnet={'1/16': dict(num_filters=11), '1/4': dict(num_filters=22), '1': dict(num_filters=44)})),
        # A decoder of shuffled z draws the mean soon, and encodings by random weights are far from the prior at once.
        headroom=dict(shares=(1 / 6, 1 / 3), training=dict(train=dict(num_epochs=1), encodings=dict(num=58000)),
                      longer=dict(optimizer=dict(learning_rate=0.0005), train=dict(num_epochs=3))),
        teacher_kinds=kinds(SMALL_TRANSFORMER),
        teachers_study=dict(training=dict(transformer=dict(train=dict(num_epochs=12), optimizer=dict(schedule='cosine'))))),
    'tiny': dict(
        data=dict(num_train=4000, num_held_out=1000),
        teacher=dict(num_blocks=1, num_filters=12), student=dict(num_blocks=1, num_filters=12),
        optimizer=dict(learning_rate=0.003, decay_rate=0.6),
        train=dict(batch_size=32, num_epochs=4, log_every_steps=25, evaluate_every_epochs=2, **AVERAGED),
        pairs=dict(num=4000), evaluation=dict(num_samples=500),
        arms=images.arms(SMALL_RESNET), teacher_kinds=kinds(SMALL_TRANSFORMER)),
    'smoke': dict(
        data=dict(num_train=128, num_held_out=64),
        teacher=dict(num_blocks=1, num_filters=4, num_levels=2), student=dict(num_blocks=1, num_filters=4, num_levels=2),
        optimizer=dict(learning_rate=0.003, decay_rate=0.6),
        train=dict(batch_size=32, num_epochs=1, log_every_steps=1, evaluate_every_epochs=1, **AVERAGED),
        pairs=dict(num=64), encodings=dict(num=256), evaluation=dict(num_samples=48),
        arms=images.arms(dict(SMALL_RESNET, num_filters=4)),
        teacher_kinds=kinds(dict(TRANSFORMER, num_blocks=2, num_layers=1, width=8, num_heads=2)),
        figures={'5': ('resnet/x_reconstruction_l1_noise',)},
        appendix_a=dict(num_directions=8), sensitivity=dict(num_samples=12), warm_start=images.SMOKE_WARM_START,
        factors=images.SMOKE_FACTORS, teacher_course=dict(num_samples=24),
        convergence=dict(arms=('flow/oracle_prediction',), updates=2),
        budget=dict(images.SMOKE_BUDGET, sizes=images.sizes(
            flow={'1/4': dict(num_filters=2), '1': dict(num_filters=4)},
            resnet={'1/4': dict(num_filters=2), '1': dict(num_filters=4)})),
        headroom=dict(arms=('flow/oracle_prediction',), shares=(), longer=dict(train=dict(num_epochs=1))),
        teachers_study=dict(kinds=images.SMOKE_KINDS)),
}


L1_AND_L2 = (*images.FIGURE_6, 'resnet/x_reconstruction_l2_noise')
OF_DATA = {  # sections of the scales for one data set
    'fashion_mnist': {'cpu': dict(
        arms=cpu_arms(num_epochs=4))},  # which told MNIST's students apart as six did
    'cifar10': {'cpu': dict(
        # 2,000 are for validation, and all have as many updates of 23,000 images as of 58,000; the teacher a few more.
        data=dict(num_train=25000, end_noise=placeholder(str)), train=dict(num_epochs=12), pairs=dict(num=30000),
        arms=cpu_arms(num_epochs=15, several=L1_AND_L2), encodings=dict(num=69000), figures={'6': L1_AND_L2})}}


def config(name: str, variant: str) -> ml_collections.ConfigDict:
  """Config of a data set: a scale, `path`, a kind of teacher, the name of an arm, or several with commas between."""
  scales = {scale: _both(overlay, OF_DATA.get(name, {}).get(scale, {})) for scale, overlay in SCALES.items()}
  return variants.build(f'configs/{name}.py', variant, base(name), scales, {'path': images.PATH})


def _both(overlay: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
  """One overlay of two: where both have a section, the fields of the second stand beside those of the first."""
  return {**overlay, **{section: {**overlay.get(section, {}), **fields} for section, fields in more.items()}}
