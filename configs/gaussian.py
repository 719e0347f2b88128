"""Gaussian teachers and students: figures 1, 2 and 3 of the paper, Proposition 1 and the studies around them.

    python -m launch.reproduce --figure=2 --workdir=runs/gaussian

Figures: 1, 2, 3, proposition1, norms, spectra, modes, stiffness. Variants: `default` and `smoke` (the same path, tiny).
"""
import ml_collections


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant: 'default' or 'smoke'."""
  if variant not in ('default', 'smoke'):
    raise ValueError(f'configs/gaussian.py has the variants default and smoke, not {variant!r}.')
  smoke = variant == 'smoke'
  config = ml_collections.ConfigDict()
  # Section 3.2. A figure's own section below takes precedence over this one.
  config.gaussian = dict(dimensions=(4, 8) if smoke else (4, 16, 32, 64), num_steps=100 if smoke else 5000, batch_size=64,
                         learning_rate=0.005, num_seeds=2 if smoke else 8, seed=0, num_samples=100 if smoke else 1000)
  config.figure1 = dict(teacher_scales=(2.0, 0.6), angle_degrees=35.0, x=(0.35, 1.2))
  # Initial R of the student: I, '0.1 I', 'N(0,1)' or 'N(0,1)/sqrt(T)'. The paper does not give it.
  config.figure2 = dict(inits=('I', 'N(0,1)'))
  # snapshot_every: updates between two points of the curve; steps: where the exact probability is computed too.
  config.figure3 = dict(init='I', snapshot_every=10, num_expansion_samples=128,
                        steps=(0, 50, 100) if smoke else (0, 50, 200, 1000, 2000, 3000, 4000, 5000))
  config.proposition1 = dict(dimensions=(2, 8) if smoke else (2, 4, 8, 16, 32, 64, 128), num_teachers=20 if smoke else 200,
                             num_sampled=2 if smoke else 8, num_samples=2000 if smoke else 50000, seed=0)
  config.norms = dict(concentration_dimensions=(1, 16, 64) if smoke else (1, 4, 16, 64, 256, 1024, 4096), init='I',
                      dimension=8 if smoke else 64, losses=('reverse_kl', 'z_reconstruction', 'x_reconstruction'))
  # datasets: name -> grey levels; conditions: ratio of the largest to the smallest standard deviation of the teacher.
  config.spectra = dict(dimension=4 if smoke else 16, conditions=(10.0,) if smoke else (10.0, 100.0, 1000.0),
                        datasets={'digits': 17}, logit_lambdas=(1e-6, 0.01, 0.05))
  config.modes = dict(num_modes=8, radius=4.0, scale=0.4, num_layers=2 if smoke else 8, num_hidden=32,
                      batch_size=256, learning_rate=0.002,
                      losses=('reverse_kl', 'z_reconstruction', 'x_reconstruction'))
  # Arms: see inverse_matching/experiments/gaussian/stiffness.py.
  config.stiffness = dict(
      dimensions=(4,) if smoke else (16, 64), inits=('I',) if smoke else ('I', '0.1 I', 'N(0,1)', 'N(0,1)/sqrt(T)'),
      arms=('total', 'path', 'closed_form', 'decayed', 'decayed_fast', 'annealed', 'large_batch', 'warm_start', 'natural',
            'closed_form_natural', 'whitened', 'whitened_fast', 'x_reconstruction'),
      batch_factor=8, fast_factor=10.0, anneal_start=0.01, natural_factor=20.0)
  return config
