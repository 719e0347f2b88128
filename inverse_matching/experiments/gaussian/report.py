"""README.md of a folder of Gaussian studies: the claims, what makes reverse KL slow, and what helps."""
from typing import Any, Mapping

import numpy as np

from inverse_matching.evaluation import tables
from inverse_matching.experiments import verdicts
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.experiments.gaussian import claims, mechanism
from inverse_matching.runtime import files


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
  return f'''At T = {n} from R = {init}, reverse KL ends at a KL of {show("total")} nats, and with the noise of the gradient
taken out altogether (closed form: every direction gets its signal in every update) at {show("closed_form")}. The path
derivative gives {show("path")}, the same number of samples in fewer, larger
batches {show("large_batch")}, as many of the larger batches {show("large_batch_more")}, a decayed learning rate
{show("decayed")}, decayed from a higher start {show("decayed_fast")}, annealing {show("annealed")}, a warm start by
x-reconstruction {show("warm_start")}. The natural gradient, which sees the teacher through the same score at the same noisy
samples and only changes the step, gives {show("natural")}, and at worst {np.max(everywhere):.2g} over all starts (closed form:
{show("closed_form_natural")}). Adam in the coordinates where the teacher is round gives {show("whitened")}, and
{show("whitened_fast")} with a higher rate. x-reconstruction gives {show("x_reconstruction")}.'''


def _mechanism_text(rows: Rows, settings: Mapping[str, Any]) -> str:
  cells, lines = rows.where(part='coordinates'), []
  conditions, starts = cells.distinct('condition'), cells.distinct('start')
  median = lambda optimizer, start, condition: cells.where(optimizer=optimizer, start=start, condition=condition).median('kl')
  for optimizer in cells.distinct('optimizer'):
    found = mechanism.shares(cells.where(optimizer=optimizer))
    lines.append(f'With {optimizer}, the condition number of the coordinates has {found["condition"]:.0%} of the variance of '
                 f'log KL, the start (and with it the probability of the signal) {found["start"]:.0%}, both together '
                 f'{found["both"]:.0%}, the seeds {found["seeds"]:.0%}.')
  header = ['start', 'P at the start', 'KL at the start',
            *(f'{optimizer}, condition {condition:g}' for optimizer in cells.distinct('optimizer') for condition in conditions)]
  table = [[start, f'{cells.where(start=start).values("probability").mean():.2g}',
            f'{cells.where(start=start).median("kl_start"):.2g}',
            *(f'{median(optimizer, start, condition):.2g}' for optimizer in cells.distinct('optimizer')
              for condition in conditions)] for start in starts]
  dropped = rows.where(part='thinned')
  thinned = '; '.join(_dropped(dropped, keep) for keep in dropped.distinct('keep') if keep < 1)
  num_rates = max(len(rates) for rates in settings['rates'].values())
  return f'''P and KL are the same in all coordinates; the condition number is not. {" ".join(lines)} Median KL in nats after
training, with the best of {num_rates} rates:

{tables.markdown([header, *table])}

Rarity alone, by dropping samples that carry the signal without a bias (all kept:
{dropped.where(dropped="none").median("kl"):.2g} nats): {thinned}.'''


def _dropped(rows: Rows, keep: float) -> str:
  signal, anyone = (rows.where(dropped=which, keep=keep).values('kl') for which in ('signal', 'any'))
  p = verdicts.sign_flip(np.log(signal) - np.log(anyone))
  return (f'{keep:g} kept: {np.median(signal):.2g} nats, and {np.median(anyone):.2g} where any are dropped to the same '
          f'variance (p = {p:.2g})')


def run(experiment: Experiment) -> str:
  """Writes claims.json and README.md from the JSON files of the other experiments in the workdir; returns the table."""
  documents = {name: files.read_json(experiment.path / f'{name}.json') for name in (*claims.NEEDED, 'stiffness', 'mechanism')}
  experiments = {name: Rows(document['rows']) for name, document in documents.items()}
  found = claims.claims(experiments)
  experiment.write('claims', {}, [claim._asdict() for claim in found])
  lines = [['section', 'claim', 'our number', 'verdict'], *map(list, found)]
  settings = documents['figure2']['settings']
  commands = '\n'.join(f'    {command}' for command in dict.fromkeys(document['command'] for document in documents.values()))
  pictures = '\n\n'.join(f'![{picture.stem}]({picture.name})' for picture in sorted(experiment.path.glob('*.png')))
  text = f'''# Gaussian teachers and students

`make gaussian`, or in parts, as recorded in the files:

{commands}

The teacher is x = mu + R z with z standard normal in T dimensions, the student x = mu_S + R_S z. It starts at mu_S = 0; its
initial R_S, which the paper does not give, is named: I, the unit matrix, or standard normal entries, and so on. With g the
gradient of log p_T(x) - log p_S(x), the *signal* is that (x - mu) . g > 0, so that a sample of the student widens it, and P is
its probability. *Start*, *early*, *middle* and *late* are update 0 and the means over 2 to 5%, 20 to 60% and 80 to 100% of the
updates. *KS* is the Kolmogorov-Smirnov distance between log p_T of samples of the student and of the teacher; differences of KL
are of its natural logarithm.

{settings["num_seeds"]} seeds, {settings["num_steps"]} updates of batches of {settings["batch_size"]}, Adam at
{settings["learning_rate"]}; figure 3 and the modes have settings of their own. Claims with a p-value are tested over seeds
(paired sign flips, Holm's correction over all of them, level {claims.LEVEL}), and decided where that holds from every initial
R_S: p is the largest. Others are compared with a threshold that their row tells. The text of every row follows from the JSON
files beside this page (`--figure=claims` writes it).

{tables.markdown(lines)}

## Rare signal, stiffness or noise?

{_mechanism_text(experiments["mechanism"], documents["mechanism"]["settings"])}

## Remedies

{_stiffness_text(experiments["stiffness"])}

KL(student || teacher) in nats, the median over seeds (the worst seed in brackets):

{tables.markdown(_stiffness_table(experiments["stiffness"]))}

{pictures}
'''
  files.write_bytes(experiment.path / 'README.md', text.encode())
  return tables.plain([[line[0], line[1], line[3]] for line in lines])
