"""The claims of sections 3.1, 3.2 and 4.1.1 of the paper, each against the numbers in the JSON files of a folder."""
import pathlib
from typing import Any, Callable, Iterable, Mapping, Sequence

import numpy as np

from inverse_matching.evaluation import tables
from inverse_matching.experiments.claims import Claim
from inverse_matching.runtime import files

NEEDED = ('figure2', 'figure3', 'proposition1', 'norms', 'spectra', 'modes', 'stiffness')
AGREES, DISAGREES, PARTLY = 'agrees', 'disagrees', 'agrees in part'


class _Rows:
  """Rows of one JSON, chosen by their fields."""

  def __init__(self, rows: Iterable[Mapping[str, Any]]):
    self.rows = list(rows)

  def where(self, **fields: Any) -> '_Rows':
    return _Rows(row for row in self.rows if all(row.get(name) == value for name, value in fields.items()))

  def values(self, column: str) -> np.ndarray:
    return np.array([row[column] for row in self.rows if row.get(column) is not None], np.float64)

  def median(self, column: str) -> float:
    return float(np.median(self.values(column)))

  def mean(self, column: str) -> float:
    return float(np.mean(self.values(column)))

  def distinct(self, column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in self.rows if column in row))


def _list(values: Iterable[float], form: str = '.2g') -> str:
  return ', '.join(f'{value:{form}}' for value in values)


def _verdict(*conditions: bool) -> str:
  return AGREES if all(conditions) else PARTLY if any(conditions) else DISAGREES


def _section_3_1(held: Mapping[str, _Rows]) -> list[Claim]:
  table, spectra, curve = held['proposition1'], held['spectra'].where(kind='real'), held['figure3']
  dims = table.distinct('dimension')
  sampled = [row for row in table.rows if row['monte_carlo'] is not None]
  worst = max(abs(row['probability'] - row['monte_carlo']) for row in sampled)
  closed = max((abs(r['probability'] - r['closed_form']) for r in table.rows if r['closed_form'] is not None), default=0.0)
  means = {name: [table.where(covariance=name, dimension=n).mean('probability') for n in dims]
           for name in table.distinct('covariance')}
  smallest = [table.where(covariance='R R^T / T', dimension=n).median('smallest_eigenvalue') for n in dims]
  matched, best = spectra.where(student='same trace'), spectra.where(student='least KL')
  top = max(curve.distinct('dimension'))
  listed = [row for row in curve.where(dimension=top).rows if row['probability'] is not None]
  at = lambda column: [row[column] for row in listed]
  early = min(3, len(listed) - 1)  # a fifth of the updates
  return [
      Claim('3.1', 'Proposition 1: P(x . g_x > 0) is the share of the sphere inside the cone',
            f'exact integral against sampling of the gradients: at most {worst:.1e} apart in {len(sampled)} comparisons; '
            f'against the closed form at T = 2: {closed:.0e}', _verdict(worst < 0.02, closed < 1e-6)),
      Claim('3.1', 'the signal is increasingly unlikely as T grows and the teacher is highly structured: R R^T / T',
            f'mean P {_list(means["R R^T / T"])} at T = {_list(dims, "d")}',
            _verdict(means['R R^T / T'][-1] < 0.1 * means['R R^T / T'][0])),
      Claim('3.1', 'the same for R R^T, the teachers that section 3.2 trains',
            f'mean P {_list(means["R R^T"])} at T = {_list(dims, "d")}: it does not fall with T',
            _verdict(means['R R^T'][-1] < 0.5 * means['R R^T'][0])),
      Claim('3.1', 'the smallest eigenvalue of a normalised Wishart matrix goes to 0',
            f'median {_list(smallest)} at T = {_list(dims, "d")}', _verdict(smallest[-1] < 0.1 * smallest[0])),
      Claim('3.1', 'natural images are degenerate enough for the argument',
            '; '.join(f'{m["data"]} (T = {m["dimension"]}, lambda {m["logit_lambda"]:g}): P = {m["probability"]:.1e} for an '
                      f'isotropic student of the same trace, {b["probability"]:.2f} for the isotropic student of least KL'
                      for m, b in zip(matched.rows, best.rows)),
            _verdict(all(m['probability'] < 1e-3 for m in matched.rows), all(b['probability'] < 1e-3 for b in best.rows))),
      Claim('3.1', 'two stages: the student first fits the mode, fast, then expands slowly',
            f'T = {top}: Mahalanobis distance of the means {_list(at("mean_mahalanobis"))}, Euclidean '
            f'{_list(at("mean_distance"))}, KL {_list(at("kl"))} at updates {_list(at("step"), "d")}',
            _verdict(at('mean_mahalanobis')[early] < 0.1 * at('mean_mahalanobis')[0],
                     at('mean_distance')[early] < 0.1 * at('mean_distance')[0], at('kl')[-1] > 0.1)),
  ]


