"""The numbers of a teacher and of a student, as rows."""
import functools
import math
import pathlib
from typing import Any, Sequence

import numpy as np

from inverse_matching import losses, solvers
from inverse_matching.errors import InputError
from inverse_matching.evaluation import examples, jacobian, sample_metrics, statistics, tables
from inverse_matching.evaluation.context import Context, Seen, TeacherSamples, check, draw_teacher_samples, make_context
from inverse_matching.losses import distances
from inverse_matching.runs import StudentRun, exported, load_student, load_teacher, prior_draws
from inverse_matching.runtime import files, processes
from inverse_matching.runtime.processes import map_examples
from inverse_matching.solvers.batched import solver_fn
from inverse_matching.types import Student, sum_event

RECONSTRUCTED = 2000  # training and held-out examples each, at most
# How many examples of 64 dimensions; see `_affordable`. Each costs as many passes as it has dimensions.
SWEPT = 1000  # are solved by the fixed point
ROUND_TRIPS = 64  # of these by ancestral sampling too
JACOBIANS = 8  # have their whole Jacobian taken


def sample_rows(arm: str, student_run: StudentRun, context: Context) -> list[dict[str, Any]]:
  """Rows of a student's samples of the same z as the teacher's: likelihood, quality, encodings, and two objectives."""
  output = map_examples(student_run.student.z_to_x, context.devices)(student_run.params, context.samples.z)
  seen = context.see(output.x)
  return [_z_reconstruction_row(arm, seen, context),
          *_reverse_kl_rows(arm, student_run.student, output, seen.log_prob, context), *_sample_rows(arm, seen, context)]


def quality_rows(arm: str, x: np.ndarray, context: Context) -> list[dict[str, Any]]:
  """Rows of the quality of samples x [N, *event], which does not ask the teacher."""
  rows = sample_metrics.sample_rows(arm, examples.to_values(context.run, x), context.references, context.observer,
                                    memorisation=context.memorisation, levels=context.run.space.levels, seed=context.seed)
  return rows + examples.range_rows(arm, context.run, x, seed=context.seed)


def _z_reconstruction_row(arm: str, seen: Seen, context: Context) -> dict[str, Any]:
  """The row of the distance between z and T(S(z)), of samples of context.samples.z."""
  errors = distances.l2(seen.z, context.samples.z)
  return statistics.row(arm, 'z_reconstruction_l2', 'teacher', statistics.mean(errors, seed=context.seed), n=len(errors),
                        seed=context.seed, floor=0.0)


def _reverse_kl_rows(arm: str, student: Student, output: Any, log_teacher: np.ndarray,
                     context: Context) -> list[dict[str, Any]]:
  """The row of the reverse KL in nats, of a student's output at the samples' z; none where it has no density or the teacher is
  of discrete data, whose x has a bounded range that no student keeps to."""
  teacher = context.run.teacher
  if not student.has_log_det or teacher.levels is not None:
    return []
  log_student = np.asarray(sum_event(teacher.prior.log_density(context.samples.z))) - output.log_det
  return [statistics.row(arm, 'reverse_kl', 'teacher', statistics.mean(log_student - log_teacher, seed=context.seed),
                         n=len(log_teacher), seed=context.seed, floor=0.0)]


def _sample_rows(arm: str, seen: Seen, context: Context) -> list[dict[str, Any]]:
  """Rows of samples of the z of context.samples: the likelihood of x under the teacher, its quality, and the encodings T(x)."""
  return [*likelihood_rows(arm, seen.log_prob, context.samples, seed=context.seed), *quality_rows(arm, seen.x, context),
          *_encoding_rows(arm, seen.z, context)]


def _encoding_rows(arm: str, z: np.ndarray, context: Context) -> list[dict[str, Any]]:
  """Rows of encodings z [N, *event]; none where the prior is not the standard normal one that the metrics are of."""
  return sample_metrics.encoding_rows(arm, z, seed=context.seed) if context.has_normal_prior else []


