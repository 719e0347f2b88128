"""The claims of sections 3.1, 3.2 and 4.1.1 of the paper, each against the numbers in the JSON files of a folder.

What differs from seed to seed is tested: a `_Test` is a paired sign-flip test of its differences over seeds, with Holm's
correction over all of them, at most TESTED, which are named here before anything is run. The paper does not give the initial R
of the student, so that a test is decided where the differences have one sign from every initial R and the largest p-value of
these is small enough. What is an identity, or holds for every teacher of a law, is compared with a threshold that its row
tells.
"""
from typing import Iterable, Mapping, NamedTuple

import numpy as np

from inverse_matching.evaluation import statistics
from inverse_matching.experiments import verdicts
from inverse_matching.experiments.experiment import Rows
from inverse_matching.experiments.verdicts import Claim

NEEDED = ('figure2', 'figure3', 'proposition1', 'norms', 'spectra', 'modes')
TESTED = 8
LEVEL = 0.05
MARGIN = 0.03  # of KS, within which two laws count as equal
Tables = Mapping[str, Rows]  # name of an experiment -> its rows


class _Test(NamedTuple):
  """A claim that differences over seeds are above 0 (below, if expected is -1), whatever the initial R of the student."""
  section: str
  text: str
  number: str
  differences: Mapping[str, np.ndarray]  # initial R -> [seeds]
  expected: int = 1


def _list(values: Iterable[float], form: str = '.2g') -> str:
  return ', '.join(f'{value:{form}}' for value in values)


def _at(dimensions: Iterable[int]) -> str:
  return f' at T = {_list(dimensions, "d")}'


def _claim(section: str, text: str, number: str, *conditions: bool) -> Claim:
  """Agrees if all conditions hold, in part if some do."""
  verdict = 'agrees' if all(conditions) else 'agrees in part' if any(conditions) else 'disagrees'
  return Claim(section, text, number, verdict)


def _section_3_1(experiments: Tables) -> list[Claim | _Test]:
  table, spectra = experiments['proposition1'], experiments['spectra'].where(kind='real')
  curve = experiments['figure3'].where(kind='curve', init=experiments['figure3'].distinct('init')[0])
  dims = table.distinct('dimension')
  sampled, closed = table.having('monte_carlo'), table.having('closed_form')
  worst = max(abs(row['probability'] - row['monte_carlo']) for row in sampled)
  worst_closed = max((abs(row['probability'] - row['closed_form']) for row in closed), default=0.0)
  means = {name: [np.mean(table.where(covariance=name, dimension=n).values('probability')) for n in dims]
           for name in table.distinct('covariance')}
  normalised, plain = means['R R^T / T'], means['R R^T']
  smallest = [table.where(covariance='R R^T / T', dimension=n).median('smallest_eigenvalue') for n in dims]
  images = list(zip(spectra.where(student='same trace'), spectra.where(student='least KL')))
  largest = max(curve.distinct('dimension'))
  listed = curve.where(dimension=largest).having('probability')
  steps, mahalanobis, distance, kl = map(listed.values, ('step', 'mean_mahalanobis', 'mean_distance', 'kl'))
  early = int(np.argmin(np.abs(steps - 0.2 * steps[-1])))
  return [
      _claim('3.1', 'Proposition 1: P(x . g_x > 0) is the share of the sphere inside the cone',
             f'exact integral against sampling of the gradients: at most {worst:.1e} apart in {len(sampled)} comparisons; '
             f'against the closed form at T = 2: {worst_closed:.0e}', worst < 0.02, worst_closed < 1e-6),
      _claim('3.1', 'the signal is increasingly unlikely as T grows and the teacher is highly structured: R R^T / T',
             f'mean P {_list(normalised)}{_at(dims)}', normalised[-1] < 0.1 * normalised[0]),
      _claim('3.1', 'the same for R R^T, the teachers that section 3.2 trains',
             f'mean P {_list(plain)}{_at(dims)}: it does not fall with T', plain[-1] < 0.5 * plain[0]),
      _claim('3.1', 'the smallest eigenvalue of a normalised Wishart matrix goes to 0', f'median {_list(smallest)}{_at(dims)}',
             smallest[-1] < 0.1 * smallest[0]),
      _claim('3.1', 'natural images are degenerate enough for the argument',
             '; '.join(f'{trace["data"]} (T = {trace["dimension"]}, lambda {trace["logit_lambda"]:g}): P = '
                       f'{trace["probability"]:.1e} for an isotropic student of the same trace, {least["probability"]:.2f} for '
                       'the isotropic student of least KL' for trace, least in images),
             all(trace['probability'] < 1e-3 for trace, _ in images), all(least['probability'] < 1e-3 for _, least in images)),
      _claim('3.1', 'two stages: the student first fits the mode, fast, then expands slowly',
             f'T = {largest}, R_S = {curve[0]["init"]}: Mahalanobis distance of the means {_list(mahalanobis)}, Euclidean '
             f'{_list(distance)}, KL {_list(kl)} at updates {_list(steps, ".0f")}',
             mahalanobis[early] < 0.1 * mahalanobis[0], distance[early] < 0.1 * distance[0], kl[-1] > 0.1),
  ]


