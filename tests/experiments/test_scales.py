"""The scale that the numbers of each metric are compared on."""
import numpy as np
import pytest

from inverse_matching.experiments import claims, scales

SCALES = {
    scales.LOG: ('variance_ratio', 'sharpness', 'z_reconstruction_l2', 'x_reconstruction_l2'),  # what is positive, by factors
    scales.SYMMETRIC_LOG: ('kernel_distance', 'kernel_distance_8x8', 'kernel distance, random features'),  # negative by chance
    scales.IDENTITY: (  # shares, what is in nats or bits, and what is bounded
        'coverage', 'label_entropy', 'stripe_score', 'stripe_share', 'log_prob_mean_shift', 'encoding_kernel_distance',
        'log_power_ratio_fine', 'fine_power_error', 'reverse_kl', 'label_divergence', 'bits_per_dim', 'precision'),
}


def test_every_metric_has_its_scale():
  """Among them all that the claims are of."""
  for scale, metrics in SCALES.items():
    assert {metric: scales.of(metric).name for metric in metrics} == dict.fromkeys(metrics, scale.name)
  assert {c.metric for c in claims.COMPARISONS} <= {metric for metrics in SCALES.values() for metric in metrics}


@pytest.mark.parametrize('scale', SCALES, ids=lambda scale: scale.name)
def test_scales_are_undone_by_their_inverse(scale):
  """A kernel distance, which may be negative, too; and a difference of logarithms is shown as a ratio."""
  for value in (0.5, 3.0, *([-0.2] if scale is not scales.LOG else [])):
    assert scale.inverse(scale.forward(value)) == pytest.approx(value)
  assert scales.LOG.shown(np.subtract(*scales.LOG.forward([6.0, 2.0]))) == pytest.approx(3)
