"""Which value has which objective where? Students of every objective under every objective, over teachers and training seeds.

If an objective is lower at a student of another than at its own, training has not found what is there; if it is lower at its
own and the samples are worse, the objective prefers them.
"""
import pathlib
from typing import Any, Mapping, NamedTuple

from absl import logging
import jax

from inverse_matching import losses, runs
from inverse_matching.data import pairs as pair_data
from inverse_matching.evaluation import evaluate, statistics, tables
from inverse_matching.evaluation.context import make_context, teacher_samples
from inverse_matching.experiments import courses, distillation, figures, scales, verdicts
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.runs import TeacherRun, exported
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite
from inverse_matching.training.metrics import held_out_losses

# (name of a loss, metric and reference of its value). That of x-reconstruction is on training images too: what is lower on
# held-out ones alone may be so because it learnt fewer of them by heart.
OBJECTIVES = (('reverse_kl', 'reverse_kl', 'teacher'), ('z_reconstruction', 'z_reconstruction_l2', 'teacher'),
              ('x_reconstruction', 'x_reconstruction_l2', 'held_out'), ('x_reconstruction', 'x_reconstruction_l2', 'train'),
              ('oracle_prediction', 'oracle_l2', 'teacher'))
STUDENT_SEED = 1000  # more than that of the teacher: a flow student of the same seed begins with the weights of its teacher
SHOWN = (*(objective[1:] for objective in OBJECTIVES), ('label_entropy', 'teacher'), ('coverage', 'teacher'),
         ('kernel_distance', 'teacher'))


class Part(NamedTuple):
  """Students of one teacher."""
  seed: int  # of the teacher and of them
  teacher_run: TeacherRun
  pairs: pathlib.Path
  folder: pathlib.Path


def run(experiment: Experiment) -> str:
  """Writes crossed.json and crossed.png; returns the tables.

  config.crossed has: arms; num_seeds, of teachers, each with a student of every arm; rates, of which an arm
  takes the one whose own objective is lowest after num_tuning updates, with a teacher of a further seed; updates, at which the
  students are measured, and every, the updates between two checkpoints, a divisor of all; further, the arms that go on, and
  further_updates and further_seeds of these. A teacher is that of its checkpoints with the lowest held-out loss.

  Rows are those of evaluate_student with the fields train_seed, updates and learning_rate; a student whose loss became not
  finite has one with the metric `diverged`. The summary tells of every objective and other arm whether the objective is lower
  there than at its own student, see `preferences`. crossed.json is written after every student.
  """
  config, settings = experiment.config, experiment.config['crossed']
  seeds, tuning, arms = range(settings['num_seeds']), courses.TUNING_SEED, settings['arms']
  distillation.student_configs(config, arms)  # refuses unknown names before the first hour
  goes_on = lambda seed, arm: arm in settings['further'] and seed < settings['further_seeds']
  students = [(seed, arm, (*settings['updates'], *(settings['further_updates'] if goes_on(seed, arm) else ())))
              for seed in seeds for arm in arms]
  stages = Stages(experiment.path / 'timing.json', [
      *(f'teacher {seed} and its pairs' for seed in (tuning, *seeds)), *(f'choose the rate of {arm}' for arm in arms),
      *(_named(*student) for student in students)])
  parts = {seed: stages.run(f'teacher {seed} and its pairs', _part, experiment, seed) for seed in (tuning, *seeds)}
  rates = {arm: stages.run(f'choose the rate of {arm}', courses.best_rate, settings['rates'], lambda rate, arm=arm: _train(
      experiment, parts[tuning], arm, rate, settings['num_tuning'], settings['num_tuning'])) for arm in arms}
  rows = Rows()
  for seed, arm, updates in students:
    about = {'train_seed': seed, 'learning_rate': rates[arm]}
    try:
      measured = stages.run(_named(seed, arm, updates), _follow, experiment, parts[seed], arm, rates[arm], updates)
    except NotFinite as error:  # one of many, which must not end the study
      logging.warning('%s: %s', _named(seed, arm, updates), error)
      diverged = statistics.row(arm, 'diverged', None, 1.0, n=1, seed=config['evaluation']['seed'])
      measured = [{**diverged, 'updates': updates[-1]}]
    rows += [{**row, **about} for row in measured]
    preferred = preferences(rows)
    written = experiment.write('crossed', {**distillation.settings(config, parts[0].teacher_run), 'crossed': settings}, rows,
                               summary=preferred)
  rows = written
  _draw(experiment.path / 'crossed.png', rows, settings)
  return '\n\n'.join([_table(rows, updates) for updates in rows.distinct('updates')] + [Rows(preferred).table(
      ('updates', 'objective', 'reference', 'at', 'scale', 'difference', 'low', 'high', 'num_train_seeds', 'lower'))])


def _named(seed: int, arm: str, updates: tuple[int, ...]) -> str:
  return f'{arm} of teacher {seed} for {updates[-1]} updates'


