"""Reverse KL on Gaussian teachers: our scanned loop against the same loop in eager PyTorch.

    python -m benchmarks.gaussian --output=results/gaussian/speed.json

Both run in turn, several rounds; printed are medians of the seconds for 5,000 updates (batches of 64, Adam), their ratios
per seed, and what the parts of an update cost. PyTorch is no requirement of this project: without it (pip install
torch==2.13.0) only our own times are printed.
"""
import time
from typing import Any, Callable

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import losses
from inverse_matching.evaluation import tables
from inverse_matching.experiments.gaussian import lanes, training
from inverse_matching.runtime import files

FLAGS = flags.FLAGS
flags.DEFINE_integer('updates', 5000, 'Updates that the seconds are for.', lower_bound=100)
flags.DEFINE_integer('rounds', 3, 'Rounds; the two sides take turns.', lower_bound=1)
flags.DEFINE_integer('eager_updates', 500, 'Updates that PyTorch makes in a round; its seconds are scaled.', lower_bound=1)
flags.DEFINE_string('output', None, 'JSON to write, if any.')

BATCH, LEARNING_RATE = 64, 0.005
CASES = ((64, 1), (64, 8), (4, 1), (4, 8))  # T, seeds


def scanned(num_dims: int, num_seeds: int, updates: int) -> Callable[[], float]:
  """Runs the whole training of all seeds, compiled before; returns its seconds."""
  pair = lanes.make(num_dims, ['I'], num_seeds, seed=0)
  lane = training.make_lane(losses.make('reverse_kl', pair.teacher, pair.student), pair.teacher, num_steps=updates,
                            batch_size=BATCH, optimizer=training.adam(LEARNING_RATE))
  arguments = (pair.teacher_params, pair.student_params, pair.keys)
  training.limit_lapack()
  program = jax.jit(jax.vmap(lane)).lower(*arguments).compile()
  return lambda: _seconds(lambda: jax.block_until_ready(program(*arguments)))


def eager(torch: Any, num_dims: int, updates: int) -> Callable[[], float]:
  """Runs the same updates of one seed as PyTorch users write them; the teacher's inverse is formed once, as in ours."""
  matrix = torch.tensor(np.random.default_rng(0).standard_normal((num_dims, num_dims)), dtype=torch.float32)
  inverse, log_det, target = torch.linalg.inv(matrix), torch.linalg.slogdet(matrix)[1], torch.full((num_dims,), 2.0)
  mean, factor = torch.zeros(num_dims, requires_grad=True), torch.eye(num_dims).requires_grad_()
  optimizer = torch.optim.Adam([mean, factor], lr=LEARNING_RATE)

  def run():
    for _ in range(updates):
      z = torch.randn(BATCH, num_dims)
      x = mean + z @ factor.T
      log_student = -0.5 * (z ** 2).sum(-1) - torch.linalg.slogdet(factor)[1]
      log_teacher = -0.5 * (((x - target) @ inverse.T) ** 2).sum(-1) - log_det
      optimizer.zero_grad()
      (log_student - log_teacher).mean().backward()
      optimizer.step()

  return lambda: _seconds(run)


def parts(num_dims: int, updates: int) -> dict[str, float]:
  """Seconds that `updates` updates of one seed spend on what cannot be left out, each measured alone in a loop."""
  matrix = lanes.make(num_dims, ['I'], 1, seed=0).teacher_params['matrix'][0]
  z = jax.random.normal(jax.random.key(1), (BATCH, num_dims))
  log_det = jax.grad(lambda m: jnp.linalg.slogdet(m)[1])
  products = jax.grad(lambda m: jnp.sum(((z @ m.T) @ matrix.T) ** 2))
  draws = lambda step: jnp.sum(jax.vmap(lambda key: jax.random.normal(key, (num_dims,)))(
      jax.random.split(jax.random.fold_in(jax.random.key(0), step), BATCH)))
  bodies = {'log-determinant and its gradient': lambda m, step: m + 1e-9 * log_det(m),
            'matrix products': lambda m, step: m + 1e-9 * products(m),
            'random numbers': lambda m, step: m + 1e-9 * draws(step)}
  found = {}
  for name, body in bodies.items():
    program = jax.jit(lambda m, body=body: jax.lax.scan(lambda m, step: (body(m, step), None), m, jnp.arange(updates))[0])
    jax.block_until_ready(program(matrix))
    found[name] = min(_seconds(lambda program=program: jax.block_until_ready(program(matrix))) for _ in range(3))
  return found


def _seconds(function: Callable[[], Any]) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def main(argv: list[str]) -> None:
  del argv
  try:
    import torch
    torch.set_num_threads(1)  # as for ours: at these sizes several threads only wait for each other
  except ImportError:
    torch = None
    print('PyTorch is not installed: our own times alone (pip install torch==2.13.0 for the comparison).')
  updates = FLAGS.updates
  ours = {case: scanned(*case, updates) for case in CASES}
  theirs = {num_dims: eager(torch, num_dims, FLAGS.eager_updates) for num_dims, _ in CASES} if torch else {}
  seconds: dict[Any, list[float]] = {key: [] for key in [*ours, *theirs]}
  for function in theirs.values():
    function()  # warm up
  for _ in range(FLAGS.rounds):
    for num_dims, function in theirs.items():
      seconds[num_dims].append(function() * updates / FLAGS.eager_updates)
    for case, function in ours.items():
      seconds[case].append(function())
  rows = []
  for num_dims, num_seeds in CASES:
    own = float(np.median(seconds[num_dims, num_seeds]))
    other = float(np.median(seconds[num_dims])) if theirs else None
    rows.append({'dimension': num_dims, 'seeds': num_seeds, 'seconds': own, 'eager_seconds_per_seed': other,
                 'ratio_per_seed': other * num_seeds / own if theirs else None})
  bounds = [{'dimension': num_dims, 'part': name, 'seconds': value}
            for num_dims in dict.fromkeys(case[0] for case in CASES) for name, value in parts(num_dims, updates).items()]
  for table in (rows, bounds):
    cells = [['' if v is None else f'{v:.3g}' if isinstance(v, float) else str(v) for v in row.values()] for row in table]
    print(tables.plain([list(table[0]), *cells]) + '\n')
  if FLAGS.output:
    files.write_json(FLAGS.output, {'command': 'python -m benchmarks.gaussian',
                                    'settings': {'updates': updates, 'batch_size': BATCH, 'rounds': FLAGS.rounds},
                                    'rows': rows + bounds})


if __name__ == '__main__':
  app.run(main)
