"""The handwritten digits that scikit-learn ships: the whole path on real images, with nothing to download.

    python -m launch.reproduce --figure=4 --config=configs/digits.py --workdir=runs/digits

Variants: `default` and `smoke` (the same path, tiny).
"""
import ml_collections


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant: 'default' or 'smoke'."""
  if variant not in ('default', 'smoke'):
    raise ValueError(f'configs/digits.py has the variants default and smoke, not {variant!r}.')
  smoke = variant == 'smoke'
  network = dict(num_blocks=1 if smoke else 2, num_filters=8 if smoke else 24, num_levels=3)
  config = ml_collections.ConfigDict()
  config.data = dict(name='digits', levels=17, logit_lambda=0.01, held_out=0.1, split_seed=0)
  config.teacher = dict(name='pixelcnn', dropout=0.3, **network)
  config.student = dict(name='flow', dropout=0.0, **network)
  config.loss = dict(name='x_reconstruction', distance='l2')
  config.optimizer = dict(name='adam', learning_rate=5e-4, decay_rate=0.95)
  config.train = dict(batch_size=64, num_epochs=2 if smoke else 60, seed=0, ema_decay=0.999, grad_clip=10.0,
                      log_every_steps=10, evaluate_every_epochs=1 if smoke else 5, checkpoint_every_epochs=1 if smoke else 5,
                      keep_checkpoints=2)
  config.pairs = dict(num=256 if smoke else 8192, seed=1, solver='auto')
  config.evaluation = dict(num_samples=128 if smoke else 1000, seed=2)
  # The students of figure 4, each a change of the sections student and loss.
  config.arms = {
      'flow/x_reconstruction': dict(loss=dict(name='x_reconstruction', distance='l2')),
      'flow/oracle_prediction': dict(loss=dict(name='oracle_prediction', distance='l2')),
  }
  return config
