"""The handwritten digits that scikit-learn ships: the whole path on real images, with nothing to download.

    python -m launch.reproduce --figure=4,5 --config=configs/digits.py --workdir=runs/digits

Below 30 minutes on 2 CPU cores; the teacher ends at 1.93 bits/dim on held-out images, 1.79 on training images.

Variants, separated by commas: `path` adds reverse KL with the path derivative to figure 4 (7 minutes more); `smoke` is the
same, tiny; the name of an arm (such as `resnet/x_reconstruction_l1_noise`) puts its student and loss into the config, for
launch.distill.

One word takes another teacher, for all commands and figures; `--figure=teachers` compares them all:

| variant | the teacher | what it sets |
| --- | --- | --- |
| gaussian | PixelCNN++, a Gaussian for each pixel (the default) | |
| logistic | a logistic | `teacher.elementwise` |
| mixture_of_logistics | a mixture of 5 logistics | and `teacher.num_mixtures` |
| neural | a deep sigmoidal flow of 2 layers of 8 units | `teacher.elementwise`, `num_units`, `num_layers` |
| categorical | a softmax over the 17 grey levels | `teacher.elementwise`, `levels`; `data.logit_lambda` is None |
| discretized_mixture_of_logistics | 5 logistics, rounded to the grey levels | the same and `teacher.num_mixtures` |
| column_order, random_order | a Gaussian, with the pixels in another order | `order` of teacher and flow student |
| transformer | 6 blocks of causal attention over 2x2 patches, raster order and reversed in turn | the section `teacher` |

What a head needs can be set field by field too: `config.teacher.elementwise`, `num_mixtures`, `num_units`, `num_layers`,
`prior` (normal or uniform), `levels` and `order` (see inverse_matching.orders) hold None where the teacher's default is to
stand. The flow students of figure 4 generate in one order: of the transformer, whose blocks have two, they can only be
approximations.
"""
import ml_collections

from configs import common


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant: 'default', 'path', 'smoke', a kind of teacher, the name of an arm, or several with commas between."""
  parts = variant.split(',')
  smoke = 'smoke' in parts
  network = dict(num_blocks=1, num_filters=8 if smoke else 24, num_levels=2 if smoke else 3)
  config = ml_collections.ConfigDict()
  config.data = dict(name='digits', levels=17, logit_lambda=0.01, held_out=0.1, split_seed=0)
  config.teacher = common.pixelcnn(dropout=0.3, **network)
  config.student = common.flow(**network)
  config.loss = common.loss('x_reconstruction')
  config.optimizer = dict(name='adam', learning_rate=0.003, decay_rate=0.95)
  config.train = dict(batch_size=64, num_epochs=2 if smoke else 30, seed=0, ema_decay=0.999, grad_clip=10.0,
                      log_every_steps=10, evaluate_every_epochs=1 if smoke else 5, checkpoint_every_epochs=1 if smoke else 5,
                      keep_checkpoints=2)
  config.pairs = dict(num=256 if smoke else 8192, seed=1, solver='auto')
  config.evaluation = dict(num_samples=128 if smoke else 1000, seed=2)

  resnet = dict(name='resnet', num_blocks=3, num_filters=8 if smoke else 32, dilations=(1, 2, 1), dropout=0.0,
                bottleneck=None, bottleneck_skip=False)
  # Beside those of the paper: its noise as a variance, and what breaks its advice on bottlenecks (section 4).
  noisy = {'l2_noise_variance': dict(distance='l2', noise_std=0.5**0.5),
           'l1_noise_variance': dict(distance='l1', noise_std=0.5**0.5)}
  narrow, l2 = dict(resnet, bottleneck=4), dict(distance='l2')
  resnets = {**common.resnet_arms(resnet, {**common.RESNETS, **noisy}),
             **common.resnet_arms(narrow, {'l2_bottleneck': l2}),
             **common.resnet_arms(dict(narrow, bottleneck_skip=True), {'l2_bottleneck_skip': l2})}
  config.arms = {**common.flow_arms(), **resnets, **common.study_arms(resnet)}
  config.teacher_kinds = common.teacher_kinds(17, dict(
      num_blocks=2 if smoke else 6, num_layers=1, width=8 if smoke else 64, num_heads=4, patch_size=2, dropout=0.1))
  # The arms of each figure in the order of its panels.
  config.figures = {'4': common.flows(parts), '5': ('resnet/x_reconstruction_l1_noise',) if smoke else tuple(resnets)}
  config.appendix_a = dict(num_directions=8 if smoke else 200, num_shown=8 if smoke else 12, seed=3)
  # Fields of other sections take the place of theirs.
  config.lambda_study = dict(logit_lambdas=(1e-6, 0.05) if smoke else (1e-6, 1e-3, 0.01, 0.05),
                             train=dict(num_epochs=1 if smoke else 15))
  if smoke:
    config.lambda_study.figures = {'4': ('flow/x_reconstruction',)}
  config.teachers_study = dict(kinds=common.SMOKE_KINDS if smoke else common.KINDS, arms=tuple(common.study_arms(resnet)),
                               train=dict(num_epochs=1 if smoke else 20))
  if not smoke:  # an epoch of a transformer costs half as much, and it needs more of them
    config.teachers_study.training = dict(transformer=dict(train=dict(num_epochs=60), optimizer=dict(learning_rate=0.005,
                                                                                                     decay_rate=0.97)))
  config.sampling = dict(batches=(1, 4) if smoke else (1, 16, 64, 256),
                         arms=('flow/oracle_prediction', 'resnet/x_reconstruction_l1_noise'),
                         warm_start='flow/oracle_prediction', large_workdir='',
                         large=dict(event_shape=(6, 6, 1)) if smoke else dict(event_shape=(28, 28, 1), num_blocks=3,
                                                                              num_filters=32, num_levels=3))
  common.apply_arms(config, 'configs/digits.py', parts, ('default', 'path', 'smoke'))
  if config.teacher.name != 'pixelcnn':
    config.sampling.large = {}  # a larger PixelCNN++
  return config
