"""Figures 4, 5 and 6 of the paper: one teacher, several students, the same noise; with numbers."""
import functools
import math
import pathlib
from typing import Any, Mapping, NamedTuple, Sequence

import jax
import numpy as np

from inverse_matching import runs
from inverse_matching.data import pairs as pair_data
from inverse_matching.evaluation import evaluate, tables, timing
from inverse_matching.experiments import claims, figures, report
from inverse_matching.experiments.stages import Stages, cached
from inverse_matching.runs import StudentRun, TeacherRun
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint

SHOWN = 40  # images in a panel
COLUMNS = 5
TIMED_DIMS = 64 * 64  # of a batch that sampling is timed on


class Outcome(NamedTuple):
  """A teacher and its students, trained and evaluated."""
  teacher_run: TeacherRun
  students: Mapping[str, StudentRun]
  context: evaluate.Context  # of the first seed of the samples
  rows: list[dict[str, Any]]  # of all seeds


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None, *, figure: str) -> str:
  """Trains what is missing, evaluates, and writes figureN.png, figureN.json, reconstructionsN.png, report.md, timing.json.

  Args:
    config: as of `carry_out`, and with section figures (figure -> the names of its arms, in order).
    workdir: of the whole experiment; the teacher, the pairs and each student get a folder in it.
    command: that was called, for the record.
    devices: number of local devices, or None.
    figure: '4' has the flow students, '5' the ResNet students, '6' one of them beside the teacher.

  Returns:
    The table as text.
  """
  path, arms = pathlib.Path(workdir), config['figures'][figure]
  stages = Stages(path / 'timing.json', num_stages(config, arms) + 1)
  outcome = carry_out(config, path, command, devices, arms=arms, stages=stages)
  stages.run('draw and time', _draw, path, figure, config, outcome, stages)

  files.write_json(path / f'figure{figure}.json', {
      'command': command, 'settings': settings(config, outcome.teacher_run), 'rows': outcome.rows})
  report.write(path)
  first = [row for row in outcome.rows if row['seed'] == config['evaluation']['seed']]
  return '\n'.join([f'Figure {figure}', tables.plain(tables.by_arm(first, report.MAIN, intervals=False)),
                    *(f'{claim.text}: {claim.verdict} ({claim.number})' for claim in claims.capstone(first))])


def num_stages(config: Mapping[str, Any], arms: Sequence[str]) -> int:
  """Of `carry_out`."""
  return 1 + bool(_paired(config, arms)) + len(arms) + len(_seeds(config)) * (3 + len(arms))


def carry_out(config: Mapping[str, Any], path: pathlib.Path, command: str, devices: int | None = None, *, arms: Sequence[str],
              stages: Stages, teacher_config: Mapping[str, Any] | None = None,
              classifier: pathlib.Path | None = None) -> Outcome:
  """Trains and evaluates a teacher and its students, as far as that is not done.

  Args:
    config: with sections data, teacher, student, loss, optimizer, train, pairs, evaluation, and arms (name -> overlay, see
      overlays.merge). An arm is named student/objective. config.evaluation.num_seeds, if given, repeats the evaluation with
      that many seeds of the samples.
    path: of the experiment.
    command: that was called, for the record.
    devices: number of local devices, or None.
    arms: names of the students.
    stages: to run in; `num_stages` of them.
    teacher_config: what the teacher is trained with; None is config.
    classifier: the folder in which the classifier of the metrics has its own; None is that of the teacher.
  """
  merged = {arm: merge(config, config['arms'][arm]) for arm in arms}
  paired, seeds = _paired(config, arms), _seeds(config)
  teacher_run = stages.run('train the teacher', runs.train_teacher, teacher_config or config, path / 'teacher', devices)
  pairs_from = runs.source_of_pairs(teacher_run.teacher)
  if paired:
    pairs = stages.run('pairs to train on', runs.make_pairs, teacher_run, path / 'pairs', devices=devices,
                       **{'pairs_from': pairs_from, **config['pairs']})

  students = {}
  for arm in arms:
    students[arm] = stages.run(f'distil {arm}', runs.distill, merged[arm], path / 'students' / arm, teacher_run,
                               pairs if arm in paired else None, devices)
    jax.clear_caches()  # each arm compiles programs of its own: a gigabyte for a handful of them

  rows = []
  for each in reversed(seeds):  # the first one last: its context draws the pictures
    suffix = '' if each == seeds[0] else f'_seed{each}'
    held = stages.run(f'pairs to evaluate with{suffix}', runs.make_pairs, teacher_run, path / f'evaluation_pairs{suffix}',
                      num=2 * config['evaluation']['num_samples'], seed=each, solver=config['pairs']['solver'],
                      pairs_from=pairs_from, devices=devices)
    samples = evaluate.teacher_samples(teacher_run, **pair_data.load(held, teacher_run.hash), devices=devices)
    context = stages.run(f'train the classifier of the metrics{suffix}', evaluate.make_context, teacher_run,
                         classifier or path / 'teacher', samples, seed=each, devices=devices)
    rows = _evaluate(path, suffix, command, context, students, stages) + rows
  return Outcome(teacher_run, students, context, rows)


