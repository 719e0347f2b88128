"""Spreading work over devices: the only place that knows pmap.

State has no device axis (in_axes=None, out_axes=None): the same code and the same checkpoints serve any number of devices.
A training step is over the devices of all processes; functions of examples are over those of this process, see processes.split.
"""
from concurrent import futures
import contextlib
import functools
import math
import os
import resource
import sys
from typing import Any, Callable, Iterator, Mapping, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import onednn

AXIS = 'devices'
DEFAULT_CHUNK = 64  # examples per device and call when sampling and evaluating; part of what fixes the bits of a result
ACCELERATOR_CHUNK = 256  # of a GPU or TPU, where the steps of an exact solver take as long for a few examples as for many
CACHED = 4096  # places of examples, such as pixels or samples of a waveform, that a device of a CPU takes at once
MOST_CPU_DEVICES = 8  # made without being asked for: each has its own copy of the parameters


def make_cpu_devices(number: int | None = None) -> None:
  """Makes so many devices of a CPU, before anything else of JAX; None: one for each core that this process may use, up to 8.

  One device alone makes little use of a second core. Without a number, JAX_NUM_CPU_DEVICES and XLA's own flag in the
  environment are left to say how many. Accelerators do not notice.
  """
  if number is None:
    if jax.config.jax_num_cpu_devices >= 0 or 'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', ''):
      return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    number = min(cores, MOST_CPU_DEVICES)
  jax.config.update('jax_num_cpu_devices', number)


def choose_devices(batch_size: int | None = None, requested: int | None = None) -> int:
  """Returns the number of local devices to use: `requested`, or the largest that divides this process's part of the batch.

  Args:
    batch_size: examples in a batch of all processes; None: any number of devices divides it.
    requested: how many are wanted; None leaves the choice.

  Raises:
    InputError: more devices than there are, or a number that does not divide the batch.
  """
  available, processes = jax.local_device_count(), jax.process_count()
  if batch_size is not None and batch_size % processes:
    raise InputError(f'A batch of {batch_size} does not divide over {processes} processes: change config.train.batch_size.')
  divides = lambda n: batch_size is None or batch_size % (n * processes) == 0
  if requested is None:
    return max(n for n in range(1, available + 1) if divides(n))
  if not 1 <= requested <= available:
    raise InputError(f'--devices={requested} was asked for, but there are {available} local devices: ask for 1 to {available}.')
  if not divides(requested):
    raise InputError(f'A batch of {batch_size} does not divide over {processes * requested} devices: change '
                     'config.train.batch_size or --devices.')
  return requested


def peak_memory() -> dict[str, int]:
  """Returns 'peak_host_bytes' of this process and, where the devices tell, 'peak_device_bytes' of the one that used most."""
  host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
  devices = [stats['peak_bytes_in_use'] for device in jax.local_devices() if (stats := device.memory_stats())]
  return {'peak_host_bytes': host, **({'peak_device_bytes': max(devices)} if devices else {})}


def choose_microbatch(batch: Any, num_devices: int, compiler_options: Mapping[str, Any] | None = None) -> int:
  """Returns how many examples a device takes at once of its part of a batch, a pytree of [B, ...], see `map_step`.

  All of them; on a CPU the largest divisor with which the activations of images stay in its cache (results/speed). With
  compiler_options it was not measured, and it is all of them.
  """
  share = _size(batch) // num_devices
  if compiler_options or jax.default_backend() != 'cpu':
    return share
  return max(n for n in range(1, share + 1) if share % n == 0 and n <= _cached(batch))


