"""What training the students of a budget costs, and a sample of each: in calls, multiply-adds and seconds."""
import collections
from typing import Any

import jax

from inverse_matching import losses, runs
from inverse_matching.data.pairs import manifest
from inverse_matching.evaluation import statistics, timing
from inverse_matching.experiments import costs, pareto
from inverse_matching.experiments.budget_training import Student, Study, Trained, pairs_of, sizes, student_config, ways
from inverse_matching.experiments.experiment import Rows
from inverse_matching.runs import StudentRun
from inverse_matching.training.metrics import examples_per_second

ONE_PASS = 'teacher pass'  # of timing.sampling_rows; no sampler
ROUNDS = 7  # of it: small students take milliseconds


def count_row(arm: str, metric: str, value: float | None, study: Study) -> dict[str, Any]:
  """A row of a number without an interval."""
  return statistics.row(arm, metric, None, value, n=1, seed=study.outcome.context.seed)


def cost_rows(study: Study, student: Student, seed: int, student_run: StudentRun, from_run: Trained) -> list[dict[str, Any]]:
  """Calls and seconds of training, those of the student that it began with included, and multiply-adds of a sample.

  What it takes from a store was made in `store_seconds`, by the teacher in the largest batch that is timed.
  """
  counts: dict[str, float] = collections.Counter()
  parts = [(student.arm, from_run)]
  if from_run.first:
    parts.append((study.settings['then'][student.arm]['first'], from_run.first))
  seen, stored = 0, {}  # examples; kind of store -> how many it has: both parts take the same
  for arm, part in parts:
    config = student_config(study.experiment.config, student._replace(arm=arm, steps=None, matched=False), seed)
    num_examples, kind = part.made * config['train']['batch_size'], losses.stored(config['loss'])
    if kind is not None:
      seen += num_examples
      stored[kind] = manifest(pairs_of(study, config['loss']))['num']
    found = costs.calls(config['loss'], num_examples, stored.get(kind))
    counts['calls of S'] += found['S']
    counts['calls of T'] += 0 if kind == 'encodings' else found['T']
    counts['training_seconds'] += num_examples / examples_per_second(part.workdir)
  encodings, pairs = (min(seen, stored.get(kind, 0)) for kind in ('encodings', 'pairs'))
  counts['calls of T'] += encodings
  counts['calls of T^-1'] = pairs
  seconds = timed(study).where(metric=pareto.SECONDS, reference=f'batch {max(pareto.BATCHES)}')
  of_inverse = min(row['value'] for row in seconds if row['arm'].startswith('teacher, '))
  counts['store_seconds'] = encodings * seconds.where(arm=ONE_PASS)[0]['value'] + pairs * of_inverse
  counts['multiply_adds'] = costs.multiply_adds(student_run.student.z_to_x, student_run.params, student_run.student.event_shape)
  return [count_row(str(student), name, count, study) for name, count in counts.items()]


def timed(study: Study) -> Rows:
  """Seconds a sample of the exact solvers and of every student, measured once."""
  about = {**study.outcome.context.settings, 'budget': study.settings}
  return study.experiment.cached('budget/seconds', about, lambda: _seconds(study))


def _seconds(study: Study) -> Rows:
  """Students of one form share theirs, as weights do not matter."""
  teacher_run, seed = study.outcome.teacher_run, study.outcome.context.seed
  forms: dict[str, tuple[Any, list[str]]] = {}  # -> the student with random weights, the labels
  for student in (student for size in sizes(study.settings) for arm in study.settings['arms']
                  for student in ways(arm, size, study.settings)):
    config = student_config(study.experiment.config, student, 0)
    model = runs.models.make_student(config, teacher_run.space)
    name = f'{config["student"]["name"]}, {student.size}, {student.steps}'
    forms.setdefault(name, ((model, model.init(jax.random.key(0))), []))[1].append(str(student))
  found = Rows()
  for batch in pareto.BATCHES:
    seconds = {row['solver']: row['seconds_per_image'] for row in timing.sampling_rows(
        teacher_run.teacher, teacher_run.params, {form: model for form, (model, _) in forms.items()}, batch=batch, seed=seed,
        rounds=ROUNDS)}
    named = {label: seconds[form] for form, (_, labels) in forms.items() for label in labels}
    named |= {f'teacher, {solver}': value for solver, value in seconds.items() if solver not in forms and solver != ONE_PASS}
    named[ONE_PASS] = seconds[ONE_PASS]
    found += [statistics.row(arm, pareto.SECONDS, f'batch {batch}', value, n=batch, seed=seed) for arm, value in named.items()]
    jax.clear_caches()
  return found