def _paired(config: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
  return [arm for arm in arms if merge(config, config['arms'][arm])['loss']['name'] == 'oracle_prediction']


def _seeds(config: Mapping[str, Any]) -> range:
  seed = config['evaluation']['seed']
  return range(seed, seed + config['evaluation'].get('num_seeds', 1))


def _evaluate(path: pathlib.Path, suffix: str, command: str, context: evaluate.Context, students: Mapping[str, StudentRun],
              stages: Stages) -> list[dict[str, Any]]:
  """The rows of the teacher and every student; the suffix is that of their files."""
  name = f'evaluation{suffix}.json'
  rows = stages.run(f'evaluate the teacher{suffix}', cached, path / 'teacher' / name, command, context.settings,
                    functools.partial(evaluate.evaluate_teacher, context))
  for arm, student_run in students.items():
    about = {**context.settings, 'arm': arm, 'student_hash': checkpoint.tree_hash(student_run.params)}
    rows += stages.run(f'evaluate {arm}{suffix}', cached, path / 'students' / arm / name, command, about,
                       functools.partial(evaluate.evaluate_student, arm, student_run, context))
  return rows


def settings(config: Mapping[str, Any], teacher_run: TeacherRun) -> dict[str, Any]:
  """What the numbers of a figure were made with, for its JSON."""
  names = ('data', 'teacher', 'student', 'optimizer', 'train', 'pairs', 'evaluation', 'arms')
  images = {split: len(getattr(teacher_run.source.data, split).pixels) for split in ('train', 'held_out')}
  return {**{name: config[name] for name in names}, 'images': images}


def sample_panels(outcome: Outcome, num: int) -> dict[str, np.ndarray]:
  """Integer images [num, H, W, C] by title: the teacher's and every student's of the same z."""
  samples = outcome.context.samples
  teacher = evaluate.to_pixels(outcome.teacher_run, samples.x[:num])
  return {'teacher/T^-1(z)': teacher, **_student_panels(outcome, samples.z[:num])}


def _student_panels(outcome: Outcome, z: np.ndarray) -> dict[str, np.ndarray]:
  generate = lambda run: jax.jit(lambda params, z: run.student.z_to_x(params, z).x)(run.params, z)
  return {arm: evaluate.to_pixels(outcome.teacher_run, generate(run)) for arm, run in outcome.students.items()}


def _draw(path: pathlib.Path, figure: str, config: Mapping[str, Any], outcome: Outcome, stages: Stages) -> None:
  teacher_run, context, levels = outcome.teacher_run, outcome.context, outcome.teacher_run.space.levels
  drawn = {'data/(held out)': teacher_run.source.data.held_out.pixels[:SHOWN], **sample_panels(outcome, SHOWN)}
  figures.panels(path / f'figure{figure}.png', drawn, levels=levels, columns=COLUMNS,
                 title='Samples: the same noise z for the teacher and every student')

  x, z = (value[:SHOWN] for value in context.data['held_out'])
  drawn = {'held-out x': evaluate.to_pixels(teacher_run, x), **_student_panels(outcome, z)}
  figures.panels(path / f'reconstructions{figure}.png', drawn, levels=levels, columns=COLUMNS,
                 title='Reconstructions S(T(x)) of held-out images')
  if teacher_run.teacher.z_to_x is None:
    return
  # Of large images few: an exact solver takes minutes for a batch of them.
  batch = min(64, config['train']['batch_size'], max(4, TIMED_DIMS // math.prod(teacher_run.teacher.event_shape)))
  arm, student_run = next(iter(outcome.students.items()))  # students of a figure share their network
  rows = timing.sampling_rows(teacher_run.teacher, teacher_run.params, {arm: (student_run.student, student_run.params)},
                              batch=batch, seed=context.seed)
  stages.write(**{f'sampling{figure}': rows})
