"""Our training step against eager PyTorch's, and our exact sampling against flowjax's, side by side on the CPU.

    taskset -c 0 python -m benchmarks.peers --output=peers.json
    TFDS_DATA_DIR=runs/data python -m benchmarks.peers --compare=sampling --flow_data=mnist --flow_batches=64 --rounds=3

`train_step`: a step of maximum likelihood of the PixelCNN++ teacher, and the same step of the same network in PyTorch, in
float32 and under autocast to bfloat16. The weights are ours, and both must have the same loss. Ours computes more: norms, the
moving average, the check that all is finite.

`sampling`: x = T^-1(z) of one masked autoregressive flow, by its own inverse in flowjax and by our solvers, which get the same
network as a teacher. It is trained first, since the number of sweeps depends on that. Both must find the same x.

A ratio is the time of the other over ours: above 1, ours is faster. It is the median over interleaved rounds, with quartiles.
PyTorch and flowjax are no requirements of this project: pip install torch==2.13.0 flowjax==19.1.2.
"""
import importlib
import math
import os
from typing import Any, Callable

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import interleaved
from inverse_matching import losses, random, solvers, teachers
from inverse_matching.data import catalogue
from inverse_matching.data.source import Source
from inverse_matching.data.stream import Stream
from inverse_matching.errors import InputError
from inverse_matching.evaluation import tables
from inverse_matching.runs import prior_draws
from inverse_matching.runtime import files, onednn
from inverse_matching.runtime.devices import map_step, replicate
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Batch, Params, Teacher
from launch import common, huge_pages, wording

FLAGS = flags.FLAGS
PEERS = {'train_step': ('torch', '2.13.0'), 'sampling': ('flowjax', '19.1.2')}  # comparison -> module, version
PRECISIONS = {'float32': None, 'bfloat16': 'bfloat16'}  # of our step -> dtype of the teacher
TOLERANCE = 1e-4  # of what both sides must agree on
LEARNING_RATE = 1e-3
BATCH, LOGIT_LAMBDA = 64, 0.01  # with which the flow is trained


def peer_of(comparison: str) -> Any:
  """Returns the module that is compared with; raises InputError with the package to install if it is not there."""
  module, version = PEERS[comparison]
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    raise InputError(f'{module} is not installed, with which {comparison} is compared: run pip install {module}=={version}, or '
                     'choose the other comparison by --compare.') from error


def difference(what: str, ours: Any, theirs: Any) -> float:
  """Returns the largest difference over the largest value; raises InputError if it is above TOLERANCE."""
  found = float(np.max(np.abs(np.asarray(ours) - np.asarray(theirs))) / np.max(np.abs(ours)))
  if not found <= TOLERANCE:
    raise InputError(f'Both sides should have the same {what}, but differ by {found:.1e} of it, and {TOLERANCE} is allowed: '
                     'their times cannot be compared; install the versions of the packages that this file names.')
  return found


def trainer(teacher: Teacher, params: Params, prepare: Callable[[Any], Batch],
            dtype: str | None = None) -> Callable[[Any], tuple[float, Params]]:
  """Makes (raw batch) -> (loss, parameters after): a step of maximum likelihood on one device; `dtype` is the teacher's."""
  optimizer = make_optimizer(learning_rate=LEARNING_RATE, decay_rate=1.0, steps_per_epoch=1, grad_clip=None)
  step = map_step(make_train_step(losses.maximum_likelihood(teacher), optimizer, ema_decay=0.999, prepare=prepare), 1,
                  onednn.compiler_options() if dtype == 'bfloat16' else None)
  state = [replicate(init_state(jax.tree.map(jnp.copy, params), optimizer), 1)]  # the step donates what it is given

  def advance(raw):
    state[0], metrics = step(state[0], None, raw)
    return float(metrics['loss']), state[0].params

  return advance