def _affordable(num: int, event_shape: Sequence[int]) -> int:
  """`num` for images of up to 64 dimensions, in proportion fewer for larger ones, 2 at least."""
  return max(2, num * 64 // max(64, math.prod(event_shape)))


def _relative(a: np.ndarray, b: np.ndarray) -> float:
  """Largest |a - b| over max(1, max |b|) of each example."""
  flat = lambda v: np.abs(v).reshape(len(v), -1).max(-1)
  return float(np.max(flat(a - b) / np.maximum(1, flat(b))))


def evaluate_teacher(context: Context) -> list[dict[str, Any]]:
  """Rows of a teacher.

  - bits/dim on up to EXAMPLES training and held-out images each: the dequantised bound, with the Jacobian of the preprocessing,
    one draw of noise per image; exact for a teacher of discrete data. Of a table log_likelihood, in nats of the units of its
    rows. And nats: log p(x) in the teacher's space, without that Jacobian, and so the more the better;
  - round trips where there is a T^-1; where it is a fixed point, sweeps (of a chain, over all its blocks) and the agreement
    with ancestral sampling;
  - what every student is measured by, for T^-1 in the place of S: the floor of what a student can reach;
  - the encodings of training and held-out images, as arms 'train' and 'held_out', where the prior is standard normal.
  """
  run, samples, rows = context.run, context.samples, []
  row = functools.partial(statistics.row, 'teacher', seed=context.seed)
  mean = functools.partial(statistics.mean, seed=context.seed)
  for name, (x, encodings, nats) in context.data.items():
    metric, values = (('bits_per_dim', run.space.codec.bits_per_dim(nats, x)) if run.space.levels is not None else
                      ('log_likelihood', run.space.codec.log_likelihood(nats)))
    rows += [row(metric, name, mean(np.asarray(values)), n=len(x)), row('nats', name, mean(nats), n=len(x))]
    rows += _encoding_rows(name, encodings[:len(samples.z)], context)  # as many as of every arm: the floors depend on it
  if run.teacher.z_to_x is not None:
    rows += _inverse_rows(context)
  for name in ('l2', 'l1'):
    error = distances.make(name)(samples.independent.x, samples.paired.x)  # of a sampler that does not know z
    rows.append(row(f'oracle_{name}', 'teacher', mean(error), n=len(samples.z)))
  return rows + _sample_rows('teacher', samples.paired, context)


def _inverse_rows(context: Context) -> list[dict[str, Any]]:
  """Round trips, sweeps and the agreement of the solvers; see evaluate_teacher."""
  teacher, params = context.run.teacher, context.run.params
  row = functools.partial(statistics.row, 'teacher', seed=context.seed)
  iterative = solvers.serves(teacher, 'fixed_point')
  few = _affordable(ROUND_TRIPS, teacher.event_shape)
  solve = processes.split(solver_fn(teacher, 'fixed_point' if iterative else 'auto', context.devices, chunk=few))
  x, encodings, _ = (value[:few] for value in context.data['held_out'])
  z = prior_draws(teacher, context.seed, np.arange(_affordable(min(SWEPT, len(context.samples.z)), teacher.event_shape)))
  solution = solve(params, z)
  rows = [row('round_trip_x', 'held_out', _relative(solve(params, encodings).x, x), n=len(x)),
          row('round_trip_z', None, _relative(context.see(solution.x).z, z), n=len(z))]
  if not iterative:
    return rows
  exact = solver_fn(teacher, 'ancestral', context.devices, chunk=few)(params, z[:few]).x
  return rows + [row('fixed_point_sweeps_mean', None, float(np.mean(solution.sweeps)), n=len(z)),
                 row('fixed_point_sweeps_max', None, float(np.max(solution.sweeps)), n=len(z)),
                 row('fixed_point_error', 'ancestral', _relative(solution.x[:few], exact), n=len(exact))]


def evaluate_student(arm: str, student_run: StudentRun, context: Context) -> list[dict[str, Any]]:
  """Rows of a student.

  - every objective's loss at this student, whichever it was trained on: oracle_l2 (and l1), z_reconstruction_l2,
    x_reconstruction_l2 on training and held-out images, reverse_kl in nats where it has a density (not for a teacher of
    discrete data, whose x has a bounded range that no student keeps to);
  - the likelihood of its samples under the teacher, their quality (evaluation.sample_metrics) and their encodings T(S(z));
  - the rank of its Jacobian, and the variance of its samples over that of teacher samples.

  A student trained with noise on x or on its encodings saw a wider z than the prior, see `trained_width`. Its samples are taken
  from N(0, I), as in the paper, and again, as arm `<arm>@matched`, from a prior as wide as that. Other priors have no such arm.

  Args:
    arm: its name, such as 'flow/x_reconstruction'.
    student_run: the student.
    context: what to evaluate with.
  """
  samples, student, params = context.samples, student_run.student, student_run.params
  row = functools.partial(statistics.row, arm, seed=context.seed)
  error = lambda metric, reference, values: row(metric, reference, statistics.mean(values, seed=context.seed), n=len(values),
                                                floor=0.0)
  generate = map_examples(student.z_to_x, context.devices)
  output = generate(params, samples.z)
  seen = context.see(output.x)
  rows = [error(f'oracle_{name}', 'teacher', distances.make(name)(output.x, samples.paired.x)) for name in ('l2', 'l1')]
  rows.append(_z_reconstruction_row(arm, seen, context))
  few = slice(RECONSTRUCTED)
  rows += [error('x_reconstruction_l2', name, distances.l2(generate(params, encodings[few]).x, x[few]))
           for name, (x, encodings, _) in context.data.items()]
  rows += _reverse_kl_rows(arm, student, output, seen.log_prob, context)
  rows += _sample_rows(arm, seen, context)
  width = trained_width(student_run, context)
  if width != 1 and context.has_normal_prior:
    wide = generate(params, samples.z * np.float32(width)).x
    rows += _sample_rows(f'{arm}@matched', context.see(wide), context)
  values = jacobian.singular_values(student, params, samples.z[:_affordable(JACOBIANS, student.event_shape)])
  rank, num_dims = float(np.median(jacobian.ranks(values))), float(values.shape[1])
  variance = statistics.variance_ratio(output.x, samples.paired.x, seed=context.seed)
  variance_floor, _, _ = statistics.variance_ratio(samples.independent.x, samples.paired.x, seed=context.seed)
  return rows + [row('jacobian_rank', None, rank, n=len(values), floor=num_dims),
                 row('variance_ratio', 'teacher', variance, n=len(samples.z), floor=variance_floor)]


def trained_width(student_run: StudentRun, context: Context) -> float:
  """The root mean square of the z that a student was trained on: 1, but for noise on encodings or on x before it is encoded.

  For noise on encodings it takes these for normal ones; with noise on x, training examples are encoded.
  """
  loss = student_run.config['loss']
  if loss.get('noise_std'):
    return float(np.sqrt(1 + loss['noise_std']**2))
  if not loss.get('data_noise_std') or not losses.encodes(loss):
    return 1.0
  x = context.data['train'].x
  noise = np.random.default_rng(context.seed).normal(size=x.shape) * loss['data_noise_std']
  return float(np.sqrt(np.mean(np.square(context.see((x + noise).astype(np.float32)).z))))


def likelihood_rows(arm: str, log_prob: np.ndarray, samples: TeacherSamples, *, seed: int) -> list[dict[str, Any]]:
  """Rows that compare log p_T [N] of an arm's samples with that of teacher samples, in nats (figure 2 of the paper).

  The arm's samples are of samples.z, in that order: the shift of the mean is that from T^-1 of the same z, with the interval of
  a mean difference (the teacher's own is 0). The distances of distributions are from samples of other z.
  """
  paired, independent = samples.paired.log_prob, samples.independent.log_prob
  row = lambda metric, value, floor: statistics.row(arm, metric, 'teacher', value, n=len(log_prob), seed=seed, floor=floor)
  return [row('log_prob_mean_shift', statistics.mean(log_prob - paired, seed=seed), 0.0),
          row('log_prob_ks', statistics.kolmogorov_smirnov_interval(log_prob, independent),
              statistics.kolmogorov_smirnov(paired, independent)),
          row('log_prob_wasserstein', statistics.wasserstein_interval(log_prob, independent, seed=seed),
              statistics.wasserstein(paired, independent))]


def evaluate_run(workdir: str, teacher_workdir: str | None, *, num: int, seed: int, command: str,
                 devices: int | None = None, output: str | None = None, step: int | None = None) -> str:
  """Evaluates the run in a workdir, writes evaluation.json and returns the table as text.

  Args:
    workdir: of a teacher, or of a student if `teacher_workdir` is given.
    teacher_workdir: of the teacher.
    num: number of samples.
    seed: of the evaluation.
    command: for the record.
    devices: number of local devices, or None for all.
    output: folder for evaluation.json, the classifier of the metrics and teacher samples; None is the workdir, and for the last
      two that of the teacher, unless it is an exported model.
    step: of the checkpoint in `workdir` to take; None is the last.

  Raises:
    InputError: what would be written into is an exported model, or the student was trained on z of that seed.
  """
  if output is None:
    exported.refuse(workdir)
  files.check_folder(output or workdir)
  run = load_teacher(teacher_workdir) if teacher_workdir else load_teacher(workdir, step)
  student_run = load_student(workdir, run, step) if teacher_workdir else None
  check(run, num)
  if student_run is not None and seed in (student_run.config['train']['seed'], student_run.config.get('pairs_seed')):
    raise InputError(f'The seed of the evaluation is {seed}, and so was that of the training of {workdir} or of its pairs, '
                     'which draw z from the same stream: take another one, such as 100.')
  folder = output or (workdir if teacher_workdir is None or exported.is_model(teacher_workdir) else teacher_workdir)
  samples = draw_teacher_samples(run, num, seed, devices, folder)
  context = make_context(run, folder, samples, seed=seed, devices=devices)
  if student_run is None:
    rows = evaluate_teacher(context)
  else:
    arm = f'{student_run.config["student"]["name"]}/{student_run.config["loss"]["name"]}'
    rows = evaluate_student(arm, student_run, context)
  file = pathlib.Path(output or workdir) / 'evaluation.json'
  files.write_json(file, {'command': command, 'settings': context.settings, 'rows': rows})
  return tables.plain(tables.by_metric(rows))
