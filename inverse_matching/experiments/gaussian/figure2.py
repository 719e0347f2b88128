"""Figure 2 of the paper: log p_T of samples from the teacher and from students of three losses, in 4 to 64 dimensions."""
import itertools
import math
from typing import Any, Mapping

import numpy as np

from inverse_matching import losses
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import lanes, measures, reporting, training

plt = figures.plt

LOSSES = ('reverse_kl', 'z_reconstruction', 'x_reconstruction')
LAST = 100  # updates over which the final loss is a mean


def train(pair: lanes.Pairs, loss: str, settings: Mapping[str, Any], **changes: Any) -> training.Trained:
  """The students of section 3.2 after training with a loss; `settings` has num_steps, batch_size and learning_rate."""
  loss_fn = losses.make(loss, pair.teacher, pair.student)
  arguments = dict(num_steps=settings['num_steps'], batch_size=settings['batch_size'],
                   optimizer=training.adam(settings['learning_rate']), teacher_samples=loss == 'x_reconstruction')
  return training.train_gaussian(loss_fn, pair.teacher, pair.teacher_params, pair.student_params, pair.keys,
                                 **(arguments | changes))


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes figure2.json and a PNG per initial R; returns the table of medians over seeds. `devices` is not used.

  The rows with loss 'teacher' compare two sets of teacher samples: the floor.
  """
  del devices
  report = reporting.Report('figure2', workdir, command)
  settings = config['gaussian'] | config['figure2']
  made = {n: lanes.make(n, settings['inits'], settings['num_seeds'], seed=settings['seed']) for n in settings['dimensions']}
  rows, pictures = [], {}

  def arm(pair, loss):
    if loss == 'teacher':
      return pair.teacher_params, [None] * len(pair.seeds)
    trained = train(pair, loss, settings)
    return trained.params, np.mean(trained.loss[:, -LAST:], axis=1, dtype=np.float64).tolist()

  keys = list(itertools.product(settings['dimensions'], (*LOSSES, 'teacher')))
  for num_dims, loss in keys:
    pair = made[num_dims]
    params, final_loss = arm(pair, loss)
    samples = measures.likelihoods(pair.teacher_params, params, settings['num_samples'], seed=settings['seed'])
    found = measures.rows(samples, measures.kl(pair.teacher_params, params))
    conditions = pair.condition_numbers()
    for i, row in enumerate(found):
      rows.append({'loss': loss, 'dimension': num_dims, 'init': pair.inits[i], 'seed': pair.seeds[i],
                   'condition_number': float(conditions[i]), **row, 'final_loss': final_loss[i],
                   'teacher_log_prob': np.mean(samples.teacher[i])})
    pictures[num_dims, loss] = samples

  for i, init in enumerate(settings['inits']):
    here = slice(i * settings['num_seeds'], (i + 1) * settings['num_seeds'])
    _draw(report.picture(f'_init{i}' if i else ''), init, settings, rows,
          {key: measures.Samples(*(side[here] for side in sides)) for key, sides in pictures.items()})
  report.write(settings, rows)
  return reporting.median_table(rows, ['init', 'dimension', 'loss'],
                                ['ks', 'wasserstein', 'mean_shift', 'kl', 'final_loss'])


def _draw(path, init: str, settings: Mapping[str, Any], rows, pictures: Mapping[tuple, measures.Samples]) -> None:
  dimensions = settings['dimensions']
  figure, axes = plt.subplots(len(LOSSES), len(dimensions), figsize=(3.2 * len(dimensions), 7.2), squeeze=False)
  for column, num_dims in enumerate(dimensions):
    kls = {row['seed']: row['kl'] for row in rows
           if (row['loss'], row['dimension'], row['init']) == ('reverse_kl', num_dims, init)}
    seed = sorted(kls, key=kls.get)[(len(kls) - 1) // 2]  # the seed of the (lower) median
    for axis, loss in zip(axes[:, column], LOSSES):
      samples = pictures[num_dims, loss]
      teacher, student = samples.teacher[seed], samples.student[seed]
      # A failed student reaches far below: what lies beyond the axis is counted at its edge.
      edges = np.linspace(min(np.min(teacher), np.quantile(student, 0.25)) - 0.5 * math.sqrt(num_dims),
                          max(np.max(teacher), np.max(student)), 41)
      for values, label, color in ((teacher, 'teacher', 'tab:red'), (student, 'student', 'tab:blue')):
        axis.hist(np.clip(values, edges[0], edges[-1]), edges, alpha=0.5, label=label, color=color)
      row = next(r for r in rows if (r['loss'], r['dimension'], r['init'], r['seed']) == (loss, num_dims, init, seed))
      axis.set_title(f'T = {num_dims}, seed {seed}\nKS {row["ks"]:.2f}, shift {row["mean_shift"]:+.2f}, '
                     f'KL {row["kl"]:.2g}', fontsize=8)
      axis.tick_params(labelsize=7)
    axes[-1, column].set_xlabel('log p_T(x) in nats', fontsize=8)
  for axis, loss in zip(axes[:, 0], LOSSES):
    axis.set_ylabel(f'{loss}\ncount', fontsize=8)
  axes[0, 0].legend(fontsize=8)
  figure.suptitle(f'Students that start at mean 0, R = {init}: likelihood of samples under the teacher '
                  '(the seed with the median KL of reverse KL)', fontsize=9)
  figure.tight_layout()
  figures.save(figure, path)
