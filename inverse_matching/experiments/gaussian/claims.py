"""The claims of sections 3.1, 3.2 and 4.1.1 of the paper, each against the numbers in the JSON files of a folder.

What differs from seed to seed is tested: a `_Test` is a paired sign-flip test of its differences over seeds, with Holm's
correction over all of them, at most TESTED, which are named here before anything is run. What is an identity, or holds for
every teacher of a law, is compared with a threshold that its row tells.
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
  """A claim that differences over seeds are above 0 (below, if expected is -1)."""
  section: str
  text: str
  number: str
  differences: np.ndarray  # [seeds]
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
             f'T = {largest}: Mahalanobis distance of the means {_list(mahalanobis)}, Euclidean {_list(distance)}, KL '
             f'{_list(kl)} at updates {_list(steps, ".0f")}',
             mahalanobis[early] < 0.1 * mahalanobis[0], distance[early] < 0.1 * distance[0], kl[-1] > 0.1),
  ]


def _section_3_2(experiments: Tables) -> list[Claim | _Test]:
  table, curves, norms, modes = (experiments[name] for name in ('figure2', 'figure3', 'norms', 'modes'))
  dims = table.distinct('dimension')
  shift = lambda n, init: (table.where(loss='reverse_kl', init=init, dimension=n).values('mean_shift') -
                           table.where(loss='teacher', init=init, dimension=n).values('mean_shift'))
  inits = table.distinct('init')
  shown_shifts = '; '.join(f'R_S = {init}: mean shift of log p_T {_list([shift(n, init).mean() for n in dims], "+.2f")} nats'
                           for init in inits) + _at(dims)
  teacher_level = [table.where(loss='teacher', dimension=n).median('teacher_log_prob') for n in dims]
  laws, mismatch = norms.where(kind='concentration'), norms.where(kind='mismatch', loss='reverse_kl').groups('norm')
  at_largest = laws.where(dimension=max(laws.distinct('dimension')))
  far = next(row for row in at_largest if abs(row['second_moment'] - 1) > 0.5)
  of_init = curves.where(kind='windows', init=inits[0])
  window = lambda name, n: of_init.where(dimension=n).values(name)
  shown = lambda name: _list([window(name, n).mean() for n in dims])
  last = dims[-1]
  fewer = [row['modes_kept'] - other['modes_kept'] for row, other in zip(modes.where(loss='x_reconstruction'),
                                                                       modes.where(loss='reverse_kl'))]
  kept = {loss: rows for (loss,), rows in modes.groups('loss').items()}
  at = f'{_at(dims)}, R_S = {inits[0]}'
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
            shift(last, inits[0])),
      _Test('3.2', '... more so in higher dimension', shown_shifts, shift(last, inits[0]) - shift(dims[0], inits[0])),
      _Test('3.2', f'the probability of the signal rises (T = {last})',
            f'from {shown("start")} to {shown("middle")} in the middle of training{at}',
            window('middle', last) - window('start', last)),
      _Test('3.2', f'... suddenly: 2 to 5% of the updates make more than half of the rise (T = {last})',
            f'early {shown("early")}{at}', window('early', last) - (window('start', last) + window('middle', last)) / 2),
      _Test('3.2', f'it drops later (T = {last})', f'over the last fifth {shown("late")}, in the middle {shown("middle")}{at}',
            window('late', last) - window('middle', last), -1),
      _Test('3.2', 'late, it is lower for larger T', f'{shown("late")} over the last fifth{at}',
            window('late', last) - window('late', dims[0]), -1),
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
  init = experiments['figure2'].distinct('init')[0]
  table, spectra = experiments['figure2'].where(init=init), experiments['spectra'].where(kind='controlled')
  dims = table.distinct('dimension')
  values = lambda column, loss, n: table.where(loss=loss, dimension=n).values(column)
  medians = lambda column, loss: _list([np.median(values(column, loss, n)) for n in dims])
  show = lambda loss: f'{loss}: median KS {medians("ks", loss)}, KL {medians("kl", loss)}'
  last, at = dims[-1], f'{_at(dims)}, R_S = {init}'
  # A KL below the rounding of float32 parameters is one of 0.
  log_kl = lambda loss: np.log(np.maximum(values('kl', loss, last), 1e-7))
  over_floor = [statistics.over_seeds(values('ks', 'x_reconstruction', n) - values('ks', 'teacher', n)) for n in dims]
  hard = spectra.where(condition=max(spectra.distinct('condition')), loss='z_reconstruction')
  errors, sigmas = hard.values('abs_log_scale_error'), hard.values('sigma')
  middle = len(hard) // 2
  return [
      _Test('4.1.1', f'z-reconstruction follows the teacher better than reverse KL: its KL is lower (T = {last})',
            f'{show("z_reconstruction")}; {show("reverse_kl")}{at}', log_kl('reverse_kl') - log_kl('z_reconstruction')),
      _Test('4.1.1', f'x-reconstruction follows the teacher better than reverse KL: its KL is lower (T = {last})',
            f'{show("x_reconstruction")}{at}', log_kl('reverse_kl') - log_kl('x_reconstruction')),
      _claim('4.1.1', 'z-reconstruction starts to fail with more dimensions',
             f'KS {medians("ks", "z_reconstruction")}, of the teacher against itself {medians("ks", "teacher")}{at}',
             np.median(values('ks', 'z_reconstruction', last)) > 2 * np.median(values('ks', 'teacher', last))),
      Claim('4.1.1', f'x-reconstruction is robust to the dimension: its KS is within {MARGIN} of the floor',
            'KS over that of the teacher against itself, with 95% intervals: ' +
            ', '.join(f'{value:.3f} [{low:.3f}, {high:.3f}]' for value, low, high in over_floor) + at,
            'agrees' if all(high < MARGIN for _, _, high in over_floor) else
            'disagrees' if any(low > MARGIN for _, low, _ in over_floor) else 'not decided'),
      _claim('4', 'z-reconstruction fails where the teacher\'s scale is large',
             f'condition number {hard[0]["condition"]:g}: log scale wrong by {errors[0]:.2g} at sigma {sigmas[0]:.2g}, '
             f'{errors[middle]:.2g} at {sigmas[middle]:.2g}, {errors[-1]:.2g} at {sigmas[-1]:.2g}',
             errors[-1] > 2 * errors[middle]),
  ]


def _decide(found: Iterable[Claim | _Test]) -> list[Claim]:
  """Claims in the order given, the tests among them with Holm's correction over all."""
  found = list(found)
  tests = [each for each in found if isinstance(each, _Test)]
  assert len(tests) <= TESTED
  adjusted = iter(verdicts.holm([verdicts.sign_flip(test.differences) for test in tests]))
  decided = []
  for each in found:
    if isinstance(each, _Test):
      p, mean = next(adjusted), each.differences.mean()
      verdict = 'not decided' if p >= LEVEL else 'agrees' if mean * each.expected > 0 else 'disagrees'
      each = Claim(each.section, each.text, f'{each.number}; mean difference {mean:+.2g} over {len(each.differences)} seeds, '
                   f'p = {p:.2g}', verdict)
    decided.append(each)
  return decided


def claims(experiments: Tables) -> list[Claim]:
  """Every claim, of the rows of the experiments NEEDED."""
  return _decide(claim for section in (_section_3_1, _section_3_2, _section_4_1_1) for claim in section(experiments))