def _section_3_2(experiments: Tables) -> list[Claim | _Test]:
  table, curves, norms, modes = (experiments[name] for name in ('figure2', 'figure3', 'norms', 'modes'))
  dims = table.distinct('dimension')
  shift = lambda n, init: (table.where(loss='reverse_kl', init=init, dimension=n).values('mean_shift') -
                           table.where(loss='teacher', init=init, dimension=n).values('mean_shift'))
  inits, of_curves = table.distinct('init'), curves.distinct('init')
  shown_shifts = '; '.join(f'R_S = {init}: mean shift of log p_T {_list([shift(n, init).mean() for n in dims], "+.2f")} nats'
                           for init in inits) + _at(dims)
  teacher_level = [table.where(loss='teacher', dimension=n).median('teacher_log_prob') for n in dims]
  laws, mismatch = norms.where(kind='concentration'), norms.where(kind='mismatch', loss='reverse_kl').groups('norm')
  at_largest = laws.where(dimension=max(laws.distinct('dimension')))
  far = next(row for row in at_largest if abs(row['second_moment'] - 1) > 0.5)
  window = lambda name, n, init: curves.where(kind='windows', init=init, dimension=n).values(name)
  shown = lambda name, init: _list([window(name, n, init).mean() for n in dims])
  last = dims[-1]
  of_each = lambda starts, difference: {init: difference(init) for init in starts}
  of_windows = lambda init: ', '.join(f'{name} {shown(name, init)}' for name in ('start', 'early', 'middle', 'late'))
  windows = '; '.join(f'R_S = {init}: {of_windows(init)}' for init in of_curves) + _at(dims)
  fewer = [row['modes_kept'] - other['modes_kept'] for row, other in zip(modes.where(loss='x_reconstruction'),
                                                                       modes.where(loss='reverse_kl'))]
  kept = {loss: rows for (loss,), rows in modes.groups('loss').items()}
  return [
      _claim('3.2', 'the log-likelihood of teacher samples moves away from 0 as T grows',
             f'median over seeds {_list(teacher_level, ".3g")}{_at(dims)}', teacher_level[-1] < 2 * teacher_level[0] < 0),
      _claim('3.2', 'equations 8 and 9: the squared norm of x / sqrt(T) goes to m_2',
             '; '.join(f'{row["law"]}: {row["squared_norm"]:.3f} (m_2 = {row["second_moment"]:.3f})' for row in at_largest) +
             _at([far['dimension']]),
             all(abs(row['squared_norm'] / row['second_moment'] - 1) < 0.01 for row in at_largest)),
      _claim('3.2', 'the sentence before them: the norm of x / sqrt(T) goes to m_2',
             f'{far["law"]}: the norm goes to {far["norm"]:.3f}, the root of m_2 = {far["second_moment"]:.3f}',
             abs(far['norm'] - far['second_moment']) < 0.1),
      _Test('3.2', f'reverse-KL students concentrate on the high density of the teacher (T = {last})', shown_shifts,
            of_each(inits, lambda init: shift(last, init))),
      _Test('3.2', f'... more so in higher dimension (T = {last} and {dims[0]})', shown_shifts,
            of_each(inits, lambda init: shift(last, init) - shift(dims[0], init))),
      _Test('3.2', f'the probability of the signal rises (T = {last})', windows,
            of_each(of_curves, lambda init: window('middle', last, init) - window('start', last, init))),
      _Test('3.2', f'... suddenly: 2 to 5% of the updates make more than half of the rise (T = {last})', 'means as above',
            of_each(of_curves, lambda init: window('early', last, init) - (window('start', last, init) +
                                                                           window('middle', last, init)) / 2)),
      _Test('3.2', f'it drops later (T = {last})', 'means as above',
            of_each(of_curves, lambda init: window('late', last, init) - window('middle', last, init)), -1),
      _Test('3.2', 'late, it is lower for larger T', 'means as above',
            of_each(of_curves, lambda init: window('late', last, init) - window('late', dims[0], init)), -1),
      _claim('3.2', 'the students\' samples have the wrong norm',
             '; '.join(f'{norm}: {rows.median("ratio"):.3f} of the teacher\'s, KS {rows.median("ks"):.2f}'
                       for (norm,), rows in mismatch.items()),
             *(rows.median('ks') > 0.1 for rows in mismatch.values())),
      Claim('3.2', 'reverse KL is mode-seeking: it keeps fewer modes than x-reconstruction, with every seed',
            '; '.join(f'{loss}: {_list(rows.values("modes_kept"), ".0f")} of the modes kept, median KL {rows.median("kl"):.2f}'
                      for loss, rows in kept.items()),
            'agrees' if min(fewer) > 0 else 'disagrees' if max(fewer) < 0 else 'not decided'),
  ]


