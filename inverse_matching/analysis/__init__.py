"""Exact quantities of Gaussian teachers and students, in float64 with numpy and scipy."""
from inverse_matching.analysis.expansion import expansion_probability, expansion_probability_gaussians
from inverse_matching.analysis.gaussians import kl_gaussians
from inverse_matching.analysis.quadratic_form import probability_positive
