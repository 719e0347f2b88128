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
  """Trains all; name -> nats, or of the student its root mean squared distance from the teacher."""
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  np.save(workdir / 'rows.npy', load_breast_cancer().data)
  found, made = {}, {}
  for name, words in (('MADE, Gaussians', variant), ('MADE, mixtures of 5 logistics', f'{variant},mixture')):
    config = table.get_config(words)
    config.data.path = str(workdir / 'rows.npy')
    run = made[name] = runs.train_teacher(config, workdir / words.replace(',', '_'))
    found[name] = held_out_nats(run)
    print(f'{name}: {found[name]:.2f} nats')
  table_x = run.source.data  # standardised; in the units of the table its covariance is singular to rounding
  law = scipy.stats.multivariate_normal(table_x.train.mean(0), np.cov(table_x.train.T))
  found['Gaussian of full covariance'] = float(np.mean(run.space.codec.log_likelihood(law.logpdf(table_x.held_out))))
  print(f'Gaussian of full covariance: {found["Gaussian of full covariance"]:.2f} nats')

  run = made['MADE, Gaussians']
  pairs = runs.make_pairs(run, workdir / 'pairs', num=8192, seed=1)
  student = runs.distill(table.get_config(f'{variant},made/oracle_prediction'), workdir / 'student', run, pairs)
  drawn = runs.draw_pairs(run, 1000, seed=2)
  x = map_examples(lambda params, z: student.student.z_to_x(params, z).x, None)(student.params, drawn['z'])
  found['distance of the student'] = float(np.sqrt(np.mean(np.square(x - drawn['x']))))
  print(f'A student of the first, by oracle prediction, is {found["distance of the student"]:.3f} standard deviations from its '
        'samples of the same noise.')
  return found


if __name__ == '__main__':
  main(*sys.argv[1:])
