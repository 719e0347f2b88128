"""The claims of sections 3.1, 3.2 and 4.1.1 of the paper, each against the numbers in the JSON files of a folder."""
from typing import Iterable, Mapping

import numpy as np

from inverse_matching.evaluation import tables
from inverse_matching.experiments.claims import Claim
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.experiments.gaussian.figure3 import course
from inverse_matching.runtime import files

NEEDED = ('figure2', 'figure3', 'proposition1', 'norms', 'spectra', 'modes', 'stiffness')
Tables = Mapping[str, Rows]  # name of an experiment -> its rows


def _list(values: Iterable[float], form: str = '.2g') -> str:
  return ', '.join(f'{value:{form}}' for value in values)


def _at(dimensions: Iterable[int]) -> str:
  return f' at T = {_list(dimensions, "d")}'


def _claim(section: str, text: str, number: str, *conditions: bool) -> Claim:
  """Agrees if all conditions hold, in part if some do."""
  verdict = 'agrees' if all(conditions) else 'agrees in part' if any(conditions) else 'disagrees'
  return Claim(section, text, number, verdict)


def _section_3_1(experiments: Tables) -> list[Claim]:
  table, spectra, curve = experiments['proposition1'], experiments['spectra'].where(kind='real'), experiments['figure3']
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
  early = min(3, len(listed) - 1)  # a fifth of the updates
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


def _section_3_2(experiments: Tables) -> list[Claim]:
  table, curves, norms, modes = (experiments[name] for name in ('figure2', 'figure3', 'norms', 'modes'))
  dims = table.distinct('dimension')
  shifts = {init: [table.where(loss='reverse_kl', init=init, dimension=n).median('mean_shift') for n in dims]
            for init in table.distinct('init')}
  teacher_level = [table.where(loss='teacher', dimension=n).median('teacher_log_prob') for n in dims]
  laws, mismatch = norms.where(kind='concentration'), norms.where(kind='mismatch', loss='reverse_kl').groups('norm')
  at_largest = laws.where(dimension=max(laws.distinct('dimension')))
  far = next(row for row in at_largest if abs(row['second_moment'] - 1) > 0.5)
  courses = [course(curve) for curve in curves.groups('dimension').values()]
  starts, tops, _, late = zip(*courses)
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
      _claim('3.2', 'reverse-KL students concentrate on the high density of the teacher, more so in higher dimension',
             '; '.join(f'R_S = {init}: median shift of log p_T {_list(shift, "+.2f")} nats' for init, shift in shifts.items()) +
             _at(dims),
             *(shift[-1] > 0.5 and shift[-1] > shift[0] for shift in shifts.values())),
      _claim('3.2', 'the probability of the signal rises suddenly at the start',
             f'from {_list(starts)} to its highest ' +
             ', '.join(f'{top:.2f} (update {step})' for _, top, step, _ in courses) + _at(dims),
             *(top > start + 0.2 for start, top in zip(starts, tops))),
      _claim('3.2', 'it drops later', f'{_list(late)} over the last fifth, against the highest {_list(tops)}',
             *(value < top - 0.1 for value, top in zip(late, tops))),
      _claim('3.2', 'late, it is lower for larger T', f'{_list(late)} over the last fifth{_at(dims)}', all(np.diff(late) < 0)),
      _claim('3.2', 'the students\' samples have the wrong norm',
             '; '.join(f'{norm}: {rows.median("ratio"):.3f} of the teacher\'s, KS {rows.median("ks"):.2f}'
                       for (norm,), rows in mismatch.items()),
             *(rows.median('ks') > 0.1 for rows in mismatch.values())),
      _claim('3.2', 'reverse KL is mode-seeking',
             '; '.join(f'{loss}: {rows.median("modes_kept"):g} of the modes kept, KL {rows.median("kl"):.2f}'
                       for loss, rows in kept.items()),
             kept['reverse_kl'].median('modes_kept') < kept['x_reconstruction'].median('modes_kept')),
  ]


