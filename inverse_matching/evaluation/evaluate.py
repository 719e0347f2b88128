"""The numbers of a teacher and of a student, as rows."""
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from inverse_matching import distances, files, parallel, random
from inverse_matching.data.images import Split
from inverse_matching.evaluation import statistics, tables
from inverse_matching.runs import CHUNK, StudentRun, TeacherRun, load_student, load_teacher, prior_draws, solver_fn

ROUND_TRIPS = 64  # examples solved by ancestral sampling too: T passes each


class TeacherSamples(NamedTuple):
  """Exact teacher samples that every student is compared with."""
  z: np.ndarray  # [N, *event]
  x: np.ndarray  # [N, *event], T^-1(z)
  log_prob: np.ndarray  # [N], nats
  floor_log_prob: np.ndarray  # [N], of N further samples: the teacher against itself
  floor_x: np.ndarray  # [N, *event], those samples


def _mapped(function, devices):
  return parallel.map_examples(function, parallel.choose_devices(jax.local_device_count(), devices), CHUNK)


def encode_split(run: TeacherRun, split: Split, seed: int, devices: int | None = None) -> np.ndarray:
  """x [N, *event] in the teacher's space; dequantisation noise from the seed."""
  to_x = _mapped(lambda _, pixels, p: run.preprocess.to_x(pixels, random.keys_at(seed, p)), devices)
  return to_x(None, split.pixels, np.arange(len(split.pixels), dtype=np.uint32))


def teacher_samples(run: TeacherRun, z: np.ndarray, x: np.ndarray, devices: int | None = None) -> TeacherSamples:
  """Splits 2 N pairs (z, x = T^-1(z)) into N to compare with and N for the floor."""
  log_prob = _mapped(run.teacher.log_prob, devices)(run.params, x)
  n = len(z) // 2
  return TeacherSamples(z[:n], x[:n], log_prob[:n], log_prob[n:2 * n], x[n:2 * n])


def draw_teacher_samples(run: TeacherRun, num: int, seed: int, devices: int | None = None) -> TeacherSamples:
  """TeacherSamples with N = num, solved anew."""
  z = prior_draws(run.teacher, seed, np.arange(2 * num))
  return teacher_samples(run, z, solver_fn(run.teacher, 'auto', devices)(run.params, z).x, devices)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
  """Largest |a - b| over max(1, max |b|) of each example."""
  flat = lambda v: np.abs(v).reshape(len(v), -1).max(-1)
  return float(np.max(flat(a - b) / np.maximum(1, flat(b))))


def evaluate_teacher(run: TeacherRun, *, num: int, seed: int, devices: int | None = None) -> list[dict[str, Any]]:
  """Rows of a teacher: bits/dim and nats on training and held-out images, round trips, agreement of the solvers, sweeps.

  bits/dim is the dequantised bound, with the Jacobian of the preprocessing, one draw of noise per image.

  Args:
    run: the teacher.
    num: number of samples for the sweeps.
    seed: of the evaluation.
    devices: number of local devices, or None for all.
  """
  teacher, params, rows = run.teacher, run.params, []
  row = lambda metric, reference, value, n: rows.append(
      statistics.row('teacher', metric, reference, value, n=n, seed=seed))
  log_prob = _mapped(teacher.log_prob, devices)
  for name, split in (('train', run.images.train), ('held_out', run.images.held_out)):
    x = encode_split(run, split, seed, devices)
    nats = log_prob(params, x)
    bits = np.asarray(run.preprocess.bits_per_dim(nats, x))
    row('bits_per_dim', name, statistics.mean(bits, seed=seed), len(x))
    row('nats', name, statistics.mean(nats, seed=seed), len(x))
  x = x[:ROUND_TRIPS]
  solve = solver_fn(teacher, 'fixed_point', devices)
  encode = _mapped(lambda params, x: teacher.x_to_z(params, x)[0], devices)
  row('round_trip_x', 'held_out', _relative(solve(params, encode(params, x)).x, x), len(x))
  z = prior_draws(teacher, seed, np.arange(num))
  solution = solve(params, z)
  row('round_trip_z', None, _relative(encode(params, solution.x), z), num)
  row('fixed_point_sweeps_mean', None, float(np.mean(solution.sweeps)), num)
  row('fixed_point_sweeps_max', None, float(np.max(solution.sweeps)), num)
  exact = solver_fn(teacher, 'ancestral', devices)(params, z[:ROUND_TRIPS]).x
  row('fixed_point_error', 'ancestral', _relative(solution.x[:ROUND_TRIPS], exact), len(exact))
  return rows


