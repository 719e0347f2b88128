"""Figure 2 of the paper: log p_T of samples from the teacher and from students of three losses, in 4 to 64 dimensions."""
import math
from typing import Any, Mapping

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, training

LOSSES = ('reverse_kl', 'z_reconstruction', 'x_reconstruction')
LAST = 100  # updates over which the final loss is a mean


def run(settings: Mapping[str, Any]) -> Result:
  """A picture per initial R, and the table of medians over seeds.

  The rows with loss 'teacher' compare two sets of teacher samples: the floor.
  """
  rows, samples = Rows(), {}
  for num_dims in settings['dimensions']:
    models = lanes.make(num_dims, settings['inits'], settings['num_seeds'], seed=settings['seed'])
    for loss in (*LOSSES, 'teacher'):
      params, final_losses = models.teacher_params, [None] * len(models.seeds)
      if loss != 'teacher':
        trained = training.train(models, loss, settings)
        params, final_losses = trained.params, np.mean(trained.loss[:, -LAST:], axis=1, dtype=np.float64).tolist()
      drawn = lanes.likelihoods(models.teacher_params, params, settings['num_samples'], seed=settings['seed'])
      samples[num_dims, loss] = drawn
      rows += [{'loss': loss, **row, 'final_loss': final_loss, 'teacher_log_prob': np.mean(log_prob)}
               for row, final_loss, log_prob in zip(lanes.rows(models, params, drawn), final_losses, drawn.teacher)]
  pictures = {f'_init{i}' if i else '': _draw(rows.where(init=init), samples, i * settings['num_seeds'])
              for i, init in enumerate(settings['inits'])}
  return Result(rows, pictures, rows.median_table(['init', 'dimension', 'loss'],
                                                  ['ks', 'wasserstein', 'mean_shift', 'kl', 'final_loss']))


def _draw(rows: Rows, samples: Mapping[tuple[int, str], lanes.Samples], first_lane: int) -> plt.Figure:
  """Of the rows with one initial R, whose lanes begin with first_lane."""
  dimensions = rows.distinct('dimension')
  figure, axes = plt.subplots(len(LOSSES), len(dimensions), figsize=(3.2 * len(dimensions), 7.2), squeeze=False)
  for column, num_dims in zip(axes.T, dimensions):
    seed = rows.where(loss='reverse_kl', dimension=num_dims).middle('kl')['seed']
    for axis, loss in zip(column, LOSSES):
      teacher, student = (side[first_lane + seed] for side in samples[num_dims, loss])
      # A failed student reaches far below: what lies beyond the axis is counted at its edge.
      edges = np.linspace(min(np.min(teacher), np.quantile(student, 0.25)) - 0.5 * math.sqrt(num_dims),
                          max(np.max(teacher), np.max(student)), 41)
      for values, label, color in ((teacher, 'teacher', 'tab:red'), (student, 'student', 'tab:blue')):
        axis.hist(np.clip(values, edges[0], edges[-1]), edges, alpha=0.5, label=label, color=color)
      row, = rows.where(loss=loss, dimension=num_dims, seed=seed)
      axis.set_title(f'T = {num_dims}, seed {seed}\nKS {row["ks"]:.2f}, shift {row["mean_shift"]:+.2f}, '
                     f'KL {row["kl"]:.2g}', fontsize=8)
      axis.tick_params(labelsize=7)
    column[-1].set_xlabel('log p_T(x) in nats', fontsize=8)
  for axis, loss in zip(axes[:, 0], LOSSES):
    axis.set_ylabel(f'{loss}\ncount', fontsize=8)
  axes[0, 0].legend(fontsize=8)
  figure.suptitle(f'Students that start at mean 0, R = {rows[0]["init"]}: likelihood of samples under the teacher '
                  '(the seed with the median KL of reverse KL)', fontsize=9)
  return figure