def _section_3_2(held: Mapping[str, _Rows]) -> list[Claim]:
  table, curve, norms, modes = held['figure2'], held['figure3'], held['norms'], held['modes']
  dims, inits = table.distinct('dimension'), table.distinct('init')
  students = table.where(loss='reverse_kl')
  shifts = {init: [students.where(init=init, dimension=n).median('mean_shift') for n in dims] for init in inits}
  laws, mismatch = norms.where(kind='concentration'), norms.where(kind='mismatch', loss='reverse_kl')
  largest = laws.where(dimension=max(laws.distinct('dimension'))).rows
  far = next(row for row in largest if abs(row['second_moment'] - 1) > 0.5)
  rise, peak, late = [], [], []
  for n in curve.distinct('dimension'):
    here = curve.where(dimension=n)
    steps, values = here.values('step'), here.values('frequency')
    rise.append(values[0])
    peak.append((int(steps[np.argmax(values)]), np.max(values)))
    late.append(np.mean(values[steps >= 0.8 * steps[-1]]))
  teacher_level = [table.where(loss='teacher', dimension=n).median('teacher_log_prob') for n in dims]
  kept = {loss: modes.where(loss=loss) for loss in modes.distinct('loss')}
  total = 'of the modes'
  return [
      Claim('3.2', 'the log-likelihood of teacher samples moves away from 0 as T grows',
            f'median over seeds {_list(teacher_level, ".3g")} at T = {_list(dims, "d")}',
            _verdict(teacher_level[-1] < 2 * teacher_level[0] < 0)),
      Claim('3.2', 'equations 8 and 9: the squared norm of x / sqrt(T) goes to m_2',
            '; '.join(f'{r["law"]}: {r["squared_norm"]:.3f} (m_2 = {r["second_moment"]:.3f})' for r in largest) +
            f' at T = {largest[0]["dimension"]}',
            _verdict(all(abs(r['squared_norm'] / r['second_moment'] - 1) < 0.01 for r in largest))),
      Claim('3.2', 'the sentence before them: the norm of x / sqrt(T) goes to m_2',
            f'{far["law"]}: the norm goes to {far["norm"]:.3f}, the root of m_2 = {far["second_moment"]:.3f}',
            _verdict(abs(far['norm'] - far['second_moment']) < 0.1)),
      Claim('3.2', 'reverse-KL students concentrate on the high density of the teacher, more so in higher dimension',
            '; '.join(f'R_S = {init}: median shift of log p_T {_list(v, "+.2f")} nats' for init, v in shifts.items()) +
            f' at T = {_list(dims, "d")}', _verdict(*(v[-1] > 0.5 and v[-1] > v[0] for v in shifts.values()))),
      Claim('3.2', 'the probability of the signal rises suddenly at the start',
            'from ' + _list(rise) + ' to its highest ' + ', '.join(f'{v:.2f} (update {s})' for s, v in peak) +
            f' at T = {_list(dims, "d")}', _verdict(*(v > r + 0.2 for r, (_, v) in zip(rise, peak)))),
      Claim('3.2', 'it drops later',
            f'{_list(late)} over the last fifth, against the highest {_list([v for _, v in peak])}',
            _verdict(*(value < v - 0.1 for value, (_, v) in zip(late, peak)))),
      Claim('3.2', 'late, it is lower for larger T', f'{_list(late)} over the last fifth at T = {_list(dims, "d")}',
            _verdict(all(np.diff(late) < 0))),
      Claim('3.2', 'the students\' samples have the wrong norm',
            '; '.join(f'{norm}: {mismatch.where(norm=norm).median("ratio"):.3f} of the teacher\'s, '
                      f'KS {mismatch.where(norm=norm).median("ks"):.2f}' for norm in mismatch.distinct('norm')),
            _verdict(*(mismatch.where(norm=norm).median('ks') > 0.1 for norm in mismatch.distinct('norm')))),
      Claim('3.2', 'reverse KL is mode-seeking', '; '.join(
          f'{loss}: {rows.median("modes_kept"):g} {total} kept, KL {rows.median("kl"):.2f}' for loss, rows in kept.items()),
            _verdict(kept['reverse_kl'].median('modes_kept') < kept['x_reconstruction'].median('modes_kept'))),
  ]


