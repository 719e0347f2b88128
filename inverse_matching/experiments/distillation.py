"""Figures 4 and 5 of the paper: one teacher, several students, the same noise; with numbers."""
import functools
import pathlib
from typing import Any, Mapping

import jax

from inverse_matching import checkpoint, files, runs
from inverse_matching.data import pairs as pair_data
from inverse_matching.evaluation import evaluate, tables, timing
from inverse_matching.experiments import figures, report
from inverse_matching.experiments.stages import Stages, cached
from inverse_matching.runs import StudentRun

SHOWN = 40  # images in a panel
COLUMNS = 5


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None, *, figure: str) -> str:
  """Trains what is missing, evaluates, and writes figureN.png, figureN.json, reconstructionsN.png, report.md, timing.json.

  Args:
    config: with sections data, teacher, student, loss, optimizer, train, pairs, evaluation, arms (name -> the sections that
      take the place of those), and figures (figure -> the names of its arms, in order). An arm is named student/objective.
    workdir: of the whole experiment; the teacher, the pairs and each student get a folder in it.
    command: that was called, for the record.
    devices: number of local devices, or None.
    figure: '4' has the flow students, '5' the ResNet students.

  Returns:
    The table as text.
  """
  path = pathlib.Path(workdir)
  arms = {arm: config['arms'][arm] for arm in config['figures'][figure]}
  seed, num = config['evaluation']['seed'], config['evaluation']['num_samples']
  stages = Stages(path / 'timing.json', 6 + 2 * len(arms))
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  pairs = stages.run('pairs to train on', runs.make_pairs, teacher_run, path / 'pairs', devices=devices, **config['pairs'])
  held = stages.run('pairs to evaluate with', runs.make_pairs, teacher_run, path / 'evaluation_pairs', num=2 * num, seed=seed,
                    solver=config['pairs']['solver'], devices=devices)

  students = {}
  for arm, changes in arms.items():
    merged = {**config, **changes}
    source = pairs if merged['loss']['name'] == 'oracle_prediction' else None
    students[arm] = stages.run(f'distil {arm}', runs.distill, merged, path / 'students' / arm, teacher_run, source, devices)
    jax.clear_caches()  # each arm compiles programs of its own: a gigabyte for a handful of them

  samples = evaluate.teacher_samples(teacher_run, **pair_data.load(held, teacher_run.hash), devices=devices)
  context = stages.run('train the classifier of the metrics', evaluate.make_context, teacher_run, path / 'teacher', samples,
                       seed=seed, devices=devices)
  rows = stages.run('evaluate the teacher', cached, path / 'teacher' / 'evaluation.json', command, context.settings,
                    functools.partial(evaluate.evaluate_teacher, context))
  for arm, student_run in students.items():
    settings = {**context.settings, 'arm': arm, 'student_hash': checkpoint.tree_hash(student_run.params)}
    rows += stages.run(f'evaluate {arm}', cached, path / 'students' / arm / 'evaluation.json', command, settings,
                       functools.partial(evaluate.evaluate_student, arm, student_run, context))
  stages.run('draw and time', _draw, path, figure, config, context, students, stages)

  files.write_json(path / f'figure{figure}.json', {'command': command, 'settings': _settings(config), 'rows': rows})
  report.write(path)
  return f'Figure {figure}\n' + tables.plain(tables.by_arm(rows, report.MAIN, intervals=False))


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
  return {name: config[name] for name in ('data', 'teacher', 'student', 'optimizer', 'train', 'pairs', 'evaluation', 'arms')}


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