def torch_trainer(torch: Any, network: dict[str, int], params: Params, x: np.ndarray, dtype: Any) -> Callable[[], float]:
  """Makes a function that makes a step in PyTorch on images x [B, H, W, 1] and returns the loss before it.

  Args:
    torch: the module.
    network: settings of the PixelCNN++.
    params: of ours, to begin with.
    x: the images.
    dtype: of autocast; None is none.
  """
  from benchmarks import torch_pixelcnnpp
  net = torch_pixelcnnpp.PixelCNNPP(**network)
  torch_pixelcnnpp.load(net, params)
  count, own = sum(p.numel() for p in net.parameters()), sum(leaf.size for leaf in jax.tree.leaves(params))
  assert count == own, f'{count} parameters in PyTorch, and {own} in ours'
  net = net.to(memory_format=torch.channels_last)
  images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)
  optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)

  def advance():
    optimizer.zero_grad()
    with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
      loss = net(images).mean()
    loss.backward()
    optimizer.step()
    return loss.item()

  return advance


def train_step(size: int, network: dict[str, int], batch_size: int, rounds: int) -> list[dict]:
  """Rows {"ours", "peer", "shape", "batch", "num_params", "seconds", "peer_seconds", "ratio", "low", "high"}."""
  torch = peer_of('train_step')
  torch.set_num_threads(len(os.sched_getaffinity(0)))  # as XLA does
  shape = (size, size, 1)
  x = np.random.default_rng(0).normal(size=(batch_size, *shape)).astype(np.float32)
  raw = {'x': x, 'position': np.arange(batch_size, dtype=np.uint32)}
  prepare = lambda raw: Batch(x=raw['x'], key=random.keys_at(0, raw['position']))
  params = teachers.make('pixelcnn', shape, **network).init(jax.random.key(0))
  ours = {f'ours {name}': trainer(teachers.make('pixelcnn', shape, dtype=dtype, **network), params, prepare, dtype)
          for name, dtype in PRECISIONS.items()}
  ours = {name: lambda advance=advance: advance(raw)[0] for name, advance in ours.items()}
  peers = {f'torch {name}': torch_trainer(torch, network, params, x, dtype)
           for name, dtype in (('float32', None), ('bfloat16', torch.bfloat16))}
  first = {name: advance() for name, advance in {**ours, **peers}.items()}  # compiles too
  difference('loss', first['ours float32'], first['torch float32'])
  seconds = interleaved.seconds({**ours, **peers}, rounds)
  return [{'ours': name, 'peer': peer, 'shape': list(shape), 'batch': batch_size,
           'num_params': sum(leaf.size for leaf in jax.tree.leaves(params)), **compared(seconds[name], seconds[peer])}
          for name in ours for peer in peers]


def trained(teacher: Teacher, source: Source, num_steps: int) -> Params:
  """Returns the parameters of a teacher after so many steps on a data set."""
  stream = Stream(source.train, BATCH, seed=0)
  advance, params = trainer(teacher, teacher.init(jax.random.key(0)), source.space.prepare(0)), None
  for step in range(num_steps):
    _, params = advance(stream[step])
  return params


def sampling(data: str, width: int, depth: int, num_steps: int, batches: list[int], rounds: int) -> list[dict]:
  """Rows {"ours", "peer", "shape", "batch", "num_params", "sweeps", "difference", "seconds", "peer_seconds", "ratio", ...}."""
  peer_of('sampling')
  from benchmarks import flowjax_maf
  source = catalogue.load({'name': data, 'logit_lambda': LOGIT_LAMBDA})
  shape, peer = source.space.event_shape, 'flowjax inverse'
  start = flowjax_maf.bijection(math.prod(shape), width, depth)
  bijection = flowjax_maf.with_params(start, trained(flowjax_maf.teacher(shape, start), source, num_steps))
  teacher, inverse = flowjax_maf.teacher(shape, bijection), flowjax_maf.inverse(bijection)
  params = teacher.init(jax.random.key(0))  # those of the bijection
  solve = {name: jax.jit(lambda params, z, name=name: solvers.solve(teacher, params, z, solver=name))
           for name in ('fixed_point', 'ancestral')}
  rows = []
  for batch in batches:
    z = jnp.asarray(prior_draws(teacher, 0, np.arange(batch)))
    runs = {name: lambda f=f, z=z: jax.block_until_ready(f(params, z)) for name, f in solve.items()}
    runs[peer] = lambda z=z: jax.block_until_ready(inverse(z.reshape(len(z), -1)))
    found = {name: run() for name, run in runs.items()}  # compiles too
    theirs = found.pop(peer).reshape(z.shape)
    seconds = interleaved.seconds(runs, rounds)
    rows += [{'ours': name, 'peer': peer, 'shape': list(shape), 'batch': batch,
              'num_params': sum(leaf.size for leaf in jax.tree.leaves(params)), 'sweeps': float(np.mean(solution.sweeps)),
              'difference': difference('x', solution.x, theirs), **compared(seconds[name], seconds[peer])}
             for name, solution in found.items()]
  return rows


