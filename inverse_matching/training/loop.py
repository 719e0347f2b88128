"""fit(): the one training loop, for teachers and students."""
import contextlib
import functools
import os
import signal
import threading
import time
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.data.source import Examples
from inverse_matching.data.stream import Stream
from inverse_matching.errors import InputError
from inverse_matching.runtime import onednn, processes
from inverse_matching.runtime.devices import choose_devices, map_step, peak_memory, replicate
from inverse_matching.runtime.progress import Progress
from inverse_matching.training import checkpoint
from inverse_matching.training.metrics import MetricsWriter
from inverse_matching.training.optimizers import make_optimizer
from inverse_matching.training.step import init_state, make_train_step
from inverse_matching.types import Array, Batch, LossFn, Params, check_params


class Task(NamedTuple):
  """What is trained, on what.

  Attributes:
    name: shown beside the progress.
    loss_fn: what is minimised.
    evaluation_loss_fn: the same without dropout, for the held-out loss.
    init: key -> parameters to train.
    examples: to train on, name -> [N, ...]; or a data set of them that stays on disk.
    held_out: examples of the held-out loss, name -> [M, ...].
    prepare: batch of those arrays with 'position' [B] -> Batch; runs on the devices.
    teacher_params: constants of the loss, or None.
    epoch_size: examples that count as an epoch; None is all of them.
    check: called by `check` with the initial parameters, if given; raises InputError if they cannot be trained.
  """
  name: str
  loss_fn: LossFn
  evaluation_loss_fn: LossFn
  init: Callable[[Array], Params]
  examples: Examples
  held_out: Examples
  prepare: Callable[[Any], Batch]
  teacher_params: Params = None
  epoch_size: int | None = None
  check: Callable[[Params], None] | None = None


class Stopped(Exception):
  """A signal asked the run to stop; its state is saved."""

  def __init__(self, signum: int | None, step: int):
    super().__init__(f'Stopped at step {step}; the state is saved. Run the same command again to go on.')
    self.signum = signum  # None: it was another process of this run that got it


class NotFinite(InputError):
  """The loss or its gradient is not finite; the state before is saved, so that the same command meets it again at once."""

  def __init__(self, workdir: str | os.PathLike, step: int, loss: float, grad_norm: float):
    super().__init__(f'The loss is not finite at step {step} ({loss}, gradient norm {grad_norm}): the last good state is saved '
                     f'in {workdir}; lower config.optimizer.learning_rate or set config.train.grad_clip, in a new --workdir.')
    # The variable that makes JAX name the operation.
    self.variable = 'JAX_DEBUG_NANS' if np.isnan([loss, grad_norm]).any() else 'JAX_DEBUG_INFS'


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


def _held_out_loss(task: Task, num_devices: int) -> Callable[[Params, Params], float]:
  """Makes (params, teacher_params) -> mean loss over the held-out examples; the same randomness at every call."""
  size = len(jax.tree.leaves(task.held_out)[0])
  # Positions from the far end of the stream: training does not get there.
  raw = {**task.held_out, 'position': np.uint32(2**32 - 1) - np.arange(size, dtype=np.uint32)}

  def loss(params, raw):
    batch = task.prepare(raw)
    return task.evaluation_loss_fn(*params, batch._replace(progress=jnp.ones(batch.key.shape)))[0]

  run = processes.map_examples(loss, num_devices)
  return lambda params, teacher_params: float(np.mean(run((params, teacher_params), raw)))


def _read(stream: Stream, step: int) -> Any:
  try:
    return stream[step]
  except (OSError, RuntimeError, ValueError) as error:  # whatever grain and what it reads with raise
    reason = str(error).strip().partition('\n')[0] or type(error).__name__
    raise InputError(f'The training data of step {step} cannot be read ({reason}): put them back and run the same command '
                     'again to go on.') from error


def check(workdir: str | os.PathLike, task: Task, config: Mapping[str, Any], devices: int | None = None) -> None:
  """Raises InputError where `fit` could not begin with numbers that settings.check lets pass, before there is a folder.

  A model is tried too, unless its training has begun.
  """
  batch_size, size = config['train']['batch_size'], len(jax.tree.leaves(task.held_out)[0])
  share = batch_size // (choose_devices(batch_size, devices) * jax.process_count())
  if share % (config['train'].get('microbatch') or 1):
    raise InputError(f'config.train.microbatch is {config["train"]["microbatch"]}, and a device has {share} examples of a '
                     'batch: take a divisor of that, or None.')
  num_examples = _epoch_size(task, config) or Stream(task.examples, 1, 0).size  # of few pairs, a batch may hold some twice
  if batch_size > num_examples:
    raise InputError(f'config.train.batch_size is {batch_size}, and there are {num_examples} examples to train on: lower it.')
  if not size:
    raise InputError('No example is held out, so that the loss could not be judged: hold some out in config.data.')
  begun = processes.first(lambda: bool(checkpoint.steps(workdir)))
  if task.check is None or begun:
    jax.eval_shape(task.init, jax.random.key(0))  # what a network refuses when it is called
    return
  logging.info('%s: checking the model.', task.name)
  params = task.init(jax.random.key(config['train']['seed']))
  check_params(params)
  task.check(params)


