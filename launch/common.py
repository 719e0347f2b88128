"""What the command lines share: flags, errors in one sentence, devices, the compile cache."""
import contextlib
import logging as std_logging
import os
import pathlib
import signal
import sys
import time
import traceback
from typing import Any, Callable, Sequence

from absl import app, flags, logging
import jax

from inverse_matching import registry
from inverse_matching.errors import InputError
from inverse_matching.runs import trust
from inverse_matching.runtime import devices, files, processes
from inverse_matching.training import loop

from . import config_flag, wording

FLAGS = flags.FLAGS
OURS = tuple(str(pathlib.Path(file).parent) + os.sep for file in (registry.__file__, __file__))  # where our messages come from
TRY_AGAIN = 75  # exit status of what stopped before its end and goes on when it is called again; EX_TEMPFAIL of sysexits.h


def define_flags(config: str | None = None, distributed: bool = True, loads: bool = True) -> None:
  """Flags of all commands that compute; --config too if a default is given, --distributed and --trust_workdir (of those that
  load a workdir) unless `distributed` or `loads` is False."""
  if config is not None:
    try:
      config_flag.define(config)
    except InputError as error:
      _fail(str(error))
  flags.DEFINE_string('workdir', None, 'Folder of the run. Called again with the same one, a stopped run goes on.',
                      required=True)
  flags.DEFINE_integer('devices', None, 'Local devices to use (on a CPU, that many are made); default: the largest number '
                       'that divides the batch, of all local devices (on a CPU, of one for each core that the process may use, '
                       f'up to {devices.MOST_CPU_DEVICES}; of a process of --distributed, one).', lower_bound=1)
  if distributed:
    flags.DEFINE_boolean('distributed', False, 'Join the other processes of this run, each started with the same command by '
                         f'srun, by mpirun, on a TPU pod, or with {", ".join(processes.VARIABLES)} set.')
  if loads:
    flags.DEFINE_boolean('trust_workdir', False, 'Import and call the functions that the configs of the workdirs name as '
                         'package.module:factory. Without it, only those that you name yourself, or that your own runs on this '
                         'machine had.')
  flags.DEFINE_string('profile', None, 'Folder for a JAX trace of the whole command, for TensorBoard or Perfetto.')
  for flag in ('config', 'workdir', 'devices', 'distributed', 'trust_workdir', 'profile'):
    if flag in FLAGS:  # --help of a command shows these too, not only its own
      FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[flag])


def _parse(argv: Sequence[str]) -> list[str]:
  try:
    rest = config_flag.parse(argv)
  except InputError as error:
    _fail(str(error))
  for name in FLAGS:
    if FLAGS[name].present and FLAGS[name].value == '':  # an unset variable, and a workdir would be this folder
      _fail(f'--{name} is empty: give it a value, or leave it out.')
  return rest


def _fail(message: str, more: str = '') -> None:
  where = '' if processes.is_first() else f'process {jax.process_index()}: '
  print(wording.as_installed(f'{where}error: {message}{more}'), file=sys.stderr)
  _leave(1)


def _leave(status: int) -> None:
  """Ends this process. If it is one of several, out of order, which ends the others: in order, it would wait for them."""
  if processes.is_multiprocess():
    if processes.is_first():
      time.sleep(1)  # the others may have something to say too, and end with this one
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


def _stop(signum: int, frame: Any) -> None:
  """SIGTERM outside of training. Files are whole or not there, so there is nothing to save and no work to wait for."""
  del signum, frame
  print('Stopped. Run the same command again to go on.', file=sys.stderr)
  sys.stdout.flush()
  os._exit(TRY_AGAIN)


class _OwnMessages(std_logging.Filter):
  """Lets our own messages through, and only warnings of the libraries."""

  def filter(self, record: std_logging.LogRecord) -> bool:
    if record.pathname.startswith(OURS):
      return True
    return record.levelno >= std_logging.WARNING and not record.exc_info  # which is raised too, and told in our words


def _compile_cache() -> str | None:
  """The user's own, since what is in it is machine code, which must not come with a workdir; None if there cannot be one."""
  try:
    path = files.state_folder() / 'compiled'
    path.mkdir(parents=True, exist_ok=True)
  except (InputError, OSError):
    return None
  return str(path) if os.access(path, os.W_OK) else None


def _trusted() -> set[str]:
  """The names that trust.allow gets: those in the config of this call, or any if a flag says so."""
  if 'trust_workdir' in FLAGS and FLAGS.trust_workdir:
    return {trust.ANY}
  return trust.own_names(config_flag.value()) if 'config' in FLAGS else set()


def _setup() -> None:
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(_OwnMessages())
  logging.get_absl_handler().setFormatter(std_logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  if 'devices' not in FLAGS:  # a command that computes nothing
    return
  distributed = 'distributed' in FLAGS and FLAGS.distributed
  if FLAGS.devices is not None or not distributed:  # several processes may share the cores, and need equally many devices
    devices.make_cpu_devices(FLAGS.devices)
  if jax.config.jax_compilation_cache_dir is None:  # nor does JAX_COMPILATION_CACHE_DIR name one
    jax.config.update('jax_compilation_cache_dir', _compile_cache())
    # Also what is small: a network draws its parameters by a hundred programs, 7 s of compiling together.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.05)
  if distributed:
    processes.initialize()
  if not processes.is_first():
    logging.set_verbosity(logging.ERROR)
    sys.stdout = open(os.devnull, 'w')


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls main(): wrong input ends with one sentence, a signal with what to do next."""

  def wrapped(argv):
    if len(argv) > 1:
      _fail(f'Unexpected argument {argv[1]!r}: flags are written --name=value.')
    try:
      _setup()
      signal.signal(signal.SIGTERM, _stop)
      profile = jax.profiler.trace(FLAGS.profile) if 'profile' in FLAGS and FLAGS.profile else contextlib.nullcontext()
      with profile, trust.allow(*_trusted()):
        main()
      sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as after `| head`
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      sys.exit(1)
    except loop.NotFinite as error:
      again = f'{error.variable}=True {wording.command()} --devices=1'
      _fail(str(error), f'\nTo run that step again and see where it happens: {again}')
    except InputError as error:
      _fail(str(error))
    except loop.Stopped as stopped:
      print(stopped, file=sys.stderr)
      sys.exit(130 if stopped.signum == signal.SIGINT else TRY_AGAIN)
    except KeyboardInterrupt:
      print('Stopped. Run the same command again to go on.', file=sys.stderr)
      sys.exit(130)
    except Exception:
      if not processes.is_multiprocess():
        raise
      traceback.print_exc()
      _leave(1)

  main_module = sys.modules['__main__']
  main_module.__doc__ = wording.as_installed(main_module.__doc__ or '')  # what --help begins with
  for name in FLAGS:
    FLAGS[name].help = wording.as_installed(FLAGS[name].help or '')
  for flag in FLAGS.get_flags_for_module(__name__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # so that --help shows it
  app.run(wrapped, flags_parser=_parse)
