"""Why reverse KL is slow on Gaussians: is the expansion signal too rare, the problem too stiff, or the gradient too noisy?

The probability P of the signal and the KL do not change when teacher and student are both mapped by the same x -> A x; the
condition number does. So a pair in other coordinates is as far apart and its signal as rare, and its stiffness alone differs
(part `coordinates`). Rarity alone is varied by dropping samples with the signal, at weights that keep the gradient unbiased,
beside dropping any samples to the same variance (part `thinned`). Part `spectrum` moves the smallest and the largest eigenvalue
of the teacher one at a time.
"""
from typing import Any, Mapping, NamedTuple

from absl import logging
import jax
import jax.numpy as jnp
from matplotlib import pyplot as plt
import numpy as np
import optax

from inverse_matching import losses, random, students, teachers
from inverse_matching.analysis import expansion, spectra
from inverse_matching.experiments.experiment import Result, Rows
from inverse_matching.experiments.gaussian import lanes, training
from inverse_matching.teachers.gaussian import precompute
from inverse_matching.types import Batch, LossFn, Student, Teacher

# Name of a start -> variances of the student relative to the teacher's, of two halves of the dimensions. What is below 1 must
# expand, which the signal says with probability near 0, near 1/2, or 1.
STARTS = {'rare': (5.0, 0.3), 'even': (1.7, 0.3), 'always': (0.3, 0.3)}
OPTIMIZERS = {'sgd': optax.sgd, 'adam': optax.adam}


class Pair(NamedTuple):
  """Teachers and students, leaves [L, T, T]; both have the mean 0."""
  teacher: np.ndarray
  student: np.ndarray


def rotations(num: int, num_dims: int, rng: np.random.Generator) -> np.ndarray:
  """Random orthogonal matrices [num, T, T]."""
  return np.linalg.qr(rng.standard_normal((num, num_dims, num_dims)))[0]


