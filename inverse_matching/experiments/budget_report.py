"""The numbers of a budget as effects, a page and pictures."""
from typing import Any, Mapping, Sequence

from inverse_matching import runs
from inverse_matching.evaluation import examples, tables
from inverse_matching.experiments import claims, figures, pareto
from inverse_matching.experiments.budget_training import Student, Study, load, sizes, trained, ways
from inverse_matching.experiments.experiment import Rows
from inverse_matching.runtime import files

SHOWN = 40  # images in a panel
MAIN = (('kernel_distance', 'data'), ('kernel_distance', 'teacher'), ('coverage', 'data'), ('oracle_l2', 'teacher'))
COMPARED = MAIN[:2]
SPEED = tuple((pareto.SECONDS, f'batch {batch}') for batch in pareto.BATCHES)
COSTS = (('calls of S', None), ('calls of T', None), ('calls of T^-1', None), ('training_seconds', None),
         ('store_seconds', None), ('multiply_adds', None))
OF_A_RUN = ('course', 'tuning')  # metrics of the first seed alone


def _compared(labels: Sequence[str], settings: Mapping[str, Any], size: str) -> list[tuple[str, str]]:
  """(arm, baseline) of every comparison of students of a size that are there.

  With the baseline of their network, those of config.budget.comparisons, and of each way to sample with the first. Of two arms
  the same ways are compared, or all of one with the other where that has but one.
  """
  compared = []
  of_size = lambda arm: ways(arm, size, settings)
  for student in (student for arm in settings['arms'] for student in of_size(arm)):
    baseline = settings['baseline'].get(student.arm.partition('/')[0])
    compared += [] if baseline is None else [(student, of_size(baseline)[0])]
  for arm, other in settings['comparisons']:
    baselines = of_size(other)
    compared += zip(of_size(arm), baselines * len(of_size(arm)) if len(baselines) == 1 else baselines)
  for first, *further in map(of_size, settings['arms']):
    compared += [(student, first) for student in further]
  named = dict.fromkeys((str(student), str(baseline)) for student, baseline in compared)
  return [(arm, baseline) for arm, baseline in named if arm != baseline and arm in labels and baseline in labels]


