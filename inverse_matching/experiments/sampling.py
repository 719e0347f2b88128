"""What a sample costs: exact solvers and students, against batch size, on the teacher at hand and on a larger one."""
import os
import pathlib
from typing import Any, Mapping

from absl import logging
import jax
from matplotlib import pyplot as plt

from inverse_matching import runs, students, teachers
from inverse_matching.evaluation import tables, timing
from inverse_matching.experiments import distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows

COLUMNS = ('shape', 'teacher', 'batch', 'solver', 'seconds_per_image', 'sweeps', 'speedup_over_ancestral',
           'speedup_over_best_exact', 'passes')


def run(experiment: Experiment) -> str:
  """Writes sampling.json (rows of timing.sampling_rows) and sampling.png; returns the table as text.

  The teacher is trained if it is not there, the students are used if they are. Everything is timed on one device and in one
  run; what is there already is not timed again. config.sampling has batches; arms, the students to time; warm_start, the one of
  them that starts the fixed point (used if it is trained); large, the network of a larger teacher, with its event_shape, or
  empty; and large_workdir, that of a trained one, or '' for random weights.
  """
  config, path, _, devices = experiment
  settings = config['sampling']
  run = runs.train_teacher(config, path / 'teacher', devices)
  models, trained = {}, []
  for arm, student_config in distillation.student_configs(config, settings['arms']).items():
    folder = distillation.student_folder(path, arm, student_config)
    if (folder / 'config.json').exists():
      student_run = runs.load_student(folder, run)
      models[arm] = student_run.student, student_run.params
      trained.append(arm)
    else:
      models[arm] = _random(students.make(event_shape=run.teacher.event_shape, **student_config['student']), seed=1)
  about = {'settings': settings, 'teacher': run.config['teacher'], 'teacher_hash': run.hash,
           'trained_students': sorted(trained), 'device': jax.local_devices()[0].device_kind, 'cores': os.cpu_count()}

  def measure() -> list[dict[str, Any]]:
    warm_start = settings['warm_start'] if settings['warm_start'] in trained else None
    parts = [('trained', run.teacher, run.params, models, warm_start), *([_large(config)] if settings['large'] else [])]
    rows = []
    for name, teacher, params, students_of_it, start in parts:
      for batch in settings['batches']:
        logging.info('%s, batches of %d', teacher.event_shape, batch)
        timed = timing.sampling_rows(teacher, params, students_of_it, batch=batch, seed=0, warm_start=start)
        rows += [{**row, 'teacher': name} for row in timed]
        jax.clear_caches()
    return rows

  rows = experiment.cached('sampling', about, measure)
  _draw(path / 'sampling.png', rows)
  return 'Sampling\n' + tables.plain(table(rows))


def _random(model, seed):
  return model, model.init(jax.random.key(seed))


def _large(config):
  """A larger teacher and a student of its architecture, which need not be trained for its time to be right."""
  if workdir := config['sampling']['large_workdir']:
    run = runs.load_teacher(workdir)
    network = {key: value for key, value in run.config['teacher'].items() if key in config['student'] and key != 'name'}
    name, teacher, params = 'trained', run.teacher, run.params
  else:
    network = dict(config['sampling']['large'])
    name, shape = 'random weights', tuple(network.pop('event_shape'))
    teacher, params = _random(teachers.make(event_shape=shape, **{**config['teacher'], **network}), seed=0)
  student = students.make(event_shape=teacher.event_shape, **{**config['student'], **network, 'dropout': 0.0})
  return name, teacher, params, {'flow': _random(student, seed=1)}, None


def table(rows: list[Mapping[str, Any]]) -> list[list[str]]:
  """A header, and a line per row."""
  return Rows(rows).lines(COLUMNS)


def _draw(path: pathlib.Path, rows: Rows) -> None:
  panels = rows.groups('shape', 'teacher')
  figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 5.2), squeeze=False, layout='constrained')
  for axis, ((shape, teacher), panel) in zip(axes[0], panels.items()):
    for (solver,), line in panel.groups('solver').items():
      is_exact = solver in ('ancestral', 'cached') or solver.startswith('fixed_point')
      axis.plot(line.values('batch'), line.values('seconds_per_image'), marker='o', markersize=4,
                linestyle='-' if is_exact else ':', label=solver)
    axis.set(xscale='log', yscale='log', xlabel='images in a batch', ylabel='seconds per image',
             title=f'{"x".join(map(str, shape))}, teacher: {teacher}')
    batches = sorted(panel.distinct('batch'))
    axis.set_xticks(batches, labels=map(str, batches))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=2, loc='upper center', bbox_to_anchor=(0.5, -0.13))
  figure.suptitle('Exact samples (solid) and one pass (dotted)', fontsize=10)
  figures.save(figure, path)