def _section_4_1_1(held: Mapping[str, _Rows]) -> list[Claim]:
  init = held['figure2'].distinct('init')[0]
  table, spectra = held['figure2'].where(init=init), held['spectra'].where(kind='controlled')
  dims = table.distinct('dimension')
  by = lambda loss, column: [table.where(loss=loss, dimension=n).median(column) for n in dims]
  ks, kl = ({loss: by(loss, column) for loss in ('reverse_kl', 'z_reconstruction', 'x_reconstruction', 'teacher')}
            for column in ('ks', 'kl'))
  show = lambda loss: f'{loss} KS {_list(ks[loss])}, KL {_list(kl[loss])}'
  hard = spectra.where(condition=max(spectra.distinct('condition')), loss='z_reconstruction').rows
  middle = hard[len(hard) // 2]
  at = f' at T = {_list(dims, "d")}, R_S = {init}'
  return [
      Claim('4.1.1', 'z-reconstruction follows the teacher better than reverse KL',
            f'{show("z_reconstruction")}; {show("reverse_kl")}{at}',
            _verdict(*(z < r for z, r in zip(ks['z_reconstruction'], ks['reverse_kl'])))),
      Claim('4.1.1', 'x-reconstruction follows the teacher better than reverse KL', f'{show("x_reconstruction")}{at}',
            _verdict(kl['x_reconstruction'][-1] < kl['reverse_kl'][-1], ks['x_reconstruction'][-1] < ks['reverse_kl'][-1])),
      Claim('4.1.1', 'z-reconstruction starts to fail with more dimensions', f'KS {_list(ks["z_reconstruction"])}{at}',
            _verdict(ks['z_reconstruction'][-1] > 2 * ks['teacher'][-1])),
      Claim('4.1.1', 'x-reconstruction is robust to the dimension',
            f'KS {_list(ks["x_reconstruction"])}, that of the teacher against itself {_list(ks["teacher"])}',
            _verdict(*(x < t + 0.03 for x, t in zip(ks['x_reconstruction'], ks['teacher'])))),
      Claim('4', 'z-reconstruction fails where the teacher\'s scale is large',
            f'condition number {hard[0]["condition"]:g}: log scale wrong by {hard[0]["abs_log_scale_error"]:.2g} at sigma '
            f'{hard[0]["sigma"]:.2g}, {middle["abs_log_scale_error"]:.2g} at {middle["sigma"]:.2g}, '
            f'{hard[-1]["abs_log_scale_error"]:.2g} at {hard[-1]["sigma"]:.2g}',
            _verdict(hard[-1]['abs_log_scale_error'] > 2 * middle['abs_log_scale_error'])),
  ]


def _stiffness_table(table: _Rows) -> list[list[str]]:
  dims, inits = table.distinct('dimension'), table.distinct('init')
  lines = [['arm', *(f'T = {n}, R = {init}' for n in dims for init in inits)]]
  for arm in table.distinct('arm'):
    cells = []
    for n in dims:
      for init in inits:
        kl = table.where(arm=arm, dimension=n, init=init).values('kl')
        cells.append(f'{np.median(kl):.2g} ({np.max(kl):.2g})' if len(kl) else 'not finite')
    lines.append([arm, *cells])
  return lines


def _stiffness_text(table: _Rows) -> str:
  n, init = max(table.distinct('dimension')), table.distinct('init')[0]
  kl = lambda arm: table.where(arm=arm, dimension=n, init=init).values('kl')
  show = lambda arm: f'{np.median(kl(arm)):.2g} (worst seed {np.max(kl(arm)):.2g})'
  everywhere = table.where(arm='natural', dimension=n).values('kl')
  if np.max(everywhere) < min(np.median(kl('closed_form')), np.median(kl('total'))):
    conclusion = ('So here the caveat is ill-conditioning, which a better step cures with the noise left in, rather than a '
                  'signal too rare to learn from; removing the noise alone helps the median but not the worst teachers.')
  else:
    conclusion = 'The natural gradient does not settle it at this budget.'
  return f'''At T = {n} from R = {init}, reverse KL ends at a KL of {show("total")} nats, and with the noise of the gradient
taken out altogether (closed form: every direction gets its signal in every update) at {show("closed_form")}. The path
derivative gives {show("path")}, the same number of samples in fewer, larger
batches {show("large_batch")}, a decayed learning rate {show("decayed")}, decayed from a higher start {show("decayed_fast")},
annealing {show("annealed")}, a warm start by x-reconstruction {show("warm_start")}. The natural gradient, which sees the
teacher through the same score at the same noisy samples and only changes the step, gives {show("natural")}, and at worst
{np.max(everywhere):.2g} over all starts (closed form: {show("closed_form_natural")}). Adam in the coordinates where the
teacher is round gives {show("whitened")}, and {show("whitened_fast")} with a higher rate: its worst seeds start too far away
along the thin directions. x-reconstruction gives {show("x_reconstruction")}. {conclusion}'''


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes claims.json and README.md from the JSON files of the other experiments in workdir; returns the table."""
  del config, devices
  path = pathlib.Path(workdir)
  documents = {name: files.read_json(path / f'{name}.json') for name in NEEDED}
  held = {name: _Rows(document['rows']) for name, document in documents.items()}
  sections: Sequence[Callable[[Mapping[str, _Rows]], list[Claim]]] = (_section_3_1, _section_3_2, _section_4_1_1)
  claims = [claim for section in sections for claim in section(held)]
  files.write_json(path / 'claims.json', {'command': command, 'settings': {}, 'rows': [claim._asdict() for claim in claims]})
  lines = [['section', 'claim', 'our number', 'verdict'], *map(list, claims)]
  settings = documents['figure2']['settings']
  commands = '\n'.join(f'    {c}' for c in dict.fromkeys(document['command'] for document in documents.values()))
  text = f'''# Gaussian teachers and students

`make gaussian`, or in parts, as recorded in the files:

{commands}

{settings["num_seeds"]} seeds, {settings["num_steps"]} updates of batches of {settings["batch_size"]},
Adam at {settings["learning_rate"]}; medians over seeds unless said. The student starts at mean 0; its initial R, which the
paper does not give, is named. The text of every row follows from the JSON files beside this page (`--figure=claims` writes
it).

{tables.markdown(lines)}

## Rare signal or ill-conditioning?

{_stiffness_text(held["stiffness"])}

KL(student || teacher) in nats, the median over seeds (the worst seed in brackets):

{tables.markdown(_stiffness_table(held["stiffness"]))}

![stiffness](stiffness.png)
'''
  files.write_bytes(path / 'README.md', text.encode())
  return tables.plain([[line[0], line[1], line[3]] for line in lines])