def compared(ours: np.ndarray, peer: np.ndarray) -> dict[str, float]:
  """The last fields of a row, from seconds [rounds] of both."""
  return {'seconds': float(np.median(ours)), 'peer_seconds': float(np.median(peer)), **interleaved.ratio(peer, ours)}


def main() -> None:
  jax.config.update('jax_platforms', 'cpu')
  network = dict(num_blocks=FLAGS.num_blocks, num_filters=FLAGS.num_filters, num_levels=FLAGS.num_levels)
  flow = dict(data=FLAGS.flow_data, width=FLAGS.flow_width, depth=FLAGS.flow_depth, num_steps=FLAGS.flow_steps)
  measure = {'train_step': lambda: train_step(FLAGS.size, network, FLAGS.batch_size, FLAGS.rounds),
             'sampling': lambda: sampling(**flow, batches=[int(b) for b in FLAGS.flow_batches], rounds=FLAGS.rounds)}
  versions = {name: str(peer_of(name).__version__) for name in FLAGS.compare}  # all, before anything is measured
  rows = []
  for name in FLAGS.compare:
    part = measure[name]()
    rows += [{'comparison': name, **row} for row in part]
    cell = lambda value: f'{value:.3g}' if isinstance(value, float) else str(value)
    print(tables.plain([list(part[0]), *([cell(value) for value in row.values()] for row in part)]) + '\n')
  if FLAGS.output:
    files.write_json(FLAGS.output, {'command': wording.command(), 'settings': {
        **network, 'flow': flow, 'rounds': FLAGS.rounds, 'cores': len(os.sched_getaffinity(0)),
        'solver_tolerance': solvers.TOLERANCE, 'versions': {'jax': jax.__version__, **versions}}, 'rows': rows})


if __name__ == '__main__':
  huge_pages.start_again()  # as commands do; both sides get them
  flags.DEFINE_multi_enum('compare', ['train_step', 'sampling'], ['train_step', 'sampling'], 'What to compare.')
  flags.DEFINE_integer('size', 28, 'Rows and columns of an image in a training step.', lower_bound=1)
  flags.DEFINE_integer('batch_size', 64, 'Images in a training step.', lower_bound=1)
  flags.DEFINE_integer('num_blocks', 3, 'Of the PixelCNN++.')
  flags.DEFINE_integer('num_filters', 32, 'Of the PixelCNN++.')
  flags.DEFINE_integer('num_levels', 3, 'Of the PixelCNN++.')
  flags.DEFINE_string('flow_data', 'digits', 'Images that the flow is trained on, a name as in config.data.')
  flags.DEFINE_integer('flow_width', 512, 'Hidden units in a layer of the flow.', lower_bound=1)
  flags.DEFINE_integer('flow_depth', 2, 'Hidden layers of the flow.', lower_bound=1)
  flags.DEFINE_integer('flow_steps', 2000, 'Training steps of the flow.', lower_bound=1)
  flags.DEFINE_list('flow_batches', ['1', '64', '1024'], 'Batch sizes of sampling.')
  flags.DEFINE_integer('rounds', 10, 'Interleaved rounds.', lower_bound=1)
  flags.DEFINE_string('output', None, 'JSON to write.')
  common.run(main)