def in_coordinates(condition: float, start: str, num_dims: int, num_seeds: int, *, seed: int) -> Pair:
  """The pair of a start, for each seed, in coordinates where the teacher has that condition number.

  R_T = A and R_S = A M: M, which P and KL depend on, is the same for every condition number.
  """
  rng = np.random.default_rng(seed)
  q, u, v = (rotations(num_seeds, num_dims, rng) for _ in range(3))
  scales = np.sqrt(np.repeat(STARTS[start], num_dims // 2))
  relative = q * scales @ np.swapaxes(q, -1, -2)
  sigma = spectra.log_spaced(num_dims, condition**-0.5, condition**0.5)
  coordinates = u * sigma @ np.swapaxes(v, -1, -2)
  return Pair(coordinates, coordinates @ relative)


def with_spectrum(sigma: np.ndarray, num_seeds: int, *, seed: int) -> Pair:
  """Teachers of standard deviations sigma [T] along random directions, students N(0, I)."""
  u = rotations(num_seeds, len(sigma), np.random.default_rng(seed))
  return Pair(u * sigma @ np.swapaxes(u, -1, -2), np.broadcast_to(np.eye(len(sigma)), u.shape))


def _models(pairs: list[Pair], rates: list[float], seed: int) -> lanes.Models:
  """A lane for each pair of arrays and seed; lane i trains with its own learning rate, which is in its teacher's parameters."""
  matrices = Pair(*(np.concatenate(parts) for parts in zip(*pairs)))
  num_lanes, num_dims = matrices.teacher.shape[:2]
  num_seeds = num_lanes // len(pairs)
  to_float = lambda values: jnp.asarray(values, jnp.float32)
  zeros = jnp.zeros((num_lanes, num_dims))
  teacher_params = precompute({'mean': zeros, 'matrix': to_float(matrices.teacher)})
  keys = lanes.lane_keys(num_seeds, seed=seed)
  return lanes.Models(teachers.gaussian((num_dims,), mean=0.0), students.linear((num_dims,)),
                      {**teacher_params, 'rate': jnp.repeat(to_float(rates), num_seeds)},
                      {'mean': zeros, 'matrix': to_float(matrices.student)}, jnp.tile(keys, len(pairs)))


def thinned(teacher: Teacher, student: Student, *, keep: float, which: str) -> LossFn:
  """Reverse KL of which a share of the samples is dropped, with weights that leave its gradient unbiased.

  Args:
    teacher: Gaussian.
    student: linear.
    keep: with which probability a sample with the expansion signal is kept.
    which: 'signal' drops those with the signal; 'any' drops all alike, as many as give the gradient the same second moment.
  """
  loss = losses.make('reverse_kl', teacher, student)

  def weighted(student_params, teacher_params, batch: Batch):
    values, metrics = loss(student_params, teacher_params, batch)
    x = student_params['mean'] + jnp.matmul(batch.z, student_params['matrix'].T, precision='highest')
    offset, inverse = x - teacher_params['mean'], teacher_params['inverse']
    towards = jnp.matmul(jnp.matmul(offset, inverse.T, precision='highest'), inverse, precision='highest')  # -score of p_T
    own = jnp.linalg.solve(student_params['matrix'].T, batch.z.T).T  # -score of p_S
    signal = jnp.sum(offset * (own - towards), axis=-1) > 0
    # The gradient of one sample: towards z^T - R_S^-T for R_S, and `towards` for the mean.
    inverse_student = jnp.linalg.inv(student_params['matrix'])
    squares = (jnp.sum(towards**2, -1) * (jnp.sum(batch.z**2, -1) + 1) + jnp.sum(inverse_student**2)
               - 2 * jnp.sum(towards * own, -1))
    share = jnp.where(signal, keep, 1.0)
    if which == 'any':
      share = jnp.full_like(share, jnp.sum(squares) / jnp.sum(squares / share))
    kept = random.uniform(random.stream(batch.key, 'noise'), ()) < share
    return values * jax.lax.stop_gradient(kept / share), metrics

  return weighted


def _final(models: lanes.Models, loss: str | LossFn, optimizer: str, settings: Mapping[str, Any]) -> np.ndarray:
  """KL [L] after training; infinite where it diverged."""
  # Of SGD with too high a rate the parameters are not finite, which is no solvable system.
  params = training.train(models, loss, settings, optimizer=lambda t: OPTIMIZERS[optimizer](t['rate'])).params
  finite = np.isfinite(params['matrix']).all((-2, -1)) & np.isfinite(params['mean']).all(-1)
  clean = jax.tree.map(lambda leaf, start: np.where(finite.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, start), params,
                       jax.device_get(models.student_params))
  return np.where(finite, lanes.kl(models.teacher_params, clean), np.inf)


def _trained(pairs: Mapping[tuple, Pair], optimizer: str, settings: Mapping[str, Any]) -> dict[tuple, dict[str, Any]]:
  """Cell -> the best of the optimizer's rates by the median over seeds, and the KL of each seed with it."""
  rates, num_seeds = settings['rates'][optimizer], settings['num_seeds']
  lanes_of = [(cell, rate) for cell in pairs for rate in rates]
  models = _models([pairs[cell] for cell, _ in lanes_of], [rate for _, rate in lanes_of], settings['seed'])
  kls = dict(zip(lanes_of, _final(models, 'reverse_kl', optimizer, settings).reshape(len(lanes_of), num_seeds)))
  best = {cell: min(rates, key=lambda rate, cell=cell: np.median(kls[cell, rate])) for cell in pairs}
  return {cell: {'rate': best[cell], 'kls': kls[cell, best[cell]]} for cell in pairs}


def _coordinates(settings: Mapping[str, Any]) -> Rows:
  rows = Rows()
  num_dims, num_seeds, seed = (settings[name] for name in ('dimension', 'num_seeds', 'seed'))
  for optimizer in OPTIMIZERS:
    for start in STARTS:
      pairs = {(condition,): in_coordinates(condition, start, num_dims, num_seeds, seed=seed)
               for condition in settings['conditions']}
      for (condition,), found in _trained(pairs, optimizer, settings).items():
        pair = pairs[condition,]
        zero = np.zeros(num_dims)
        for i, kl in enumerate(found['kls']):
          rows.append({'part': 'coordinates', 'optimizer': optimizer, 'start': start, 'condition': condition, 'seed': i,
                       'rate': found['rate'], 'kl': kl,
                       'probability': expansion.expansion_probability_factors(zero, pair.student[i], pair.teacher[i]),
                       'kl_start': float(lanes.kl_gaussians(zero, pair.student[i], pair.teacher[i]))})
      logging.info('mechanism: %s from the start %s', optimizer, start)
  return rows


def _spectrum(settings: Mapping[str, Any]) -> Rows:
  rows, num_dims = Rows(), settings['dimension']
  spectrum = lambda **ends: np.concatenate([[ends.get('smallest', 1.0)], np.ones(num_dims - 2), [ends.get('largest', 1.0)]])
  cells = {('neither', 1.0): spectrum()}
  for spread in settings['spreads']:
    cells |= {('smallest', spread): spectrum(smallest=1 / spread), ('largest', spread): spectrum(largest=spread),
              ('both', spread): spectrum(smallest=spread**-0.5, largest=spread**0.5)}
  pairs = {cell: with_spectrum(sigma, settings['num_seeds'], seed=settings['seed']) for cell, sigma in cells.items()}
  for optimizer in OPTIMIZERS:
    for (moved, spread), found in _trained(pairs, optimizer, settings).items():
      rows += [{'part': 'spectrum', 'optimizer': optimizer, 'moved': moved, 'spread': spread, 'seed': i, 'rate': found['rate'],
                'kl': kl} for i, kl in enumerate(found['kls'])]
  return rows


def _thinned(settings: Mapping[str, Any]) -> Rows:
  rows = Rows()
  models = lanes.make(settings['dimension'], ['I'], settings['num_seeds'], seed=settings['seed'])
  rate = jnp.full(settings['num_seeds'], settings['learning_rate'])
  models = models._replace(teacher_params={**models.teacher_params, 'rate': rate})
  for keep in settings['keep']:
    for which in ('signal', 'any') if keep < 1 else ('none',):
      kls = _final(models, thinned(models.teacher, models.student, keep=keep, which=which), 'adam', settings)
      rows += [{'part': 'thinned', 'optimizer': 'adam', 'dropped': which, 'keep': keep, 'seed': i, 'kl': kl}
               for i, kl in enumerate(kls)]
  return rows


def shares(rows: Rows) -> dict[str, float]:
  """Shares of the variance of log KL over the cells of part `coordinates` with one optimizer: condition, start, both together,
  and the seeds; they add to 1."""
  conditions, starts = rows.distinct('condition'), rows.distinct('start')
  values = np.log([[rows.where(condition=c, start=s).values('kl') for s in starts] for c in conditions])
  total, mean = np.sum((values - values.mean())**2), values.mean()
  by_condition, by_start, cells = values.mean((1, 2)) - mean, values.mean((0, 2)) - mean, values.mean(2)
  both = cells - mean - by_condition[:, None] - by_start
  num_seeds = values.shape[2]
  parts = {'condition': np.sum(by_condition**2) * len(starts) * num_seeds,
           'start': np.sum(by_start**2) * len(conditions) * num_seeds, 'both': np.sum(both**2) * num_seeds}
  parts['seeds'] = total - sum(parts.values())
  return {name: float(part / total) for name, part in parts.items()}


def run(settings: Mapping[str, Any]) -> Result:
  """Rows of the three parts, the KL in nats after training of each cell, with the best of the rates where several are tried."""
  rows = Rows([*_coordinates(settings), *_spectrum(settings), *_thinned(settings)])
  lines = [rows.where(part='coordinates').median_table(['optimizer', 'start', 'condition'], ['probability', 'kl_start', 'kl']),
           *(f'{name}: ' + ', '.join(f'{part} {share:.2f}' for part, share in shares(
               rows.where(part='coordinates', optimizer=name)).items()) for name in OPTIMIZERS),
           rows.where(part='spectrum').median_table(['optimizer', 'moved', 'spread'], ['kl']),
           rows.where(part='thinned').median_table(['dropped', 'keep'], ['kl'])]
  return Result(rows, {'': _draw(settings, rows)}, '\n\n'.join(lines))


def _line(axis: plt.Axes, rows: Rows, column: str, **style: Any) -> None:
  """Median over seeds of the KL, with the quartiles as a band."""
  groups = rows.groups(column)
  x = [key for key, in groups]
  low, middle, high = np.transpose([np.quantile(group.values('kl'), [0.25, 0.5, 0.75]) for group in groups.values()])
  line, = axis.plot(x, middle, marker='o', ms=4, **style)
  axis.fill_between(x, low, high, alpha=0.15, color=line.get_color())


def _draw(settings: Mapping[str, Any], rows: Rows) -> plt.Figure:
  figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.9), layout='constrained')
  for optimizer, style in (('adam', '-'), ('sgd', '--')):
    for i, start in enumerate(STARTS):
      of_start = rows.where(part='coordinates', optimizer=optimizer, start=start)
      _line(axes[0], of_start, 'condition', color=f'C{i}', linestyle=style,
            label=f'{optimizer}, P = {of_start.values("probability").mean():.2f} at the start')
    for i, moved in enumerate(('smallest', 'largest', 'both')):
      of_end = Rows([*rows.where(part='spectrum', optimizer=optimizer, moved='neither'),
                     *rows.where(part='spectrum', optimizer=optimizer, moved=moved)])
      _line(axes[1], of_end, 'spread', color=f'C{i}', linestyle=style, label=f'{optimizer}, {moved} moved')
  for dropped in ('signal', 'any'):
    _line(axes[2], Rows([*rows.where(part='thinned', dropped='none'), *rows.where(part='thinned', dropped=dropped)]), 'keep',
          label={'signal': 'samples with the signal dropped', 'any': 'any dropped, to the same variance'}[dropped])
  axes[0].set(xlabel='condition number of the coordinates', title='The same pair in other coordinates')
  axes[1].set(xlabel='ratio of standard deviations', title='One end of the spectrum')
  axes[2].set(xlabel='share kept of samples with the signal', title='Rarity alone')
  axes[2].invert_xaxis()
  for axis in axes:
    axis.set(xscale='log', yscale='log')
    axis.set_ylabel('KL in nats', fontsize=8)
    axis.legend(fontsize=7, handlelength=4)
    axis.grid(alpha=0.3)
  figure.suptitle(f'Reverse KL after {settings["num_steps"]} updates at T = {settings["dimension"]}, best of the rates: median '
                  f'and quartiles of {settings["num_seeds"]} seeds', fontsize=9)
  return figure