def effects(rows: Rows, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
  """How much nearer each student is than what it is compared with, by every measure: see `_compared`, and with the teacher, and
  in the next larger size with itself."""
  measures = [key for key in rows.groups('metric', 'reference')
              if key[1] in ('data', 'teacher') and ('distance' in key[0] or key[0] == 'oracle_l2')]
  labels, all_sizes, compared = rows.distinct('arm'), sizes(settings), []
  for size, larger in zip(all_sizes, [*all_sizes[1:], None]):
    compared += _compared(labels, settings, size)
    for student in (student for arm in settings['arms'] for student in ways(arm, size, settings)):
      compared += [(str(student), 'teacher')]
      compared += [] if larger is None else [(str(student._replace(size=larger)), str(student))]
  found = [claims.effect(rows, arm, baseline, *measure) for arm, baseline in compared for measure in measures
           if baseline != measure[1]]  # the teacher is the reference
  return [effect for effect in found if effect]


def _means(rows: Rows) -> Rows:
  """Over the training seeds; the numbers themselves of what has but one, or none."""
  rows = Rows(row for row in rows if row['metric'] not in OF_A_RUN)
  means = rows.over_training()
  have = {(row['arm'], row['metric'], row['reference']) for row in means}
  return Rows([*(row for row in rows if (row['arm'], row['metric'], row['reference']) not in have), *means])


def main_table(rows: Rows) -> list[list[str]]:
  """A line per arm, with the floors."""
  return tables.by_arm(_means(rows), MAIN)


def _report(study: Study, rows: Rows) -> None:
  """budget.md: numbers, costs, and comparisons of students of a size."""
  settings = study.settings
  labels = [str(student) for student in _all_students(settings, rows)]
  seeds = max(rows.having('train_seed').values('train_seed'), default=0) + 1
  parts = ['# What distillation buys', f'    {study.experiment.command}',
           '![quality over speed](budget_pareto.png)',
           f'Means over training seeds (up to {seeds:.0f}) with t intervals after {settings["passes"]} passes; of an arm with '
           'one seed so far intervals over samples. `training_seconds` has what a step calls; what was stored before took '
           '`store_seconds`. A student that is slower than the fastest exact sampler buys nothing.']
  exact = rows.where(metric=pareto.SECONDS)
  parts += [tables.markdown(tables.by_arm([row for row in exact if row['arm'].startswith('teacher, ')], SPEED)[:-1])]
  found = {(effect['arm'], effect['baseline'], effect['metric'], effect['reference']): effect
           for effect in effects(rows, settings)}
  for size in sizes(settings):
    of_size = [str(student) for arm in settings['arms'] for student in ways(arm, size, settings) if str(student) in labels]
    if not of_size:
      continue
    means = _means(Rows(row for row in rows if row['arm'] in ('teacher', *of_size)))
    lines = [[arm, baseline, *(_effect_cell(found.get((arm, baseline, *measure))) for measure in COMPARED)]
             for arm, baseline in _compared(labels, settings, size)]
    parts += [f'## Size {size}', tables.markdown(tables.by_arm(means, MAIN)),
              tables.markdown(tables.by_arm(means, (*COSTS, *SPEED), intervals=False)[:-1]),
              'How much nearer an arm is than its baseline, and what that says ([verdicts](../../docs/files.md)):',
              tables.markdown([['arm', 'baseline', *(f'{metric} ({of})' for metric, of in COMPARED)], *lines])]
  parts += [f'- {line}' for line in _remarks(rows)]
  files.write_bytes(study.experiment.path / 'budget.md', '\n\n'.join([*parts, '']).encode())


def _effect_cell(effect: Mapping[str, Any] | None) -> str:
  return '' if effect is None else f'{effect["nearer_by"]:.3g} [{effect["low"]:.3g}, {effect["high"]:.3g}] {effect["verdict"]}'


def _remarks(rows: Rows) -> list[str]:
  """What a reader of the tables must know."""
  diverged = [f'`{arm}` diverged with {len(of)} training seeds.' for (arm,), of in rows.where(metric='diverged').groups(
      'arm').items()]
  tried = {arm: of.values('learning_rate') for (arm,), of in rows.where(metric='tuning').groups('arm').items()}
  chosen = {row['arm']: row['learning_rate'] for row in rows.where(metric='course')}
  at_edge = [arm for arm, rates in tried.items() if len(rates) > 1 and chosen.get(arm) in (rates.min(), rates.max())]
  return diverged + ([f'At the edge of the learning rates that were tried: {", ".join(f"`{arm}`" for arm in at_edge)}.']
                     if at_edge else [])


def _all_students(settings: Mapping[str, Any], rows: Rows) -> list[Student]:
  """Those that there are samples of."""
  labels = set(rows.where(metric='kernel_distance').distinct('arm'))
  return [student for size in sizes(settings) for arm in settings['arms'] for student in ways(arm, size, settings)
          if str(student) in labels]


def write(study: Study, rows: Rows, size: str) -> None:
  """budget.md, numbers and samples of a size, and quality over speed of all that there are."""
  _report(study, rows)
  path, measures = study.experiment.path, study.measures
  students, name = _all_students(study.settings, rows), size.replace('/', '_')
  labels = {'teacher', *(str(student) for student in students if student.size == size)}
  figures.forest(path / f'budget_{name}.png', Rows(row for row in rows if row['arm'] in labels), [
      ('kernel_distance', 'data'), ('kernel_distance', 'teacher'), ('coverage', 'data'),
      *((metric, 'data') for metric in measures)], title=f'Students of size {size} after {study.settings["passes"]} passes')
  pareto.draw(path / 'budget_pareto.png', rows, [(student.arm, student.size, str(student)) for student in students])
  teacher_run, context = study.outcome.teacher_run, study.outcome.context
  pictures = {'data': teacher_run.source.data.held_out.pixels[:SHOWN],
              'teacher': examples.to_pixels(teacher_run, context.samples.paired.x[:SHOWN])}
  for student in (student for student in students if student.size == size):
    seed = rows.where(arm=str(student), metric='kernel_distance')[0]['train_seed']
    student_run = load(study, student, trained(study, student, seed))
    drawn = runs.generate(student_run, context.samples.z[:SHOWN], study.experiment.devices)
    pictures[str(student).replace(f' at {size}', '')] = examples.to_pixels(teacher_run, drawn)
  figures.panels(path / f'budget_samples_{name}.png', pictures, levels=teacher_run.space.levels, columns=5, per_row=8,
                 title='Samples: the same noise z for the teacher and every student')
