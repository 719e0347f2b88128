"""Several processes of one run: how they meet, what the first does for all, and what all agree on.

Every process runs the same program on its own devices and sees the same files. The first one writes them, apart from shards of
pairs, of which each process makes its own.
"""
import json
import os
from typing import Any, Callable

import jax
from jax.experimental import multihost_utils
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.runtime import devices

VARIABLES = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')  # host:port of the first process; 2; 0 or 1


def initialize() -> None:
  """Joins the processes of this run, before anything else of JAX; they must have equally many devices.

  VARIABLES of the environment say who is who; where they are not set, JAX finds Slurm, Open MPI and TPU pods by itself, and
  Kubernetes with its Python client.

  Raises:
    InputError: neither tells.
  """
  jax.config.update('jax_enable_preemption_service', False)  # it would swallow SIGTERM, of which loop.fit takes care
  try:
    values = [os.environ[name] for name in VARIABLES]
    if not (values[1].isdigit() and values[2].isdigit() and int(values[2]) < int(values[1])):
      raise InputError(f'{VARIABLES[1]} is {values[1]!r} and {VARIABLES[2]} {values[2]!r}: give the number of processes, and '
                       'to each its own, from 0.')
    arguments = {'coordinator_address': values[0], 'num_processes': int(values[1]), 'process_id': int(values[2]),
                 'cluster_detection_method': 'deactivate'}
  except KeyError:
    arguments = {}
  try:
    jax.distributed.initialize(**arguments)
  except ValueError as error:
    raise InputError('--distributed finds no other processes: start it by srun, by mpirun or on a TPU pod, or set '
                     f'{", ".join(VARIABLES[:-1])} and {VARIABLES[-1]}.') from error


def is_multiprocess() -> bool:
  """Returns whether this is one of several processes."""
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Returns whether this is the process that writes files and logs; the only one is."""
  return not jax.distributed.is_initialized() or jax.process_index() == 0


def barrier(name: str) -> None:
  """Waits until every process is here; one alone goes on."""
  if is_multiprocess():
    multihost_utils.sync_global_devices(name)


def first(function: Callable[[], Any]) -> Any:
  """Returns what function() returns on the first process, which alone calls it; the others wait.

  Args:
    function: returns a value that JSON has.

  Raises:
    InputError: function raised it; on every process.
  """
  if not is_multiprocess():
    return function()
  outcome = b''
  if is_first():
    try:
      outcome = json.dumps([function(), None]).encode()
    except InputError as error:
      outcome = json.dumps([None, str(error)]).encode()
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(outcome))))
  text = multihost_utils.broadcast_one_to_all(np.frombuffer(outcome.ljust(size), np.uint8))
  value, refusal = json.loads(text.tobytes())
  if refusal is not None:
    raise InputError(refusal)
  return value


def any_process(flag: bool) -> bool:
  """Returns whether the flag is set on any process."""
  return bool(np.any(multihost_utils.process_allgather(np.array(flag)))) if is_multiprocess() else flag


def split(run: Callable) -> Callable:
  """Each process takes an equal share of the examples, and all get all results.

  Args:
    run: (params, *arrays [n, ...], progress=None) -> pytree of [n, ...], as devices.map_examples makes it.
  """

  def shared(params, *arrays, progress=None):
    if not is_multiprocess():
      return run(params, *arrays, progress=progress)
    total, count = len(jax.tree.leaves(arrays)[0]), jax.process_count()
    size = -(-total // count)
    mine = (jax.process_index() * size + np.arange(size)) % total
    tell = None if progress is None else lambda n: progress(n * count)
    part = run(params, *jax.tree.map(lambda a: a[mine], arrays), progress=tell)
    return jax.tree.map(lambda a: a[:total], multihost_utils.process_allgather(part, tiled=True))

  return shared


def map_examples(function: Callable, num_devices: int | None = None, chunk: int | None = None) -> Callable:
  """Applies devices.map_examples over the devices of all processes; every process gets all results.

  Args:
    function: see devices.map_examples.
    num_devices: number of local devices, or None for all.
    chunk: see devices.map_examples.
  """
  return split(devices.map_examples(function, devices.choose_devices(requested=num_devices), chunk))
