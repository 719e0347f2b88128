"""A table of your own, floats [N, D] in an .npy or .npz file (docs/data.md); the fields are explained in configs/digits.py.

    python -m launch.train_teacher --config=configs/table.py --config.data.path=mine.npy --workdir=runs/teacher
    python -m launch.distill --config=configs/table.py --teacher=runs/teacher --workdir=runs/student
    python -m launch.evaluate --workdir=runs/student --teacher=runs/teacher

Variants: `default`, for some hundred rows or more; `smoke`, tiny. With commas between: the name of an arm, `made/OBJECTIVE`;
`mixture`, a mixture of 5 logistics for each dimension in place of a Gaussian.
"""
import ml_collections
from ml_collections.config_dict import placeholder

from inverse_matching.recipes import images, variants

OBJECTIVES = ('reverse_kl', 'z_reconstruction', 'x_reconstruction', 'oracle_prediction')

BASE = dict(
    data=dict(
        name='arrays',
        path=placeholder(str),  # of the file
        held_out=0.1,  # share of the rows, if the file holds none out
        split_seed=0,
        num_validation=placeholder(int)),
    teacher=dict(
        name='made', num_units=32, num_layers=1,
        elementwise=placeholder(str), num_mixtures=placeholder(int), prior=placeholder(str),
        order=placeholder(str)),  # of the columns: raster (None), reversed or random
    student=dict(name='made', num_units=32, num_layers=1, order=placeholder(str)),
    loss=images.loss('x_reconstruction'),
    optimizer=dict(name='adam', learning_rate=0.01, schedule='cosine', decay_rate=1.0, warmup_epochs=placeholder(float)),
    train=dict(batch_size=64, num_epochs=50, seed=0, precision=placeholder(str), microbatch=placeholder(int),
               ema_decay=0.99, grad_clip=100.0, log_every_steps=10,
               evaluate_every_epochs=5, checkpoint_every_epochs=10, keep_checkpoints=2),
    arms={f'made/{name}': dict(loss=images.loss(name)) for name in OBJECTIVES})

SMOKE = dict(
    teacher=dict(num_units=16), student=dict(num_units=16),
    train=dict(batch_size=16, num_epochs=2, evaluate_every_epochs=1, checkpoint_every_epochs=1))
WORDS = {'mixture': dict(teacher=dict(elementwise='mixture_of_logistics', num_mixtures=5))}


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant; see above."""
  return variants.build('configs/table.py', variant, BASE, {'default': {}, 'smoke': SMOKE}, WORDS)
