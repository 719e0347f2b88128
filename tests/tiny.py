"""A config whose models compile at once, for tests that run the real commands many times; PYTHONPATH must have this folder."""
import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Dense models of the digits, an epoch of 13 steps, a checkpoint after each."""
  config = ml_collections.ConfigDict()
  config.data = dict(name='digits', levels=17, logit_lambda=0.01, held_out=0.1, split_seed=0)
  config.teacher = dict(name='constructors:dense_teacher', scale=0.1)
  config.student = dict(name='constructors:dense_flow', scale=0.1)
  config.loss = dict(name='x_reconstruction', distance='l2', noise_std=0.5, estimator='total')
  config.optimizer = dict(name='adam', learning_rate=0.01, decay_rate=0.95)
  config.train = dict(batch_size=128, num_epochs=4, seed=0, ema_decay=0.99, grad_clip=10.0, log_every_steps=5,
                      evaluate_every_epochs=2, checkpoint_every_epochs=1, keep_checkpoints=2)
  config.pairs = dict(num=256, seed=1, solver='auto')
  config.evaluation = dict(num_samples=32, seed=2)
  config.arms = {f'flow/{name}': dict(loss=dict(name=name, distance='l2', noise_std=0.0, estimator='total'))
                 for name in ('x_reconstruction', 'oracle_prediction')}
  config.figures = {'4': ('flow/x_reconstruction', 'flow/oracle_prediction')}
  return config
