"""What a sample costs: exact solvers and students, against batch size, on the teacher at hand and on a larger one."""
import os
import pathlib
from typing import Any, Mapping

from absl import logging
import jax
from matplotlib import pyplot as plt

from inverse_matching import runs, students, teachers
from inverse_matching.evaluation import tables, timing
from inverse_matching.experiments import figures
from inverse_matching.runtime import files

COLUMNS = ('shape', 'teacher', 'batch', 'solver', 'seconds_per_image', 'sweeps', 'speedup_over_ancestral',
           'speedup_over_best_exact', 'passes')


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Writes sampling.json (rows of timing.sampling_rows) and sampling.png; returns the table as text.

  Everything is timed on one device and in one run; what is there already is not timed again.

  Args:
    config: with section sampling: batches; arms, the students to time; warm_start, the one of them that starts the fixed point
      (used if it is trained); large, the network of a larger teacher, with its event_shape, or empty; large_workdir, of a
      trained one, or None for random weights.
    workdir: of the experiment; its teacher is trained if it is not there, and its students are used if they are.
    command: that was called, for the record.
    devices: number of local devices for training the teacher, or None.
  """
  path, settings = pathlib.Path(workdir), config['sampling']
  run = runs.train_teacher(config, path / 'teacher', devices)
  trained = {arm: path / 'students' / arm for arm in settings['arms'] if (path / 'students' / arm / 'checkpoints').exists()}
  models = {}
  for arm in settings['arms']:
    merged = {**config, **config['arms'][arm]}
    if arm in trained:
      student_run = runs.load_student(trained[arm], run)
      models[arm] = student_run.student, student_run.params
    else:
      models[arm] = _random(students.make(event_shape=run.teacher.event_shape, **merged['student']), seed=1)
  warm_start = settings['warm_start'] if settings['warm_start'] in trained else None
  about = {'settings': dict(settings), 'teacher': run.config['teacher'], 'teacher_hash': run.hash,
           'trained_students': sorted(trained), 'device': jax.local_devices()[0].device_kind, 'cores': os.cpu_count()}
  output = path / 'sampling.json'
  if not (output.exists() and files.read_json(output)['settings'] == about):
    parts = [('trained', run.teacher, run.params, models, warm_start)]
    if settings['large']:
      parts.append(_large(settings['large'], settings['large_workdir'], config))
    rows = []
    for name, teacher, params, models, start in parts:
      for batch in settings['batches']:
        logging.info('%s, batches of %d', teacher.event_shape, batch)
        timed = timing.sampling_rows(teacher, params, models, batch=batch, seed=0, warm_start=start)
        rows += [{**row, 'teacher': name} for row in timed]
        jax.clear_caches()
    files.write_json(output, {'command': command, 'settings': about, 'rows': rows})
  rows = files.read_json(output)['rows']
  _draw(path / 'sampling.png', rows)
  return 'Sampling\n' + tables.plain(table(rows))


def _random(model, seed):
  return model, model.init(jax.random.key(seed))


def _large(settings, workdir, config):
  """A larger teacher and a student of its architecture, which need not be trained for its time to be right."""
  if workdir:
    run = runs.load_teacher(workdir)
    network = {key: value for key, value in run.config['teacher'].items() if key in config['student'] and key != 'name'}
    name, teacher, params, shape = 'trained', run.teacher, run.params, run.teacher.event_shape
  else:
    network = {**settings}
    shape = tuple(network.pop('event_shape'))
    teacher, params = _random(teachers.make(event_shape=shape, **{**config['teacher'], **network}), seed=0)
    name = 'random weights'
  student = students.make(event_shape=shape, **{**config['student'], **network, 'dropout': 0.0})
  return name, teacher, params, {'flow': _random(student, seed=1)}, None


def table(rows: list[Mapping[str, Any]]) -> list[list[str]]:
  """A header, and a line per row."""
  cell = lambda value: f'{value:.3g}' if isinstance(value, float) else 'x'.join(map(str, value)) if isinstance(
      value, list) else str(value)
  return [list(COLUMNS), *([cell(row[column]) for column in COLUMNS] for row in rows)]


def _draw(path: pathlib.Path, rows: list[Mapping[str, Any]]) -> None:
  shapes = list(dict.fromkeys((tuple(row['shape']), row['teacher']) for row in rows))
  figure, axes = plt.subplots(1, len(shapes), figsize=(5.2 * len(shapes), 5.2), squeeze=False, layout='constrained')
  for axis, (shape, teacher) in zip(axes[0], shapes):
    here = [row for row in rows if (tuple(row['shape']), row['teacher']) == (shape, teacher)]
    for name in dict.fromkeys(row['solver'] for row in here):
      line = [(row['batch'], row['seconds_per_image']) for row in here if row['solver'] == name]
      exact = name in ('ancestral', 'cached') or name.startswith('fixed_point')
      axis.plot(*zip(*line), marker='o', markersize=4, linestyle='-' if exact else ':', label=name)
    axis.set(xscale='log', yscale='log', xlabel='images in a batch', ylabel='seconds per image',
             title=f'{"x".join(map(str, shape))}, teacher: {teacher}')
    axis.set_xticks(sorted({row['batch'] for row in here}), labels=sorted({str(row['batch']) for row in here}, key=int))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=2, loc='upper center', bbox_to_anchor=(0.5, -0.13))
  figure.suptitle('Exact samples (solid) and one pass (dotted)', fontsize=10)
  figures.save(figure, path)
