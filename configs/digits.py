"""The handwritten digits that scikit-learn ships: the whole path on real images, with nothing to download.

    python -m launch.reproduce --figure=4,5 --config=configs/digits.py --workdir=runs/digits

With `:main`, 10 minutes on 2 CPU cores; the teacher ends at 1.92 bits/dim on held-out images, 1.80 on training images.

Variants, separated by commas: `path` adds reverse KL with the path derivative to figure 4 (7 minutes more); `main` leaves two
ResNets in figure 5; `smoke` is the same as all, tiny; the name of an arm (such as `resnet/x_reconstruction_l1_noise`) puts its
student and loss into the config, for launch.distill.

One word takes another teacher, for all commands and figures; `--figure=teachers` compares them all:

| variant | the teacher | what it sets |
| --- | --- | --- |
| gaussian | PixelCNN++, a Gaussian for each pixel (the default) | |
| gaussian_in_levels | the same in the space of grey levels, x = pixel + u | `data.logit_lambda` is None |
| logistic | a logistic | `teacher.elementwise` |
| mixture_of_logistics | a mixture of 5 logistics | and `teacher.num_mixtures` |
| neural | a deep sigmoidal flow of 2 layers of 8 units | `teacher.elementwise`, `num_units`, `num_layers` |
| categorical | a softmax over the 17 grey levels | `teacher.elementwise`, `levels`; `data.logit_lambda` is None |
| discretized_mixture_of_logistics | 5 logistics, rounded to the grey levels | the same and `teacher.num_mixtures` |
| column_order, random_order | a Gaussian, with the pixels in another order | `order` of teacher and flow student |
| transformer | 6 blocks of causal attention over 2x2 patches, raster order and reversed in turn | the section `teacher` |

What a head needs can be set field by field too: `config.teacher.elementwise`, `num_mixtures`, `num_units`, `num_layers`,
`prior` (normal or uniform), `levels` and `order` (see inverse_matching/teachers/orders.py) hold None where the teacher's
default is to stand. The flow students of figure 4 generate in one order: of the transformer, whose blocks have two, they can
only be approximations.
"""
import ml_collections
from ml_collections.config_dict import placeholder

from inverse_matching.recipes import images, variants

RESNET = dict(
    name='resnet', num_blocks=3, num_filters=32, dropout=0.0,
    dilations=(1, 2, 1),  # of the blocks in turn
    bottleneck=None,  # units of a hidden vector in the middle that all passes through; None: no such vector
    bottleneck_skip=False)  # whether a skip connection goes around it
TRANSFORMER = dict(
    num_blocks=6, num_layers=1, width=64,  # autoregressive blocks; layers of attention in each; units
    num_heads=4, dropout=0.1,
    patch_size=2)  # pixels, the side of a patch


def arms(resnet):
  """Those of the paper; its noise as a variance; and what breaks its advice on bottlenecks (section 4)."""
  narrow = dict(resnet, bottleneck=4)
  return {
      **images.arms(resnet),
      'resnet/x_reconstruction_l2_noise_variance': images.x_reconstruction(resnet, 'l2', noise_std=0.5**0.5),
      'resnet/x_reconstruction_l1_noise_variance': images.x_reconstruction(resnet, 'l1', noise_std=0.5**0.5),
      'resnet/x_reconstruction_l2_bottleneck': images.x_reconstruction(narrow, 'l2'),
      'resnet/x_reconstruction_l2_bottleneck_skip': images.x_reconstruction(dict(narrow, bottleneck_skip=True), 'l2'),
  }


