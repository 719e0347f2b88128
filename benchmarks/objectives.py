"""What a gradient of each objective costs, side by side on one device.

    python -m benchmarks.objectives --workdir=runs/digits --output=results/digits/objectives.json

Uses the trained teacher in WORKDIR/teacher and the flow student that reverse KL trained, if they are there, else ones with
random weights (and says so): the path derivative sweeps until it settles, so its cost depends on the student.
"""
import pathlib
import time

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from configs import digits
from inverse_matching import losses, random, runs, students, teachers
from inverse_matching.evaluation import tables
from inverse_matching.experiments import distillation
from inverse_matching.runtime import files
from inverse_matching.types import Batch
from launch import wording

FLAGS = flags.FLAGS
ARMS = {'oracle_prediction': {}, 'x_reconstruction': {}, 'z_reconstruction': {}, 'reverse_kl': {'estimator': 'total'},
        'reverse_kl (path)': {'estimator': 'path'}}


def _models(workdir: pathlib.Path):
  """(teacher, its params, student, its params, what they are)."""
  folder = distillation.student_folder(workdir, 'flow/reverse_kl', digits.get_config())
  if (folder / 'config.json').exists():
    run = runs.load_teacher(workdir / 'teacher')
    student_run = runs.load_student(folder, run)
    return run.teacher, run.params, student_run.student, student_run.params, 'trained'
  config = digits.get_config()
  teacher = teachers.make(event_shape=(8, 8, 1), **config.teacher)
  student = students.make(event_shape=(8, 8, 1), **config.student)
  return teacher, teacher.init(jax.random.key(0)), student, student.init(jax.random.key(1)), 'random weights'


def measure(workdir: pathlib.Path, batch_size: int, rounds: int) -> list[dict]:
  """Rows {"objective", "models", "batch", "over_oracle", "score_sweeps"}: medians of interleaved rounds, as ratios."""
  teacher, teacher_params, student, params, models = _models(workdir)
  keys = random.keys_at(0, jnp.arange(batch_size, dtype=jnp.uint32))
  z = teacher.prior.sample(random.stream(keys, 'prior'))
  pair = Batch(x=jax.jit(teacher.z_to_x)(teacher_params, z), z=z, key=keys)
  batches = {'oracle_prediction': pair, 'x_reconstruction': pair._replace(z=None)}
  gradients, metrics, seconds = {}, {}, {name: [] for name in ARMS}
  for name, settings in ARMS.items():
    loss = losses.make(name.split()[0], teacher, student, **settings)

    def mean(params, batch, loss=loss):
      value, parts = loss(params, teacher_params, batch)
      return jnp.mean(value), parts

    gradient = jax.jit(jax.value_and_grad(mean, has_aux=True))
    batch = batches.get(name, Batch(key=keys))
    gradients[name] = lambda gradient=gradient, batch=batch: jax.block_until_ready(gradient(params, batch))
    (_, metrics[name]), _ = gradients[name]()
  for _ in range(rounds):
    for name, gradient in gradients.items():
      start = time.perf_counter()
      gradient()
      seconds[name].append(time.perf_counter() - start)
  ratios = {name: np.array(values) / np.array(seconds['oracle_prediction']) for name, values in seconds.items()}
  return [{'objective': name, 'models': models, 'batch': batch_size, 'over_oracle': float(np.median(ratios[name])),
           'score_sweeps': float(np.mean(metrics[name]['score_sweeps'])) if 'score_sweeps' in metrics[name] else None}
          for name in ARMS]


def main(argv) -> None:
  del argv
  rows = measure(pathlib.Path(FLAGS.workdir), FLAGS.batch_size, FLAGS.rounds)
  print(tables.plain([list(rows[0]), *([str(value) for value in row.values()] for row in rows)]))
  if FLAGS.output:
    files.write_json(FLAGS.output, {'command': wording.command(), 'settings': {'rounds': FLAGS.rounds}, 'rows': rows})


if __name__ == '__main__':
  flags.DEFINE_string('workdir', 'runs/digits', 'Of launch.reproduce --figure=4.')
  flags.DEFINE_integer('batch_size', 64, 'Examples in a batch.')
  flags.DEFINE_integer('rounds', 10, 'Interleaved rounds.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
