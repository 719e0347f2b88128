"""Figure 4 of the paper: one teacher, several students, the same noise; with numbers."""
import pathlib
import time
from typing import Any, Mapping

from absl import logging
import numpy as np

from inverse_matching import files, runs
from inverse_matching.data import pairs as pair_data
from inverse_matching.evaluation import evaluate, tables, timing
from inverse_matching.experiments import figures
from inverse_matching.runs import StudentRun, TeacherRun

SHOWN = 40  # images in a panel
COLUMNS = 5


class _Stages:
  """Names each stage as it starts, and keeps its seconds in timing.json."""

  def __init__(self, path: pathlib.Path, total: int):
    self._path, self._total, self._count = path, total, 0
    self._seconds = files.read_json(path)['stages'] if path.exists() else {}

  def run(self, name: str, function, *args, **kwargs):
    """Calls the function. A stage that was done before keeps the seconds it took then."""
    self._count += 1
    logging.info('[%d/%d] %s', self._count, self._total, name)
    start = time.monotonic()
    result = function(*args, **kwargs)
    # A stage may be met again when it is done (no work) or half done (a part of it).
    self._seconds[name] = max(self._seconds.get(name, 0.0), time.monotonic() - start)
    self.write()
    return result

  def write(self, **rows) -> None:
    """Writes timing.json."""
    files.write_json(self._path, {'stages': self._seconds, **rows})


def _cached(path: pathlib.Path, settings: Mapping[str, Any], function) -> list[dict[str, Any]]:
  """Rows of a JSON made with the same settings, or computed now and written."""
  if path.exists():
    held = files.read_json(path)
    if held['settings'] == settings:
      return held['rows']
  rows = function()
  files.write_json(path, {'settings': settings, 'rows': rows})
  return files.read_json(path)['rows']


def run(config: Mapping[str, Any], workdir: str, command: str, devices: int | None = None) -> str:
  """Trains what is missing, evaluates, and writes figure4.png, figure4.json, reconstructions.png, report.md, timing.json.

  Args:
    config: with sections data, teacher, student, optimizer, train, pairs, evaluation, and arms (name -> sections that
      differ).
    workdir: of the whole experiment; the teacher, the pairs and each student get a folder in it.
    command: that was called, for the record.
    devices: number of local devices, or None.

  Returns:
    The table as text.
  """
  path = pathlib.Path(workdir)
  arms, seed, num = config['arms'], config['evaluation']['seed'], config['evaluation']['num_samples']
  stages = _Stages(path / 'timing.json', 5 + 2 * len(arms))
  teacher_run = stages.run('train the teacher', runs.train_teacher, config, path / 'teacher', devices)
  pairs = stages.run('pairs to train on', runs.make_pairs, teacher_run, path / 'pairs', devices=devices, **config['pairs'])
  held = stages.run('pairs to evaluate with', runs.make_pairs, teacher_run, path / 'evaluation_pairs', num=2 * num, seed=seed,
                    solver=config['pairs']['solver'], devices=devices)

  students = {}
  for arm, changes in arms.items():
    merged = {**config, **{name: {**config[name], **section} for name, section in changes.items()}}
    source = pairs if merged['loss']['name'] == 'oracle_prediction' else None
    students[arm] = stages.run(f'distil {arm}', runs.distill, merged, path / 'students' / arm, teacher_run, source, devices)

  samples = evaluate.teacher_samples(teacher_run, **pair_data.load(held, teacher_run.hash), devices=devices)
  settings = {'teacher_hash': teacher_run.hash, 'num_samples': num, 'seed': seed}
  rows = stages.run('evaluate the teacher', _cached, path / 'teacher' / 'evaluation.json', settings,
                    lambda: evaluate.evaluate_teacher(teacher_run, num=num, seed=seed, devices=devices) +
                    evaluate.baseline_rows(samples, seed=seed))
  for arm, student_run in students.items():
    rows += stages.run(f'evaluate {arm}', _cached, path / 'students' / arm / 'evaluation.json', settings,
                       lambda arm=arm, student_run=student_run: evaluate.evaluate_student(
                           arm, student_run, teacher_run, samples, seed=seed, devices=devices))
  stages.run('time and draw', _pictures, path, config, teacher_run, students, samples, stages)

  table = tables.pivot(rows, ['teacher', *arms])
  files.write_json(path / 'figure4.json', {'command': command, 'settings': _settings(config), 'rows': rows})
  files.write_bytes(path / 'report.md', _report(command, config, table).encode())
  return tables.plain(table)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
  return {name: config[name] for name in ('data', 'teacher', 'student', 'optimizer', 'train', 'pairs', 'evaluation', 'arms')}


def _pictures(path: pathlib.Path, config: Mapping[str, Any], teacher_run: TeacherRun, students: Mapping[str, StudentRun],
              samples: evaluate.TeacherSamples, stages: _Stages) -> None:
  seed, levels = config['evaluation']['seed'], config['data']['levels']
  to_pixels = lambda x: np.asarray(teacher_run.preprocess.to_pixels(x))
  z, held_out = samples.z[:SHOWN], teacher_run.images.held_out
  drawn = {'data (held out)': held_out.pixels[:SHOWN], 'teacher': to_pixels(samples.x[:SHOWN])}
  drawn |= {arm: to_pixels(s.student.z_to_x(s.params, z).x) for arm, s in students.items()}
  figures.panels(path / 'figure4.png', drawn, levels=levels, columns=COLUMNS,
                 title='Samples; the same noise z for the teacher and every student')

  x = evaluate.encode_split(teacher_run, held_out._replace(pixels=held_out.pixels[:SHOWN]), seed)
  z = teacher_run.teacher.x_to_z(teacher_run.params, x)[0]
  drawn = {'held-out x': to_pixels(x)}
  drawn |= {f'S(T(x))/{arm}': to_pixels(s.student.z_to_x(s.params, z).x) for arm, s in students.items()}
  figures.panels(path / 'reconstructions.png', drawn, levels=levels, columns=COLUMNS,
                 title='Held-out images through the teacher and back through the students')
  batch = min(64, config['train']['batch_size'])
  stages.write(sampling=timing.sampling_rows(teacher_run, next(iter(students.values())), batch=batch, seed=seed))


def _report(command: str, config: Mapping[str, Any], table: list[list[str]]) -> str:
  data = config['data']
  return f'''# Figure 4 on {data['name']}

    {command}

Teacher: {config['teacher']}. Students: {config['student']}. Preprocessing: {data['levels']} levels, logit lambda
{data['logit_lambda']}. {config['train']['num_epochs']} epochs of batches of {config['train']['batch_size']};
{config['pairs']['num']} pairs for oracle prediction. The held-out images chose the settings, so held-out numbers are
slightly optimistic. Intervals are 95% bootstrap over examples; the floor is the reference against itself.

{tables.markdown(table)}

![samples](figure4.png)

![reconstructions](reconstructions.png)

Seconds are in timing.json.
'''