def _section_4_1_1(experiments: Tables) -> list[Claim]:
  init = experiments['figure2'].distinct('init')[0]
  table, spectra = experiments['figure2'].where(init=init), experiments['spectra'].where(kind='controlled')
  dims = table.distinct('dimension')
  ks, kl = ({loss: [table.where(loss=loss, dimension=n).median(column) for n in dims] for loss in table.distinct('loss')}
            for column in ('ks', 'kl'))
  show = lambda loss: f'{loss} KS {_list(ks[loss])}, KL {_list(kl[loss])}'
  hard = spectra.where(condition=max(spectra.distinct('condition')), loss='z_reconstruction')
  errors, sigmas = hard.values('abs_log_scale_error'), hard.values('sigma')
  middle = len(hard) // 2
  at = f'{_at(dims)}, R_S = {init}'
  return [
      _claim('4.1.1', 'z-reconstruction follows the teacher better than reverse KL',
             f'{show("z_reconstruction")}; {show("reverse_kl")}{at}',
             *(z < r for z, r in zip(ks['z_reconstruction'], ks['reverse_kl']))),
      _claim('4.1.1', 'x-reconstruction follows the teacher better than reverse KL', f'{show("x_reconstruction")}{at}',
             kl['x_reconstruction'][-1] < kl['reverse_kl'][-1], ks['x_reconstruction'][-1] < ks['reverse_kl'][-1]),
      _claim('4.1.1', 'z-reconstruction starts to fail with more dimensions', f'KS {_list(ks["z_reconstruction"])}{at}',
             ks['z_reconstruction'][-1] > 2 * ks['teacher'][-1]),
      _claim('4.1.1', 'x-reconstruction is robust to the dimension',
             f'KS {_list(ks["x_reconstruction"])}, that of the teacher against itself {_list(ks["teacher"])}',
             *(x < t + 0.03 for x, t in zip(ks['x_reconstruction'], ks['teacher']))),
      _claim('4', 'z-reconstruction fails where the teacher\'s scale is large',
             f'condition number {hard[0]["condition"]:g}: log scale wrong by {errors[0]:.2g} at sigma {sigmas[0]:.2g}, '
             f'{errors[middle]:.2g} at {sigmas[middle]:.2g}, {errors[-1]:.2g} at {sigmas[-1]:.2g}',
             errors[-1] > 2 * errors[middle]),
  ]


def _stiffness_table(rows: Rows) -> list[list[str]]:
  columns = list(rows.groups('dimension', 'init'))
  lines = [['arm', *(f'T = {n}, R = {init}' for n, init in columns)]]
  for (arm,), of_arm in rows.groups('arm').items():
    kls = [of_arm.where(dimension=n, init=init).values('kl') for n, init in columns]
    lines.append([arm, *(f'{np.median(kl):.2g} ({np.max(kl):.2g})' if len(kl) else 'not finite' for kl in kls)])
  return lines


def _stiffness_text(rows: Rows) -> str:
  n, init = max(rows.distinct('dimension')), rows.distinct('init')[0]
  kl = lambda arm: rows.where(arm=arm, dimension=n, init=init).values('kl')
  show = lambda arm: f'{np.median(kl(arm)):.2g} (worst seed {np.max(kl(arm)):.2g})'
  everywhere = rows.where(arm='natural', dimension=n).values('kl')
  if np.max(everywhere) < min(np.median(kl('closed_form')), np.median(kl('total'))):
    conclusion = ('So a better step reaches the teacher with the noise left in: here the signal is not too rare to learn from. '
                  'Removing the noise alone helps the median but not the worst teachers. What share conditioning, noise and '
                  'rarity have each is not decided.')
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


def run(experiment: Experiment) -> str:
  """Writes claims.json and README.md from the JSON files of the other experiments in the workdir; returns the table."""
  documents = {name: files.read_json(experiment.path / f'{name}.json') for name in NEEDED}
  experiments = {name: Rows(document['rows']) for name, document in documents.items()}
  claims = [claim for section in (_section_3_1, _section_3_2, _section_4_1_1) for claim in section(experiments)]
  experiment.write('claims', {}, [claim._asdict() for claim in claims])
  lines = [['section', 'claim', 'our number', 'verdict'], *map(list, claims)]
  settings = documents['figure2']['settings']
  commands = '\n'.join(f'    {command}' for command in dict.fromkeys(document['command'] for document in documents.values()))
  pictures = '\n\n'.join(f'![{picture.stem}]({picture.name})' for picture in sorted(experiment.path.glob('*.png')))
  text = f'''# Gaussian teachers and students

`make gaussian`, or in parts, as recorded in the files:

{commands}

{settings["num_seeds"]} seeds, {settings["num_steps"]} updates of batches of {settings["batch_size"]},
Adam at {settings["learning_rate"]}; medians over seeds unless said. The student starts at mean 0; its initial R, which the
paper does not give, is named. The text of every row follows from the JSON files beside this page (`--figure=claims` writes
it).

{tables.markdown(lines)}

## Rare signal or ill-conditioning?

{_stiffness_text(experiments["stiffness"])}

KL(student || teacher) in nats, the median over seeds (the worst seed in brackets):

{tables.markdown(_stiffness_table(experiments["stiffness"]))}

{pictures}
'''
  files.write_bytes(experiment.path / 'README.md', text.encode())
  return tables.plain([[line[0], line[1], line[3]] for line in lines])
