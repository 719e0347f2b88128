"""fit(): the one training loop, for teachers and students."""
import contextlib
import os
import signal
import threading
import time
from typing import Any, Callable, Iterator, Mapping

from absl import logging
import grain
import jax
import numpy as np

from inverse_matching import checkpoint, parallel, train, writer
from inverse_matching.data.stream import Stream
from inverse_matching.errors import InputError
from inverse_matching.progress import Progress
from inverse_matching.types import Array, Batch, LossFn, Params


class Stopped(Exception):
  """A signal asked the run to stop; its state is saved."""

  def __init__(self, signum: int, step: int):
    super().__init__(f'Stopped at step {step}; the state is saved. Run the same command again to go on.')
    self.signum = signum


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
  """Collects SIGINT and SIGTERM instead of dying in the middle of a step; a second one is a KeyboardInterrupt."""
  received: list[int] = []
  if threading.current_thread() is not threading.main_thread():
    yield received
    return

  def receive(signum, frame):
    del frame
    if received:
      raise KeyboardInterrupt
    received.append(signum)

  previous = {s: signal.signal(s, receive) for s in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield received
  finally:
    for s, handler in previous.items():
      signal.signal(s, handler)


def _held_out_loss(loss_fn: LossFn, prepare: Callable[[Any], Batch], arrays: Mapping[str, Any], num_devices: int,
                   chunk: int) -> Callable[[Params, Params], float]:
  """(params, teacher_params) -> mean loss over held-out arrays; the same randomness at every call."""
  size = len(jax.tree.leaves(arrays)[0])
  # Positions from the far end of the stream: training does not get there.
  raw = {**arrays, 'position': np.uint32(2**32 - 1) - np.arange(size, dtype=np.uint32)}
  names = list(raw)
  run = parallel.map_examples(
      lambda params, *values: loss_fn(params[0], params[1], prepare(dict(zip(names, values))))[0], num_devices, chunk)
  return lambda params, teacher_params: float(np.mean(run((params, teacher_params), *raw.values())))


def fit(workdir: str | os.PathLike, name: str, *, config: Mapping[str, Any], loss_fn: LossFn, evaluation_loss_fn: LossFn,
        init: Callable[[Array], Params], teacher_params: Params, arrays: Mapping[str, np.ndarray] | grain.MapDataset,
        held_out: Mapping[str, Any], prepare: Callable[[Any], Batch], epoch_size: int | None = None,
        check: Callable[[Params], None] | None = None, devices: int | None = None) -> Params:
  """Trains to the end of config.train.num_epochs, from the last checkpoint if there is one.

  Args:
    workdir: of the run; metrics.jsonl and checkpoints/ go there.
    name: shown beside the progress.
    config: with sections optimizer and train.
    loss_fn: what is minimised.
    evaluation_loss_fn: the same without dropout, for the held-out loss.
    init: key -> parameters to train.
    teacher_params: constants of the loss, or None.
    arrays: training examples, name -> [N, ...]; or a data set of them that stays on disk.
    held_out: held-out examples, name -> [M, ...].
    prepare: batch of those arrays with 'position' [B] -> Batch; runs on the devices.
    epoch_size: examples that count as an epoch; None is all of them.
    check: called with the initial parameters, if given; raises InputError if they cannot be trained.
    devices: number of local devices, or None for the largest number that divides the batch.

  Returns:
    The averaged parameters (EMA).

  Raises:
    Stopped: SIGINT or SIGTERM came; the state is saved.
    InputError: the loss is not finite (the state before is saved), or the folder or the batch size is wrong.
  """
  settings = config['train']
  for key in ('batch_size', 'num_epochs', 'log_every_steps', 'evaluate_every_epochs', 'checkpoint_every_epochs',
              'keep_checkpoints'):
    if settings[key] < 1:
      raise InputError(f'config.train.{key} must be at least 1, got {settings[key]}.')
  stream = Stream(arrays, settings['batch_size'], settings['seed'], epoch_size)
  num_devices = parallel.choose_devices(settings['batch_size'], devices)
  num_steps = stream.steps_per_epoch * settings['num_epochs']
  optimizer = train.make_optimizer(steps_per_epoch=stream.steps_per_epoch, grad_clip=settings['grad_clip'],
                                   **config['optimizer'])
  every = {key: stream.steps_per_epoch * settings[f'{key}_every_epochs'] for key in ('checkpoint', 'evaluate')}

  start = checkpoint.latest(workdir)
  if start is None:
    params = init(jax.random.key(settings['seed']))
    if check is not None:
      check(params)
    state, start = train.init_state(params, optimizer), 0
  else:
    abstract = jax.eval_shape(lambda key: train.init_state(init(key), optimizer), jax.random.key(0))
    state = checkpoint.load(workdir, start, abstract)
    if start < num_steps:
      logging.info('%s: going on from step %d of %d.', name, start, num_steps)
  if start >= num_steps:
    return state.ema

  step_fn = parallel.map_step(
      train.make_train_step(loss_fn, optimizer, ema_decay=settings['ema_decay'], prepare=prepare), num_devices)
  evaluate = _held_out_loss(evaluation_loss_fn, prepare, held_out, num_devices, chunk=64)
  state, teacher_params = parallel.replicate((state, teacher_params), num_devices)
  metrics_writer = writer.MetricsWriter(workdir, start)
  log_start, log_step = time.monotonic(), start
  with _signals() as received, contextlib.closing(metrics_writer), Progress(name, num_steps, start, 'step') as progress:
    batch = stream[start]
    for step in range(start, num_steps):
      state, metrics = step_fn(state, teacher_params, batch)
      batch = stream[step + 1]  # read while the devices work
      values = {key: float(value) for key, value in jax.device_get(metrics).items()}  # waits for the step
      if not np.isfinite([values['loss'], values['grad_norm']]).all():
        checkpoint.save(workdir, step, state, keep=settings['keep_checkpoints'])
        raise InputError(f'The loss is not finite at step {step} ({values["loss"]}, gradient norm {values["grad_norm"]}): the '
                         f'last good state is saved in {workdir}; lower config.optimizer.learning_rate or set '
                         'config.train.grad_clip, in a new --workdir.')
      done = step + 1
      if done % settings['log_every_steps'] == 0 or done == num_steps:
        now = time.monotonic()
        rate = (done - log_step) * settings['batch_size'] / (now - log_start)
        metrics_writer.write(done, {**values, 'examples_per_second': rate, 'wall_time': time.time()})
        log_start, log_step = now, done
      progress.update(1, loss=values['loss'])
      if done % every['evaluate'] == 0 or done == num_steps:
        metrics_writer.write(done, {'held_out_loss': evaluate(state.ema, teacher_params)})
      if done % every['checkpoint'] == 0 or done == num_steps or received:
        checkpoint.save(workdir, done, state, keep=settings['keep_checkpoints'])
      if received and done < num_steps:
        raise Stopped(received[0], done)
  return state.ema
