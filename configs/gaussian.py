"""Gaussian teachers and students: figures 1, 2 and 3 of the paper, Proposition 1 and the studies around them.

    python -m launch.reproduce --figure=2 --workdir=runs/gaussian

Figures: 1, 2, 3, proposition1, norms, spectra, modes, stiffness, mechanism. Variants: `default` and `smoke` (the same path,
tiny).
"""
import ml_collections

from inverse_matching.recipes import variants

BASE = dict(
    gaussian=dict(  # section 3.2; a figure's own section below takes precedence over this one
        dimensions=(4, 16, 32, 64),
        num_steps=5000, batch_size=64, learning_rate=0.005,
        num_seeds=32, seed=0,  # teachers, and of what they and the students are drawn with
        num_samples=1000),  # of a teacher and of a student, when they are compared
    figure1=dict(
        teacher_scales=(2.0, 0.6), angle_degrees=35.0,  # standard deviations of the teacher along its axes; of the first one
        x=(0.35, 1.2)),  # where the gradients are drawn
    figure2=dict(
        inits=('I', 'N(0,1)')),  # R of the student at the start, also '0.1 I' or 'N(0,1)/sqrt(T)'; the paper does not give it
    figure3=dict(
        inits=('I', '0.1 I', 'N(0,1)', 'N(0,1)/sqrt(T)'),
        num_steps=25000, snapshot_every=50,  # updates in all, and between two points of the curve
        num_expansion_samples=128,  # for each of them
        steps=(0, 50, 200, 1000, 2000, 5000, 10000, 25000)),  # where the exact probability is computed too
    proposition1=dict(
        dimensions=(2, 4, 8, 16, 32, 64, 128), num_teachers=200, seed=0,
        num_sampled=8, num_samples=50000),  # teachers that Monte Carlo is compared on; its samples
    norms=dict(
        concentration_dimensions=(1, 4, 16, 64, 256, 1024, 4096),  # of equations 8 and 9
        init='I', dimension=64, losses=('reverse_kl', 'z_reconstruction', 'x_reconstruction')),
    spectra=dict(
        dimension=16,
        conditions=(10.0, 100.0, 1000.0),  # ratio of the largest to the smallest standard deviation of the teacher
        datasets={'digits': 17},  # name -> grey levels
        logit_lambdas=(1e-6, 0.01, 0.05)),
    modes=dict(
        num_seeds=8,
        num_modes=8, radius=4.0, scale=0.4,  # of the teacher, Gaussians of that scale on a ring
        num_layers=8, num_hidden=32,  # of the student
        batch_size=256, learning_rate=0.002, losses=('reverse_kl', 'z_reconstruction', 'x_reconstruction')),
    stiffness=dict(
        dimensions=(16, 64), inits=('I', '0.1 I', 'N(0,1)', 'N(0,1)/sqrt(T)'),
        # See inverse_matching/experiments/gaussian/stiffness.py.
        arms=('total', 'path', 'closed_form', 'decayed', 'decayed_fast', 'annealed', 'large_batch', 'large_batch_more',
              'warm_start', 'natural',
              'closed_form_natural', 'whitened', 'whitened_fast', 'x_reconstruction'),
        batch_factor=8,  # of large_batch, times batch_size
        fast_factor=10.0, natural_factor=20.0,  # of decayed_fast and whitened_fast, and of natural, times learning_rate
        anneal_start=0.01),  # power of the teacher's density at the start of annealed
    mechanism=dict(
        dimension=16, conditions=(1.0, 10.0, 100.0, 1000.0),  # condition numbers of the coordinates
        rates=dict(sgd=(1e-4, 5e-4, 3e-3, 0.02, 0.1), adam=(3e-4, 1e-3, 3e-3, 0.01, 0.03)),  # the best of them is taken
        spreads=(3.0, 10.0, 30.0, 100.0),  # by which one end of the teacher's spectrum is moved
        keep=(1.0, 0.3, 0.1, 0.03)),  # shares of the samples with the expansion signal
)

SMOKE = dict(
    gaussian=dict(dimensions=(4, 8), num_steps=100, num_seeds=2, num_samples=100),
    figure3=dict(inits=('I', 'N(0,1)'), num_steps=100, snapshot_every=10, steps=(0, 50, 100)),
    proposition1=dict(dimensions=(2, 8), num_teachers=20, num_sampled=2, num_samples=2000),
    norms=dict(concentration_dimensions=(1, 16, 64), dimension=8),
    spectra=dict(dimension=4, conditions=(10.0,)),
    modes=dict(num_seeds=2, num_layers=2),
    stiffness=dict(dimensions=(4,), inits=('I',)),
    mechanism=dict(
        dimension=4, conditions=(1.0, 10.0), rates=dict(sgd=(0.003,), adam=(0.01,)), spreads=(3.0,), keep=(1.0, 0.3)))


def get_config(variant: str = 'default') -> ml_collections.ConfigDict:
  """Config of a variant: 'default' or 'smoke'."""
  return variants.build('configs/gaussian.py', variant, BASE, {'default': {}, 'smoke': SMOKE})
