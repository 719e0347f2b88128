"""A table of numbers: teachers that are MADEs (Germain et al., 2015), beside a Gaussian of full covariance, and a student.

    python -m examples.table runs/table

The data are the measurements of 569 tumours, 30 numbers each, that scikit-learn brings. Nats are in the units of the table, the
mean over rows that no model has seen. With a file of your own the command lines do the same: see docs/data.md.
"""
import pathlib
import sys

import numpy as np
import scipy.stats
from sklearn.datasets import load_breast_cancer

from configs import table
from inverse_matching import runs
from inverse_matching.runtime.processes import map_examples


def held_out_nats(run):
  """Mean log p of the held-out rows."""
  log_prob = map_examples(run.teacher.log_prob, None)(run.params, run.source.data.held_out)
  return float(np.mean(run.space.codec.log_likelihood(log_prob)))


def main(workdir, variant='default'):
  """Trains all; name -> nats, or of the student the reverse KL."""
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  np.save(workdir / 'rows.npy', load_breast_cancer().data)
  found = {}
  for name, words in (('MADE, Gaussians', variant), ('MADE, mixtures of 5 logistics', f'{variant},mixture')):
    config = table.get_config(words)
    config.data.path = str(workdir / 'rows.npy')
    run = runs.train_teacher(config, workdir / words.replace(',', '_'))
    found[name] = held_out_nats(run)
    print(f'{name}: {found[name]:.2f} nats')
  rows = {part: run.space.codec.to_data(getattr(run.source.data, part)) for part in ('train', 'held_out')}
  law = scipy.stats.multivariate_normal(rows['train'].mean(0), np.cov(rows['train'].T), allow_singular=True)
  found['Gaussian of full covariance'] = float(np.mean(law.logpdf(rows['held_out'])))
  print(f'Gaussian of full covariance: {found["Gaussian of full covariance"]:.2f} nats')

  student = runs.distill(table.get_config(variant), workdir / 'student', run)
  z = runs.prior_draws(run.teacher, 2, np.arange(1000))
  output = map_examples(student.student.z_to_x, None)(student.params, z)
  log_student = np.sum(run.teacher.prior.log_density(z), axis=1) - output.log_det
  log_teacher = map_examples(run.teacher.log_prob, None)(run.params, output.x)
  found['reverse KL of the student'] = float(np.mean(log_student - log_teacher))
  print(f'Reverse KL of a student of the last MADE, by x-reconstruction: {found["reverse KL of the student"]:.2f} nats')
  return found


if __name__ == '__main__':
  main(*sys.argv[1:])
