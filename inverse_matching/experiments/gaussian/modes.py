"""Modes that a student keeps, by objective (end of section 3.2: reverse KL seeks modes)."""
from typing import Any, Mapping

import jax
import numpy as np

from inverse_matching import losses, random
from inverse_matching.errors import InputError
from inverse_matching.experiments import figures
from inverse_matching.experiments.gaussian import mixture, reporting, training
from inverse_matching.types import sum_event

plt = figures.plt


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes modes.json (a row per objective and seed) and modes.png; returns medians over seeds."""
  del devices
  report = reporting.Report('modes', workdir, command)
  settings = config['gaussian'] | config['modes']
  if settings['num_layers'] % 2:
    raise InputError(f'config.modes.num_layers must be even, got {settings["num_layers"]}.')
  count, num_seeds, seed = settings['num_modes'], settings['num_seeds'], settings['seed']
  teacher = mixture.ring(count, settings['radius'], settings['scale'])
  student = mixture.couplings(settings['num_layers'], settings['num_hidden'])
  start, train, evaluate = (training.lane_keys(num_seeds, seed=10 * seed + i) for i in range(3))
  teacher_params = jax.vmap(teacher.init)(start)
  rows, drawn = [], {}
  keys = jax.vmap(lambda key: jax.random.split(key, settings['num_samples']))(evaluate)
  drawn['teacher'] = np.asarray(jax.vmap(teacher.sample)(teacher_params, keys))
  for loss in settings['losses']:
    loss_fn = losses.make(loss, teacher, student)
    params = training.train_gaussian(
        loss_fn, teacher, teacher_params, jax.vmap(student.init)(start), train, num_steps=settings['num_steps'],
        batch_size=settings['batch_size'], optimizer=training.adam(settings['learning_rate']),
        teacher_samples=loss == 'x_reconstruction').params

    def sample(params, teacher_params, keys):
      z = teacher.prior.sample(random.stream(keys, 'prior'))
      output = student.z_to_x(params, z)
      log_student = sum_event(teacher.prior.log_density(z)) - output.log_det
      return output.x, log_student - teacher.log_prob(teacher_params, output.x)

    x, ratio = jax.device_get(jax.jit(jax.vmap(sample))(params, teacher_params, keys))
    drawn[loss] = x
    for i in range(num_seeds):
      rows.append({'loss': loss, 'seed': i, 'kl': np.mean(ratio[i], dtype=np.float64),
                   **_shares(x[i], np.asarray(teacher_params['mean'][i]), settings)})
  _draw(report.picture(), settings, rows, drawn)
  report.write(settings, rows)
  return reporting.median_table(rows, ['loss'], ['modes_kept', 'smallest_share', 'largest_share', 'off_modes', 'kl'])


def _shares(x: np.ndarray, means: np.ndarray, settings: Mapping[str, Any]) -> dict[str, Any]:
  """A sample within four scales of a mode counts for the nearest one. A mode is kept if it has a quarter of its share."""
  distance = np.linalg.norm(x[:, None] - means, axis=-1)
  near = np.min(distance, axis=1) < 4 * settings['scale']
  shares = np.bincount(np.argmin(distance, axis=1)[near], minlength=len(means)) / len(x)
  return {'modes_kept': int(np.sum(shares > 0.25 / len(means))), 'smallest_share': np.min(shares),
          'largest_share': np.max(shares), 'off_modes': 1 - np.mean(near)}


def _draw(path, settings: Mapping[str, Any], rows, drawn: Mapping[str, np.ndarray]) -> None:
  figure, axes = plt.subplots(1, len(drawn), figsize=(3.4 * len(drawn), 3.8), sharex=True, sharey=True)
  limit = 1.6 * settings['radius']
  for axis, (name, x) in zip(axes, drawn.items()):
    here = {row['seed']: row for row in rows if row['loss'] == name}
    order = sorted(here, key=lambda s: here[s]['kl'])
    seed = order[(len(order) - 1) // 2] if order else 0
    axis.plot(*x[seed].T, '.', ms=1.5, color='tab:red' if name == 'teacher' else 'tab:blue')
    kept = f'\n{here[seed]["modes_kept"]} of {settings["num_modes"]} modes, KL {here[seed]["kl"]:.2f}' if here else '\n'
    axis.set_title(name + kept, fontsize=9)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect='equal')
  figure.suptitle('The seed with the median KL', fontsize=9, y=1.04)
  figure.tight_layout()
  figures.save(figure, path)