BASE = dict(
    data=dict(
        name='digits',
        levels=17,  # grey levels of a pixel
        logit_lambda=0.01,  # x = logit(lambda + (1 - 2 lambda) (pixel + u) / levels), u uniform; None: x = pixel + u
        end_noise=placeholder(str),  # gaussian: x of the first and the last level is normal; None: all are as above
        held_out=0.1,  # share of the images
        split_seed=0,  # of the choice of those
        num_validation=placeholder(int)),  # training images set apart for the held-out loss; None: it takes those held out
    teacher=dict(
        name='pixelcnn',
        num_blocks=1,  # residual blocks at each resolution
        num_filters=24,  # channels
        num_levels=3,  # resolutions, each half the one before
        dropout=0.3,
        **images.HEAD),
    student=dict(
        name='flow', num_blocks=1, num_filters=24, num_levels=3, dropout=0.0,
        order=placeholder(str)),  # that of the teacher; None: raster
    loss=images.loss('x_reconstruction'),
    optimizer=dict(
        name='adam', learning_rate=0.003,
        schedule=placeholder(str),  # None: the learning rate is multiplied by decay_rate after every epoch; or cosine
        decay_rate=0.95, warmup_epochs=placeholder(float)),  # None: the rate does not rise first
    train=dict(
        batch_size=64, num_epochs=30, seed=0,
        precision=placeholder(str),  # of the numbers inside the networks that train: float32 (None too) or bfloat16
        microbatch=placeholder(int),  # examples that a device takes at once, which adds up; None: see docs/speed.md
        ema_decay=0.999,  # of the average of the parameters, which sampling and evaluation use; 0: no average
        grad_clip=10.0,  # largest norm of the gradient; None: no clipping
        log_every_steps=10, evaluate_every_epochs=5, checkpoint_every_epochs=5,
        keep_checkpoints=2),  # the last ones
    pairs=dict(
        num=8192, seed=1,  # pairs (z, T^-1(z)), for oracle prediction
        solver='auto'),  # of T^-1: ancestral, cached, fixed_point, or auto for what suits the teacher
    encodings=dict(num=placeholder(int), seed=4),  # T(x) to store for x-reconstruction; None: made in every step
    evaluation=dict(
        num_samples=1000, seed=100,  # samples of the teacher and of each student, of the same z; no training seed
        num_train_seeds=1),  # students of each arm, with train.seed and those that follow
    arms=arms(RESNET),
    teacher_kinds=images.teacher_kinds(levels=17, transformer=TRANSFORMER),
    figures={  # arms in the order of the panels
        '4': images.FIGURE_4,
        '5': (*images.FIGURE_5, 'resnet/x_reconstruction_l2_noise_variance', 'resnet/x_reconstruction_l1_noise_variance',
              'resnet/x_reconstruction_l2_bottleneck', 'resnet/x_reconstruction_l2_bottleneck_skip')},
    appendix_a=dict(
        num_directions=200, seed=3,  # random directions of z
        num_shown=12),  # rows of the picture
    sensitivity=dict(
        arms=(*images.FIGURE_4, *images.FIGURE_5),  # students to measure too, where they are trained
        num_samples=200, seed=6),  # draws of z
    warm_start=dict(images.WARM_START, arms=('flow/reverse_kl', 'flow/z_reconstruction'), every=50,
                    updates=(0, 100, 200, 500, 1000, 2000, 3000),
                    training=dict(optimizer=dict(name='adam'), train=dict(batch_size=64))),
    factors=images.FACTORS,
    teacher_course=dict(num_samples=1000, seed=5),  # that are drawn at every checkpoint
    convergence=dict(  # which students, and for how many updates they and the teacher train on
        arms=(*images.FIGURE_4, *images.FIGURE_5), updates=500),
    crossed=dict(  # students of every objective under every objective
        arms=images.FIGURE_4, num_seeds=5,  # teachers, with a student of each arm
        rates=(3e-4, 1e-3, 3e-3, 0.01), num_tuning=3000,  # to choose from, after so many updates
        updates=(780, 3000), every=60,  # at which students are measured; between two checkpoints
        further=('flow/reverse_kl', 'flow/z_reconstruction'), further_updates=(12000,), further_seeds=3),  # who go on
    budget=dict(images.BUDGET, sizes=images.sizes(
        flow={'1/16': dict(num_filters=6), '1/4': dict(num_filters=12), '1': {}},
        resnet={'1/16': dict(num_filters=8), '1/4': dict(num_filters=16), '1': {}})),
    lambda_study=dict(  # figure 4 for each lambda; sections in here are an overlay for all of them
        logit_lambdas=(1e-6, 1e-3, 0.01, 0.05), evaluation=dict(num_train_seeds=3),
        train=dict(num_epochs=15)),
    teachers_study=dict(  # the arms for each kind of teacher; sections in here are an overlay for all of them
        kinds=images.KINDS, arms=images.TEACHERS_STUDY,
        train=dict(num_epochs=20)),
    sampling=dict(
        batches=(1, 16, 64, 256),  # images at once
        arms=('flow/oracle_prediction', 'resnet/x_reconstruction_l1_noise'),
        warm_start='flow/oracle_prediction',  # the student that the fixed point starts from
        large=dict(event_shape=(28, 28, 1), num_blocks=3, num_filters=32, num_levels=3),  # a larger teacher; {}: none
        large_workdir=''))  # where it was trained; '': random weights, which take as long

SCALES = {
    # Kind -> overlay while its teacher trains: an epoch of a transformer costs half as much, and it needs more of them.
    'default': dict(teachers_study=dict(training=dict(
        transformer=dict(train=dict(num_epochs=60), optimizer=dict(learning_rate=0.005, decay_rate=0.97))))),
    'smoke': dict(
        teacher=dict(num_filters=8, num_levels=2), student=dict(num_filters=8, num_levels=2),
        train=dict(num_epochs=2, evaluate_every_epochs=1, checkpoint_every_epochs=1),
        pairs=dict(num=256), evaluation=dict(num_samples=128),
        arms=arms(dict(RESNET, num_filters=8)),
        teacher_kinds=images.teacher_kinds(levels=17, transformer=dict(TRANSFORMER, num_blocks=2, width=8)),
        figures={'5': ('resnet/x_reconstruction_l1_noise',)},
        appendix_a=dict(num_directions=8, num_shown=8), sensitivity=dict(num_samples=12), warm_start=images.SMOKE_WARM_START,
        factors=images.SMOKE_FACTORS, teacher_course=dict(num_samples=40),
        convergence=dict(arms=('flow/oracle_prediction',), updates=26),
        crossed=dict(num_seeds=2, rates=(1e-3, 3e-3), num_tuning=10, updates=(10, 20), every=10, further_updates=(30,),
                     further_seeds=1),
        budget=dict(images.SMOKE_BUDGET, sizes=images.sizes(
            flow={'1/4': dict(num_filters=4), '1': dict(num_filters=8)},
            resnet={'1/4': dict(num_filters=4), '1': dict(num_filters=8)})),
        lambda_study=dict(logit_lambdas=(1e-6, 0.05), evaluation=dict(num_train_seeds=1), train=dict(num_epochs=1),
                          figures={'4': ('flow/x_reconstruction',)}),
        teachers_study=dict(kinds=images.SMOKE_KINDS, train=dict(num_epochs=1)),
        sampling=dict(batches=(1, 4), large=dict(event_shape=(6, 6, 1)))),
}


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant: 'default', 'path', 'smoke', a kind of teacher, the name of an arm, or several with commas between."""
  config = variants.build('configs/digits.py', variant, BASE, SCALES, {'path': images.PATH, 'main': images.MAIN})
  if config.teacher.name != 'pixelcnn':
    config.sampling.large = {}  # its settings are those of a PixelCNN++
  return config