def _part(experiment: Experiment, seed: int) -> Part:
  """A teacher, the best of its checkpoints, and pairs."""
  folder = experiment.path / 'crossed' / f'teacher{seed}'
  num_epochs = experiment.config['train']['num_epochs']
  config = merge(experiment.config, {'train': {'seed': seed, 'keep_checkpoints': num_epochs, 'evaluate_every_epochs': 1,
                                               'checkpoint_every_epochs': 1}})
  exported.require_run(folder / 'teacher')
  runs.train_teacher(config, folder / 'teacher', experiment.devices)
  held_out = held_out_losses(folder / 'teacher')
  best = min(set(checkpoint.steps(folder / 'teacher')) & set(held_out), key=held_out.get)
  teacher_run = runs.load_teacher(folder / 'teacher', best)
  pairs = runs.make_pairs(teacher_run, folder / 'pairs', devices=experiment.devices, **config['pairs'])
  jax.clear_caches()
  return Part(seed, teacher_run, pairs, folder)


def _train(experiment: Experiment, part: Part, arm: str, rate: float, updates: int, every: int) -> pathlib.Path:
  config = merge(distillation.config_of(experiment.config, arm), {'train': {'seed': STUDENT_SEED + part.seed}})
  pairs = part.pairs if losses.stored(config['loss']) == 'pairs' else None
  return courses.train(experiment, config, part.folder / arm / f'rate_{rate:g}_{updates}', part.teacher_run, rate=rate,
                       updates=updates, every=every, pairs=pairs)


def _follow(experiment: Experiment, part: Part, arm: str, rate: float, updates: tuple[int, ...]) -> list[dict[str, Any]]:
  """Rows of an arm's student at each number of updates."""
  settings, evaluation = experiment.config['crossed'], experiment.config['evaluation']
  workdir = _train(experiment, part, arm, rate, updates[-1], settings['every'])
  stored = runs.make_pairs(part.teacher_run, part.folder / 'evaluation_pairs', num=2 * evaluation['num_samples'],
                           seed=evaluation['seed'], devices=experiment.devices)
  context, rows = None, []
  for step in updates:
    student_run = runs.load_student(workdir, part.teacher_run, step)
    about = {'student_hash': checkpoint.tree_hash(student_run.params), 'evaluation': dict(evaluation)}

    def measure(student_run=student_run):
      nonlocal context
      if context is None:
        samples = teacher_samples(part.teacher_run, **pair_data.load(stored, part.teacher_run.hash),
                                           devices=experiment.devices, workdir=stored)
        context = make_context(part.teacher_run, experiment.path / 'crossed', samples, seed=evaluation['seed'],
                                        devices=experiment.devices)
      return evaluate.evaluate_student(arm, student_run, context)

    name = (workdir / f'evaluation_{step}').relative_to(experiment.path)
    rows += [{**row, 'updates': step} for row in experiment.cached(str(name), about, measure)]
  jax.clear_caches()
  return rows


def preferences(rows: Rows) -> list[dict[str, Any]]:
  """Of each objective, number of updates and other arm: how much higher the objective is at its student than at its own.

  An arm that did not go on so far is taken where it ended. The difference is that of verdicts.of_pairs; `lower` is where the
  objective is lower: 'own', 'other', or None if that is not decided.
  """
  found = []
  for updates in rows.distinct('updates'):
    own_arms = {arm.partition('/')[2]: arm for arm in rows.where(updates=updates).distinct('arm')}
    at = _until(rows, updates)
    for objective, metric, reference in OBJECTIVES:
      if objective not in own_arms:
        continue
      values = {arm: {row['train_seed']: row['value'] for row in at.where(metric=metric, reference=reference, arm=arm)}
                for arm in at.distinct('arm')}
      own = values[own_arms[objective]]
      for arm in at.distinct('arm'):
        seeds = [seed for seed in own if values[arm].get(seed) is not None and own[seed] is not None]
        if arm != own_arms[objective] and len(seeds) > 1:
          scale = scales.IDENTITY if objective == 'reverse_kl' else scales.LOG
          difference = verdicts.of_pairs([values[arm][seed] for seed in seeds], [own[seed] for seed in seeds], scale)
          lower = {'higher': 'own', 'lower': 'other'}.get(difference.pop('verdict'))
          found.append({'updates': updates, 'objective': objective, 'reference': reference, 'at': arm, **difference,
                        'lower': lower})
  return found


def _until(rows: Rows, updates: int) -> Rows:
  """The rows of every arm after so many updates, or after as many as it has made."""
  last = {arm: max(made for made in rows.where(arm=arm).distinct('updates') if made <= updates)
          for arm in rows.distinct('arm') if min(rows.where(arm=arm).distinct('updates')) <= updates}
  return Rows(row for row in rows if row['updates'] == last.get(row['arm']))


def _table(rows: Rows, updates: int) -> str:
  """Means over seeds."""
  at = rows.where(updates=updates)
  summary = at.over_training() or at
  return f'{updates} updates\n' + tables.plain(tables.by_arm(summary, SHOWN))


def _draw(path: pathlib.Path, rows: Rows, settings: Mapping[str, Any]) -> None:
  """At the number of updates that all students have made."""
  last = settings['updates'][-1]
  figures.forest(path, Rows(row for row in rows.where(updates=last) if '@' not in row['arm']), SHOWN,
                 title=f'Students of every objective under every objective, after {last} updates')