def _section_4_1_1(experiments: Tables) -> list[Claim | _Test]:
  table, spectra = experiments['figure2'], experiments['spectra'].where(kind='controlled')
  inits, dims = table.distinct('init'), table.distinct('dimension')
  values = lambda column, loss, n, init: table.where(loss=loss, dimension=n, init=init).values(column)
  medians = lambda column, loss, init: _list([np.median(values(column, loss, n, init)) for n in dims])
  last = dims[-1]
  show = lambda *losses: '; '.join(
      f'R_S = {init}, {loss}: median KS {medians("ks", loss, init)}, KL {medians("kl", loss, init)} nats'
      for init in inits for loss in losses) + _at(dims)
  # A KL below the rounding of float32 parameters is one of 0.
  log_kl = lambda loss, init: np.log(np.maximum(values('kl', loss, last, init), 1e-7))
  nearer = lambda loss: {init: log_kl('reverse_kl', init) - log_kl(loss, init) for init in inits}
  over_floor = {init: [statistics.over_seeds(values('ks', 'x_reconstruction', n, init) - values('ks', 'teacher', n, init))
                       for n in dims] for init in inits}
  every = [interval for of_init in over_floor.values() for interval in of_init]
  hard = spectra.where(condition=max(spectra.distinct('condition')), loss='z_reconstruction')
  errors, sigmas = hard.values('abs_log_scale_error'), hard.values('sigma')
  middle = len(hard) // 2
  return [
      _Test('4.1.1', f'z-reconstruction follows the teacher better than reverse KL: its KL is lower (T = {last})',
            f'{show("z_reconstruction", "reverse_kl")}; of ln KL', nearer('z_reconstruction')),
      _Test('4.1.1', f'x-reconstruction follows the teacher better than reverse KL: its KL is lower (T = {last})',
            f'{show("x_reconstruction")}; of ln KL', nearer('x_reconstruction')),
      _claim('4.1.1', 'z-reconstruction starts to fail with more dimensions',
             '; '.join(f'R_S = {init}: KS {medians("ks", "z_reconstruction", init)}, of the teacher against itself '
                       f'{medians("ks", "teacher", init)}' for init in inits) + _at(dims),
             *(np.median(values('ks', 'z_reconstruction', last, init)) > 2 * np.median(values('ks', 'teacher', last, init))
               for init in inits)),
      Claim('4.1.1', f'x-reconstruction is robust to the dimension: its KS is within {MARGIN} of the floor',
            'KS over that of the teacher against itself, with 95% intervals: ' + '; '.join(
                f'R_S = {init}: ' + ', '.join(f'{value:.3f} [{low:.3f}, {high:.3f}]' for value, low, high in of_init)
                for init, of_init in over_floor.items()) + _at(dims),
            'agrees' if all(high < MARGIN for _, _, high in every) else
            'disagrees' if any(low > MARGIN for _, low, _ in every) else 'not decided'),
      _claim('4', 'z-reconstruction fails where the teacher\'s scale is large',
             f'condition number {hard[0]["condition"]:g}: log scale wrong by {errors[0]:.2g} at sigma {sigmas[0]:.2g}, '
             f'{errors[middle]:.2g} at {sigmas[middle]:.2g}, {errors[-1]:.2g} at {sigmas[-1]:.2g}',
             errors[-1] > 2 * errors[middle]),
  ]


def _p_value(test: _Test) -> float:
  """The largest of those from each initial R; 1 if the differences have not one sign."""
  signs = {np.sign(of_init.mean()) for of_init in test.differences.values()}
  return max(map(verdicts.sign_flip, test.differences.values())) if len(signs) == 1 else 1.0


def _decide(found: Iterable[Claim | _Test]) -> list[Claim]:
  """Claims in the order given, the tests among them with Holm's correction over all."""
  found = list(found)
  tests = [each for each in found if isinstance(each, _Test)]
  assert len(tests) <= TESTED
  adjusted = iter(verdicts.holm([_p_value(test) for test in tests]))
  decided = []
  for each in found:
    if isinstance(each, _Test):
      p, first = next(adjusted), next(iter(each.differences.values()))
      verdict = 'not decided' if p >= LEVEL else 'agrees' if first.mean() * each.expected > 0 else 'disagrees'
      shown = ', '.join(f'{of_init.mean():+.2g} (median {np.median(of_init):+.2g}) from {init}'
                        for init, of_init in each.differences.items())
      each = Claim(each.section, each.text, f'{each.number}; mean difference over {len(first)} seeds {shown}; p = {p:.2g}',
                   verdict)
    decided.append(each)
  return decided


def claims(experiments: Tables) -> list[Claim]:
  """Every claim, of the rows of the experiments NEEDED."""
  return _decide(claim for section in (_section_3_1, _section_3_2, _section_4_1_1) for claim in section(experiments))
