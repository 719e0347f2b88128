"""Figures 4, 5 and 6 of the paper: one teacher, several students, the same noise; with numbers."""
import functools
import pathlib
from typing import Any, Mapping

import jax

from inverse_matching import checkpoint, files, runs
from inverse_matching.data import pairs as pair_data
from inverse_matching.evaluation import evaluate, tables, timing
from inverse_matching.experiments import claims, figures, report
from inverse_matching.experiments.stages import Stages, cached
from inverse_matching.runs import StudentRun, TeacherRun

SHOWN = 40  # images in a panel
COLUMNS = 5


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None, *, figure: str) -> str:
  """Trains what is missing, evaluates, and writes figureN.png, figureN.json, reconstructionsN.png, report.md, timing.json.

  Args:
    config: with sections data, teacher, student, loss, optimizer, train, pairs, evaluation, arms (name -> the sections that
      take the place of those), and figures (figure -> the names of its arms, in order). An arm is named student/objective.
      config.evaluation.num_seeds, if given, repeats the evaluation with that many seeds of the samples.
    workdir: of the whole experiment; the teacher, the pairs and each student get a folder in it.
    command: that was called, for the record.
    devices: number of local devices, or None.
    figure: '4' has the flow students, '5' the ResNet students, '6' one of them beside the teacher.

  Returns:
    The table as text.
  """
  path = pathlib.Path(workdir)
  arms = {arm: config['arms'][arm] for arm in config['figures'][figure]}
  merged = {arm: {**config, **changes} for arm, changes in arms.items()}
  paired = [arm for arm in arms if merged[arm]['loss']['name'] == 'oracle_prediction']
  seed = config['evaluation']['seed']
  seeds = range(seed, seed + config['evaluation'].get('num_seeds', 1))
  stages = Stages(path / 'timing.json', 2 + bool(paired) + len(arms) + len(seeds) * (3 + len(arms)))
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  if paired:
    pairs = stages.run('pairs to train on', runs.make_pairs, teacher_run, path / 'pairs', devices=devices, **config['pairs'])

  students = {}
  for arm in arms:
    students[arm] = stages.run(f'distil {arm}', runs.distill, merged[arm], path / 'students' / arm, teacher_run,
                               pairs if arm in paired else None, devices)
    jax.clear_caches()  # each arm compiles programs of its own: a gigabyte for a handful of them

  rows = []
  for each in reversed(seeds):  # the first one last: its context draws the pictures
    suffix = '' if each == seed else f'_seed{each}'
    context, found = _evaluate(path, suffix, each, config, command, devices, teacher_run, students, stages)
    rows = found + rows
  stages.run('draw and time', _draw, path, figure, config, context, students, stages)

  files.write_json(path / f'figure{figure}.json', {
      'command': command, 'settings': settings(config, teacher_run), 'rows': rows})
  report.write(path)
  first = [row for row in rows if row['seed'] == seed]
  return '\n'.join([f'Figure {figure}', tables.plain(tables.by_arm(first, report.MAIN, intervals=False)),
                    *(f'{claim.text}: {claim.verdict} ({claim.number})' for claim in claims.capstone(first))])


def _evaluate(path: pathlib.Path, suffix: str, seed: int, config: Mapping[str, Any], command: str, devices: int | None,
              teacher_run: TeacherRun, students: Mapping[str, StudentRun], stages: Stages
              ) -> tuple[evaluate.Context, list[dict[str, Any]]]:
  """The rows of the teacher and every student, with teacher samples of that seed; the suffix is that of its files."""
  held = stages.run(f'pairs to evaluate with{suffix}', runs.make_pairs, teacher_run, path / f'evaluation_pairs{suffix}',
                    num=2 * config['evaluation']['num_samples'], seed=seed, solver=config['pairs']['solver'], devices=devices)
  samples = evaluate.teacher_samples(teacher_run, **pair_data.load(held, teacher_run.hash), devices=devices)
  context = stages.run(f'train the classifier of the metrics{suffix}', evaluate.make_context, teacher_run, path / 'teacher',
                       samples, seed=seed, devices=devices)
  name = f'evaluation{suffix}.json'
  rows = stages.run(f'evaluate the teacher{suffix}', cached, path / 'teacher' / name, command, context.settings,
                    functools.partial(evaluate.evaluate_teacher, context))
  for arm, student_run in students.items():
    about = {**context.settings, 'arm': arm, 'student_hash': checkpoint.tree_hash(student_run.params)}
    rows += stages.run(f'evaluate {arm}{suffix}', cached, path / 'students' / arm / name, command, about,
                       functools.partial(evaluate.evaluate_student, arm, student_run, context))
  return context, rows


def settings(config: Mapping[str, Any], teacher_run: TeacherRun) -> dict[str, Any]:
  """What the numbers of a figure were made with, for its JSON."""
  names = ('data', 'teacher', 'student', 'optimizer', 'train', 'pairs', 'evaluation', 'arms')
  images = {split: len(getattr(teacher_run.images, split).pixels) for split in ('train', 'held_out')}
  return {**{name: config[name] for name in names}, 'images': images}


def _draw(path: pathlib.Path, figure: str, config: Mapping[str, Any], context: evaluate.Context,
          students: Mapping[str, StudentRun], stages: Stages) -> None:
  teacher_run, samples, seed, levels = context.run, context.samples, context.seed, config['data']['levels']
  to_pixels = functools.partial(evaluate.to_pixels, teacher_run)
  held_out = teacher_run.images.held_out
  z = samples.z[:SHOWN]
  drawn = {'data/(held out)': held_out.pixels[:SHOWN], 'teacher/T^-1(z)': to_pixels(samples.x[:SHOWN])}
  generate = {arm: jax.jit(lambda params, z, s=s.student: s.z_to_x(params, z).x) for arm, s in students.items()}
  drawn |= {arm: to_pixels(generate[arm](s.params, z)) for arm, s in students.items()}
  figures.panels(path / f'figure{figure}.png', drawn, levels=levels, columns=COLUMNS,
                 title='Samples: the same noise z for the teacher and every student')

  x, z = (value[:SHOWN] for value in context.data['held_out'])
  drawn = {'held-out x': to_pixels(x)}
  drawn |= {arm: to_pixels(generate[arm](s.params, z)) for arm, s in students.items()}
  figures.panels(path / f'reconstructions{figure}.png', drawn, levels=levels, columns=COLUMNS,
                 title='Reconstructions S(T(x)) of held-out images')
  batch = min(64, config['train']['batch_size'])
  arm, student_run = next(iter(students.items()))  # students of a figure share their network
  rows = timing.sampling_rows(teacher_run.teacher, teacher_run.params, {arm: (student_run.student, student_run.params)},
                              batch=batch, seed=seed)
  stages.write(**{f'sampling{figure}': rows})