def _cached(arrays: Any) -> int:
  """Returns how many examples of a pytree of [N, ...] a CPU takes at once so that their activations stay in its cache."""
  return max(1, CACHED // max(math.prod(leaf.shape[1:3]) for leaf in jax.tree.leaves(arrays)))  # the channels are not counted


def _everywhere(num_devices: int) -> list[jax.Device]:
  """Returns the first devices of every process, in the order of the processes, which is that of their parts of a batch."""
  return [device for process in range(jax.process_count()) for device in jax.local_devices(process)[:num_devices]]


class Step(NamedTuple):
  """A training step, of which `map_step` makes one over devices.

  Attributes:
    measure: (state, constants, batch) -> pytree of means over the examples of the batch.
    update: (state, means) -> (state, metrics).
  """
  measure: Callable[[Any, Any, Any], Any]
  update: Callable[[Any, Any], tuple[Any, Any]]


def _mean_over_devices(tree: Any) -> Any:
  # Leaf by leaf: on a CPU to meet once for all saves 8 ms a step, and doubles the time to compile and the memory it takes.
  return jax.lax.pmean(tree, AXIS)


def _split(tree: Any, num_devices: int) -> Any:
  return jax.tree.map(lambda a: a.reshape(num_devices, a.shape[0] // num_devices, *a.shape[1:]), tree)


def _replicable(tree: Any) -> Any:
  """Returns (tree, a scalar) for an argument of pmap that is the same on all devices.

  pmap (jax 0.10 to 0.12) does not map the first leaf after an argument without leaves. That of jax 0.12 under several processes
  cannot place an array that lies on several devices in copies: it gets one of them.
  """
  if jax.process_count() > 1:
    tree = jax.tree.map(lambda leaf: leaf.addressable_data(0) if _has_copies(leaf) else leaf, tree)
  return tree, np.float32(0)


def _has_copies(leaf: Any) -> bool:
  return isinstance(leaf, jax.Array) and leaf.is_fully_replicated and len(leaf.sharding.device_set) > 1


def map_step(step: Step, num_devices: int, compiler_options: Mapping[str, Any] | None = None, *,
             microbatch: int | None = None) -> Callable:
  """Maps a step over devices, as a function (state, constants, batch) -> (state, metrics).

  Args:
    step: what is computed. Its batch [B, ...], of several processes the part of this one, is split over the local devices, the
      rest is replicated; the state is donated.
    num_devices: local devices.
    compiler_options: for these programs alone.
    microbatch: examples that a device takes at once, a divisor of those it has, whose means it adds up; None: those of
      `choose_microbatch`. The result is the same up to rounding.
  """
  mapped = functools.partial(jax.pmap, axis_name=AXIS, devices=_everywhere(num_devices))
  compiled = lambda function: _compiled_with(function, compiler_options) if compiler_options else function

  def whole(state, constants, batch):
    return step.update(state, _mean_over_devices(step.measure(state, constants[0], batch)))

  def nothing(batch, state, constants):
    shapes = jax.eval_shape(step.measure, state, constants[0], batch)
    return jax.tree.map(lambda value: jnp.zeros(value.shape, value.dtype), shapes)

  def add(total, batch, state, constants):
    return jax.tree.map(jnp.add, total, step.measure(state, constants[0], batch))

  def finish(total, state, count):
    return step.update(state, _mean_over_devices(jax.tree.map(lambda value: value / count, total)))

  at_once = compiled(mapped(whole, in_axes=(None, None, 0), out_axes=None, donate_argnums=0))
  begin = mapped(nothing, in_axes=(0, None, None))
  go_on = compiled(mapped(add, in_axes=(0, 0, None, None), donate_argnums=0))
  end = mapped(finish, in_axes=(0, None, None), out_axes=None, donate_argnums=1)

  def run(state, constants, batch):
    share = _size(batch) // num_devices
    size = microbatch or choose_microbatch(batch, num_devices, compiler_options)
    constants, batch = _replicable(constants), _split(batch, num_devices)
    if size == share:
      return at_once(state, constants, batch)
    parts = [jax.tree.map(lambda a, start=start: a[:, start:start + size], batch) for start in range(0, share, size)]
    total = begin(parts[0], state, constants)
    for part in parts:
      total = go_on(total, part, state, constants)
    return end(total, state, np.float32(len(parts)))

  return run


def _compiled_with(mapped: Callable, options: Mapping[str, Any]) -> Callable:
  """`mapped` compiled with options at its first call, whose shapes all others have."""
  compiled = []

  def run(*args):
    if not compiled:
      compiled.append(onednn.compile_with(mapped.lower(*args), options))
    return compiled[0](*args)

  return run


def replicate(tree: Any, num_devices: int) -> Any:
  """Returns a copy of the pytree on each device, without a device axis, as the results of `map_step` are.

  A state that is elsewhere, or under another axis name, at the first step would be compiled for twice.
  """
  copy = jax.pmap(lambda tree, _: tree, axis_name=AXIS, in_axes=(None, 0), out_axes=None, devices=_everywhere(num_devices))
  return copy(tree, np.zeros(num_devices))


def default_chunk() -> int:
  """Returns how many examples a device takes at once when sampling and evaluating, where nothing else is asked for."""
  return DEFAULT_CHUNK if jax.default_backend() == 'cpu' else ACCELERATOR_CHUNK


def choose_chunk(arrays: Any) -> int:
  """Returns the same for one pass over a pytree of [N, ...]: on a CPU as many images as stay in its cache (results/speed)."""
  return min(DEFAULT_CHUNK, _cached(arrays)) if jax.default_backend() == 'cpu' else ACCELERATOR_CHUNK


def map_examples(function: Callable, num_devices: int, chunk: int | None = None) -> Callable:
  """Maps function(params, *arrays [chunk, ...]) -> pytree of [chunk, ...] over examples, devices and chunks.

  Every call sees `chunk` examples on each device (None: see `choose_chunk`), the last ones padded by repetition: an example's
  result is the same bits whatever the number of examples and devices. Devices that would only repeat are left out.

  Returns:
    run(params, *arrays [n, ...], progress=None) -> pytree of numpy arrays [n, ...]; `arrays` may be pytrees of such, and
    `progress` is called with the number of examples after each call.
  """
  programs = {}  # number of devices -> a program over so many

  def program(needed):
    used = min((n for n in programs if n >= needed), default=needed)  # to compile costs more than to repeat
    if used not in programs:
      programs[used] = jax.pmap(lambda params, arrays: function(params[0], *arrays), in_axes=(None, 0),
                                devices=jax.local_devices()[:used])
    return programs[used], used

  def run(params, *arrays, progress=None):
    total, parts, size = _size(arrays), [], chunk or choose_chunk(arrays)
    mapped, used = program(min(num_devices, _num_chunks(total, size)))
    step = used * size
    for start, part in _chunks(arrays, step):
      out = jax.device_get(mapped(_replicable(params), _split(part, used)))
      parts.append(jax.tree.map(lambda a: np.asarray(a).reshape(step, *a.shape[2:]), out))
      if progress is not None:
        progress(min(step, total - start))
    return _joined(parts, total)

  return run


def map_chunks(function: Callable, num_devices: int, chunk: int | None = None) -> Callable:
  """Like `map_examples`, for a function(params, *arrays [chunk, ...]) that runs on the host and calls compiled programs.

  Each device has a thread that takes chunk after chunk.
  """
  chunk = chunk or default_chunk()

  def run(params, *arrays, progress=None):
    total, parts = _size(arrays), []
    devices = jax.local_devices()[:min(num_devices, _num_chunks(total, chunk))]
    # One device needs no copies: placing the parameters costs as much as a few sweeps of one small image.
    there = [params] if len(devices) == 1 else [jax.device_put(params, device) for device in devices]

    def call(i, part):
      part = part if len(devices) == 1 else jax.device_put(part, devices[i])
      return jax.device_get(function(there[i], *part))

    with contextlib.ExitStack() as stack:
      threads = [stack.enter_context(futures.ThreadPoolExecutor(1)) for _ in devices]
      calls = [(start, threads[i % len(devices)].submit(call, i % len(devices), part))
               for i, (start, part) in enumerate(_chunks(arrays, chunk))]
      for start, future in calls:
        parts.append(future.result())
        if progress is not None:
          progress(min(chunk, total - start))
    return _joined(parts, total)

  return run


def _size(arrays: Any) -> int:
  return len(jax.tree.leaves(arrays)[0])


def _num_chunks(total: int, chunk: int) -> int:
  return max(1, -(-total // chunk))


def _chunks(arrays: Any, size: int) -> Iterator[tuple[int, Any]]:
  """Returns (start, arrays [size, ...]), the last ones padded by repetition."""
  total = _size(arrays)
  for start in range(0, total, size):
    index = np.arange(start, start + size) % total
    yield start, jax.tree.map(lambda a, index=index: a[index], arrays)


def _joined(parts: list, total: int) -> Any:
  return jax.tree.map(lambda *values: np.concatenate(values)[:total], *parts)
