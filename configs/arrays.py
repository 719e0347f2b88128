"""Images of your own, integers in an .npy or .npz file (docs/data.md); the fields are explained in configs/digits.py.

    python -m launch.train_teacher --config=configs/arrays.py --config.data.path=mine.npz --workdir=runs/teacher
    python -m launch.reproduce --figure=4,5 --config=configs/arrays.py --config.data.path=mine.npz --workdir=runs/mine

Variants: `default`, for some thousand small images: networks and training are those of the digits; `smoke`, tiny. With commas
between: `path`, a kind of teacher or the name of an arm, as in configs/digits.py. Images whose sides cannot be halved twice
take a smaller config.teacher.num_levels and config.student.num_levels.
"""
import ml_collections
from ml_collections.config_dict import placeholder

from inverse_matching.recipes import images, variants

RESNET = dict(name='resnet', num_blocks=4, num_filters=32, dropout=0.0, dilations=(1, 2, 4, 8), bottleneck=None,
              bottleneck_skip=False)
TRANSFORMER = dict(num_blocks=6, num_layers=1, width=64, num_heads=4, dropout=0.1, patch_size=2)

BASE = dict(
    data=dict(
        name='arrays',
        path=placeholder(str),  # of the file
        levels=placeholder(int),  # grey levels; None: 256 if the largest value is 128 to 255, else one more than that
        logit_lambda=0.01, end_noise=placeholder(str), held_out=0.1, split_seed=0, num_validation=placeholder(int)),
    teacher=dict(name='pixelcnn', num_blocks=1, num_filters=24, num_levels=3, dropout=0.3, **images.HEAD),
    student=dict(name='flow', num_blocks=1, num_filters=24, num_levels=3, dropout=0.0, order=placeholder(str)),
    loss=images.loss('x_reconstruction'),
    optimizer=dict(name='adam', learning_rate=0.003, schedule=placeholder(str), decay_rate=0.95,
                   warmup_epochs=placeholder(float)),
    train=dict(batch_size=64, num_epochs=30, seed=0, precision=placeholder(str), microbatch=placeholder(int),
               ema_decay=0.999, grad_clip=10.0, log_every_steps=10,
               evaluate_every_epochs=5, checkpoint_every_epochs=5, keep_checkpoints=2),
    pairs=dict(num=8192, seed=1, solver='auto'),
    encodings=dict(num=placeholder(int), seed=4),
    evaluation=dict(num_samples=1000, seed=100, num_train_seeds=1),
    arms=images.arms(RESNET),
    teacher_kinds=images.teacher_kinds(levels=placeholder(int), transformer=TRANSFORMER),
    figures={'4': images.FIGURE_4, '5': images.FIGURE_5})

SMOKE = dict(
    teacher=dict(num_filters=4, num_levels=1), student=dict(num_filters=4, num_levels=1),
    train=dict(batch_size=16, num_epochs=1, evaluate_every_epochs=1, checkpoint_every_epochs=1),
    pairs=dict(num=64), evaluation=dict(num_samples=40), arms=images.arms(dict(RESNET, num_filters=4)),
    figures={'5': ('resnet/x_reconstruction_l1_noise',)})


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant; see above."""
  return variants.build('configs/arrays.py', variant, BASE, {'default': {}, 'smoke': SMOKE}, {'path': images.PATH})