def num_steps(task: Task, config: Mapping[str, Any]) -> int:
  """The updates of a whole training."""
  return planned_steps(config, task.epoch_size or Stream(task.examples, 1, 0).size)


def planned_steps(config: Mapping[str, Any], epoch_size: int) -> int:
  """The same, where an epoch is so many examples."""
  train = config['train']
  return (train.get('epoch_updates') or -(-epoch_size // train['batch_size'])) * train['num_epochs']


def _epoch_size(task: Task, config: Mapping[str, Any]) -> int | None:
  """The examples of an epoch: of config.train.epoch_updates updates, if that is set, else those of the task."""
  updates = config['train'].get('epoch_updates')
  return task.epoch_size if updates is None else updates * config['train']['batch_size']


def _stream(task: Task, config: Mapping[str, Any]) -> Stream:
  return Stream(task.examples, config['train']['batch_size'], config['train']['seed'], _epoch_size(task, config),
                part=(jax.process_index(), jax.process_count()))


def fit(workdir: str | os.PathLike, task: Task, config: Mapping[str, Any], devices: int | None = None) -> Params:
  """Trains to the end of config.train.num_epochs, from the last checkpoint if there is one.

  Args:
    workdir: of the run; metrics.jsonl and checkpoints/ go there.
    task: what is trained, which `check` has let pass with the same config and devices.
    config: with sections optimizer and train.
    devices: number of local devices, or None for the largest number that divides the batch.

  Returns:
    The averaged parameters (EMA).

  Raises:
    Stopped: SIGINT or SIGTERM came, here or to another process of this run; the state is saved.
    NotFinite: the loss or its gradient is not finite; the state before is saved.
    InputError: the data cannot be read any more (the state is saved), or the folder is wrong.
  """
  settings = config['train']
  num_devices = choose_devices(settings['batch_size'], devices)
  stream, total = _stream(task, config), num_steps(task, config)
  optimizer = make_optimizer(steps_per_epoch=stream.steps_per_epoch, num_steps=total, grad_clip=settings['grad_clip'],
                             **config['optimizer'])
  every = {key: stream.steps_per_epoch * settings[f'{key}_every_epochs'] for key in ('checkpoint', 'evaluate')}

  start = checkpoint.latest(workdir)
  has_start = start is not None
  if start is None:
    state, start = init_state(task.init(jax.random.key(settings['seed'])), optimizer), 0
  else:
    abstract = jax.eval_shape(lambda key: init_state(task.init(key), optimizer), jax.random.key(0))
    state = checkpoint.load(workdir, start, abstract)
    if start < total:
      logging.info('%s: going on from step %d of %d.', task.name, start, total)
  if start >= total:
    return state.ema

  step_fn = map_step(
      make_train_step(task.loss_fn, optimizer, ema_decay=settings['ema_decay'], prepare=task.prepare, num_steps=total),
      num_devices, onednn.compiler_options() if settings.get('precision') == 'bfloat16' else None,
      microbatch=settings.get('microbatch'))
  evaluate = _held_out_loss(task, num_devices)
  save = functools.partial(checkpoint.save, workdir, keep=settings['keep_checkpoints'], every=every['checkpoint'])
  state, teacher_params = replicate((state, task.teacher_params), num_devices)
  metrics_writer = MetricsWriter(workdir, start)
  log_start, log_step, waited = time.monotonic(), start, 0.0
  logging.info('%s: compiling.', task.name)
  with _signals() as received, contextlib.closing(metrics_writer), Progress(task.name, total, start, 'step') as progress:
    batch, unread = _read(stream, start), None
    for step in range(start, total):
      state, metrics = step_fn(state, teacher_params, batch)
      read_start = time.monotonic()
      try:
        batch = _read(stream, step + 1)  # while the devices work
      except InputError as error:
        unread = error
      if metrics['loss'].is_ready():  # the devices may have waited for all of the reading, or for its last moment
        waited += time.monotonic() - read_start
      values = {key: float(value) for key, value in jax.device_get(metrics).items()}  # waits for the step
      if not np.isfinite([values['loss'], values['grad_norm']]).all():
        if step > start or not has_start:  # the checkpoint that it began with is not written anew: that could fail
          save(step, state)
        raise NotFinite(workdir, step, values['loss'], values['grad_norm'])
      done = step + 1
      if done % settings['log_every_steps'] == 0 or done == total:
        now = time.monotonic()
        rate = (done - log_step) * settings['batch_size'] / (now - log_start)
        metrics_writer.write(done, {'epoch': done / stream.steps_per_epoch, **values, 'examples_per_second': rate,
                                    'data_wait_share': waited / (now - log_start), 'wall_time': time.time(),
                                    **peak_memory()})
        log_start, log_step, waited = now, done, 0.0
      progress.update(1, loss=values['loss'])
      steps_end = time.monotonic()
      if done % every['evaluate'] == 0 or done == total:
        metrics_writer.write(done, {'held_out_loss': evaluate(state.ema, teacher_params)})
      stopping = done < total and processes.any_process(bool(received or unread))
      if done % every['checkpoint'] == 0 or done == total or stopping:
        save(done, state)
      log_start += time.monotonic() - steps_end  # the rate is that of the steps alone
      if stopping:
        raise unread or Stopped(received[0] if received else None, done)
  return state.ema