def evaluate_student(arm: str, student_run: StudentRun, run: TeacherRun, samples: TeacherSamples, *, seed: int,
                     devices: int | None = None) -> list[dict[str, Any]]:
  """Rows of a student: paired error, reconstructions, and the likelihood of its samples under the teacher.

  The floor of a paired error is 0; its `teacher` arm (see baseline_rows) is two independent teacher samples.

  Args:
    arm: its name, such as 'flow/x_reconstruction'.
    student_run: the student.
    run: its teacher.
    samples: what to compare with.
    seed: of the evaluation.
    devices: number of local devices, or None for all.
  """
  rows, n = [], len(samples.z)
  row = lambda metric, reference, value, n, floor=None: rows.append(
      statistics.row(arm, metric, reference, value, n=n, seed=seed, floor=floor))
  generate = _mapped(lambda params, z: student_run.student.z_to_x(params, z).x, devices)
  encode = _mapped(lambda params, x: run.teacher.x_to_z(params, x)[0], devices)
  x = generate(student_run.params, samples.z)
  for name in ('l2', 'l1'):
    distance = distances.make(name)
    row(f'paired_error_{name}', 'teacher', statistics.mean(distance(x, samples.x), seed=seed), n, 0.0)
  for name, split in (('train', run.images.train), ('held_out', run.images.held_out)):
    data = encode_split(run, split, seed, devices)
    error = distances.l2(generate(student_run.params, encode(run.params, data)), data)
    row('reconstruction_l2', name, statistics.mean(error, seed=seed), len(data), 0.0)
  rows += likelihood_rows(arm, _mapped(run.teacher.log_prob, devices)(run.params, x), samples, seed=seed)
  return rows


def likelihood_rows(arm: str, log_prob: np.ndarray, samples: TeacherSamples, *, seed: int) -> list[dict[str, Any]]:
  """Rows that compare log p_T [N] of an arm's samples with that of teacher samples, in nats (figure 2 of the paper)."""
  rows = []
  for metric, statistic in (('log_prob_mean_shift', statistics.mean_shift),
                            ('log_prob_ks', statistics.kolmogorov_smirnov),
                            ('log_prob_wasserstein', statistics.wasserstein)):
    rows.append(statistics.row(arm, metric, 'teacher', statistics.bootstrap(statistic, log_prob, samples.log_prob, seed=seed),
                               n=len(log_prob), seed=seed, floor=statistic(samples.floor_log_prob, samples.log_prob)))
  return rows


def baseline_rows(samples: TeacherSamples, *, seed: int) -> list[dict[str, Any]]:
  """The rows of `evaluate_student` for the teacher itself: independent samples in place of a student's."""
  rows = [statistics.row('teacher', f'paired_error_{name}', 'teacher',
                         statistics.mean(distances.make(name)(samples.floor_x, samples.x), seed=seed), n=len(samples.x),
                         seed=seed, floor=0.0) for name in ('l2', 'l1')]
  return rows + likelihood_rows('teacher', samples.floor_log_prob, samples, seed=seed)


def evaluate_run(workdir: str, teacher_workdir: str | None, *, num: int, seed: int, command: str,
                 devices: int | None = None) -> str:
  """Evaluates the run in a workdir, writes evaluation.json there and returns the table as text.

  Args:
    workdir: of a teacher, or of a student if `teacher_workdir` is given.
    teacher_workdir: of the teacher.
    num: number of samples.
    seed: of the evaluation.
    command: for the record.
    devices: number of local devices, or None for all.
  """
  run = load_teacher(teacher_workdir or workdir)
  samples = draw_teacher_samples(run, num, seed, devices)
  if teacher_workdir is None:
    arm, rows = 'teacher', evaluate_teacher(run, num=num, seed=seed, devices=devices) + baseline_rows(samples, seed=seed)
  else:
    student_run = load_student(workdir, run)
    arm = f'{student_run.config["student"]["name"]}/{student_run.config["loss"]["name"]}'
    rows = evaluate_student(arm, student_run, run, samples, seed=seed, devices=devices)
  settings = {'teacher_hash': run.hash, 'num_samples': num, 'seed': seed}
  files.write_json(pathlib.Path(workdir) / 'evaluation.json', {'command': command, 'settings': settings, 'rows': rows})
  return tables.plain(tables.pivot(rows, [arm]))
