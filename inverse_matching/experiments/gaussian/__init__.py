"""Gaussian teachers and students: sections 3.1, 3.2 and 4.1.1 of the paper as numbers.

Every experiment is run(config, workdir, command, devices) -> table as text; it writes NAME.json and NAME.png. Each fits one
device; `devices` is taken for the common call and not used.
"""
from inverse_matching.experiments.gaussian import figure1, figure2, figure3, modes, norms, proposition1, spectra, stiffness

FIGURES = {'1': figure1.run, '2': figure2.run, '3': figure3.run, 'proposition1': proposition1.run, 'norms': norms.run,
           'spectra': spectra.run, 'modes': modes.run, 'stiffness': stiffness.run}
