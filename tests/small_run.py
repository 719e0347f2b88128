"""A TeacherRun over 2 x 2 images without a network, and a config of students for it."""
import constructors
import jax
import numpy as np

from inverse_matching import runs
from inverse_matching.data.images import dataset as images
from inverse_matching.training import checkpoint

EVENT, LEVELS = (2, 2, 1), 5
CONFIG = {
    'student': dict(name='constructors:dense_flow'),
    'loss': dict(name='x_reconstruction', distance='l2'),
    'optimizer': dict(name='adam', learning_rate=1e-2, decay_rate=0.95),
    'train': dict(batch_size=8, num_epochs=2, seed=0, ema_decay=0.9, grad_clip=1.0, log_every_steps=2, evaluate_every_epochs=1,
                  checkpoint_every_epochs=1, keep_checkpoints=2),
}


def make_run(seed=0):
  """A TeacherRun over 2 x 2 images."""
  rng = np.random.default_rng(0)
  splits = [images.Split(rng.integers(0, LEVELS, (n, *EVENT)).astype(np.uint8)) for n in (24, 8)]
  teacher = constructors.dense_teacher(EVENT, scale=1.0)
  params = teacher.init(jax.random.key(seed))
  source = images.source(images.Images(*splits, LEVELS), name='tiny', levels=LEVELS, logit_lambda=0.01)
  return runs.TeacherRun({}, source.space, teacher, params, checkpoint.tree_hash(params), lambda: source)


RUN = make_run()


def make_pairs(workdir, run=RUN, **settings):
  """The folder of 40 pairs of its teacher."""
  return runs.make_pairs(run, workdir, **{'num': 40, 'seed': 1, **settings})
