"""Modes that a student keeps, by objective (end of section 3.2: reverse KL seeks modes)."""
from typing import Any, Mapping

import jax
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import losses, random
from inverse_matching.errors import InputError
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, mixture, training
from inverse_matching.types import Batch


def run(settings: Mapping[str, Any]) -> Result:
  """A row per objective and seed; the table has medians over seeds.

  Raises:
    InputError: an odd number of layers.
  """
  if settings['num_layers'] % 2:
    raise InputError(f'config.modes.num_layers must be even, got {settings["num_layers"]}.')
  teacher = mixture.ring(settings['num_modes'], settings['radius'], settings['scale'])
  student = mixture.couplings(settings['num_layers'], settings['num_hidden'])
  start, train, evaluate = (lanes.lane_keys(settings['num_seeds'], seed=10 * settings['seed'] + i) for i in range(3))
  teacher_params = jax.vmap(teacher.init)(start)
  models = lanes.Models(teacher, student, teacher_params, jax.vmap(student.init)(start), train)
  keys = jax.vmap(lambda key: jax.random.split(key, settings['num_samples']))(evaluate)

  log_ratio = losses.make('reverse_kl', teacher, student)

  def sample(params, teacher_params, keys):
    z = teacher.prior.sample(random.stream(keys, 'prior'))
    return student.z_to_x(params, z).x, log_ratio(params, teacher_params, Batch(key=keys, z=z))[0]

  rows, samples = Rows(), {'teacher': np.asarray(jax.vmap(teacher.sample)(teacher_params, keys))}
  for loss in settings['losses']:
    params = training.train(models, loss, settings).params
    samples[loss], log_ratios = jax.device_get(jax.jit(jax.vmap(sample))(params, teacher_params, keys))
    for i, means in enumerate(np.asarray(teacher_params['mean'])):
      rows.append({'loss': loss, 'seed': i, 'kl': np.mean(log_ratios[i], dtype=np.float64),
                   **_shares(samples[loss][i], means, settings['scale'])})
  table = rows.median_table(['loss'], ['modes_kept', 'smallest_share', 'largest_share', 'off_modes', 'kl'])
  return Result(rows, {'': _draw(settings, rows, samples)}, table)


def _shares(x: np.ndarray, means: np.ndarray, scale: float) -> dict[str, Any]:
  """A sample within four scales of a mode counts for the nearest one. A mode is kept if it has a quarter of its share."""
  distance = np.linalg.norm(x[:, None] - means, axis=-1)
  near = np.min(distance, axis=1) < 4 * scale
  shares = np.bincount(np.argmin(distance, axis=1)[near], minlength=len(means)) / len(x)
  return {'modes_kept': int(np.sum(shares > 0.25 / len(means))), 'smallest_share': np.min(shares),
          'largest_share': np.max(shares), 'off_modes': 1 - np.mean(near)}


def _draw(settings: Mapping[str, Any], rows: Rows, samples: Mapping[str, np.ndarray]) -> plt.Figure:
  figure, axes = plt.subplots(1, len(samples), figsize=(3.4 * len(samples), 3.8), sharex=True, sharey=True)
  limit = 1.6 * settings['radius']
  for axis, (name, x) in zip(axes, samples.items()):
    seed, color, title = 0, 'tab:red', 'teacher\n'
    if name != 'teacher':
      row = rows.where(loss=name).middle('kl')
      seed, color = row['seed'], 'tab:blue'
      title = f'{name}\n{row["modes_kept"]} of {settings["num_modes"]} modes, KL {row["kl"]:.2f}'
    axis.plot(*x[seed].T, '.', ms=1.5, color=color)
    axis.set_title(title, fontsize=9)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect='equal')
  figure.suptitle('The seed with the median KL', fontsize=9, y=1.04)
  return figure
