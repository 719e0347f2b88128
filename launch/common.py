"""What the command lines share: flags, errors in one sentence, devices, the compile cache."""
import contextlib
import logging as std_logging
import os
import pathlib
import re
import runpy
import shlex
import signal
import sys
from typing import Any, Callable, Sequence

from absl import app, flags, logging
import jax
from ml_collections import config_flags

from inverse_matching import loop, registry
from inverse_matching.errors import InputError

FLAGS = flags.FLAGS


def define_flags(config: str | None = None) -> None:
  """Flags of all commands that compute; --config too if a default is given."""
  if config is not None:
    with _refusals(sys.argv, config):  # fields given on the command line are put into the default here
      config_flags.DEFINE_config_file('config', config, 'Experiment: configs/F.py[:variant]; fields as --config.a.b=value.',
                                      lock_config=True)
  flags.DEFINE_string('workdir', None, 'Folder of the run. Called again with the same one, a stopped run goes on.',
                      required=True)
  flags.DEFINE_integer('devices', None, 'Local devices to use (on a CPU, that many are made); default: the largest number '
                       'that divides the batch.', lower_bound=1)
  flags.DEFINE_string('profile', None, 'Folder for a JAX trace of the whole command, for TensorBoard or Perfetto.')
  for flag in ('config', 'workdir', 'devices', 'profile'):
    if flag in FLAGS:  # --help of a command shows these too, not only its own
      FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[flag])


def config() -> dict[str, Any]:
  """The config of the flags as a plain dict."""
  try:
    return FLAGS.config.to_dict()
  except OSError as error:
    raise InputError(f'The config cannot be read: {_last_line(error)}.') from error


def command() -> str:
  """The command line, as somebody would type it."""
  module = re.sub(r'.*?(launch|benchmarks)/(\w+)\.py$', r'\1.\2', sys.argv[0].replace(os.sep, '/'))
  return shlex.join(['python', '-m', module, *sys.argv[1:]])


def _parse(argv: Sequence[str]) -> list[str]:
  with _refusals(argv, FLAGS['config'].default if 'config' in FLAGS else None):
    return FLAGS(list(argv))


@contextlib.contextmanager
def _refusals(argv: Sequence[str], default: str | None):
  """Ends with one sentence where the flags or the config are wrong."""
  try:
    yield
  except (AttributeError, KeyError) as error:
    # ml_collections names neither the field nor its neighbours on the command line.
    given = [arg.lstrip('-').partition('=') for arg in argv[1:]]
    path = next((value for name, _, value in reversed(given) if name == 'config'), default)
    for name, _, _ in given:
      if name.startswith('config.') and (wrong := _unknown(path, name.split('.')[1:])):
        _fail(wrong)
    _fail(f'The config cannot be read: {_last_line(error)}.')
  except (flags.Error, ValueError, TypeError, OSError) as error:
    if '\n' in str(error).strip():  # of the config file, with its traceback
      _fail(f'The config cannot be read: {_last_line(error)}')
    _fail(str(error).replace('FATAL Flags parsing error: ', ''))


def _last_line(error: Exception) -> str:
  return str(error).strip().splitlines()[-1].strip()


def _unknown(path: str, fields: Sequence[str]) -> str | None:
  file, colon, variant = path.partition(':')
  node = runpy.run_path(file)['get_config'](*([variant] if colon else []))
  for i, field in enumerate(fields):
    if not hasattr(node, 'keys'):
      return None
    if field not in node:
      place = '.'.join(['config', *fields[:i]])
      return (f'{place} has no field {field!r}{registry.nearest(field, node.keys())}: its fields are '
              f'{", ".join(node.keys())}.')
    node = node[field]
  return None


def _fail(message: str) -> None:
  print(f'error: {message}', file=sys.stderr)
  sys.exit(1)


class _OwnMessages(std_logging.Filter):
  """Lets our own messages through, and only warnings of the libraries."""

  def filter(self, record: std_logging.LogRecord) -> bool:
    return record.levelno >= std_logging.WARNING or 'inverse_matching' in record.pathname or 'launch' in record.pathname


def _setup() -> None:
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(_OwnMessages())
  logging.get_absl_handler().setFormatter(std_logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  if 'workdir' not in FLAGS:  # a command that computes nothing
    return
  if FLAGS.devices is not None:
    jax.config.update('jax_num_cpu_devices', FLAGS.devices)
  # z, T, T^-1 and likelihoods are exact to float32; accelerators would round matrix products to TF32 or bfloat16.
  jax.config.update('jax_default_matmul_precision', 'highest')
  jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(FLAGS.workdir).absolute() / '.cache'))


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls main(): wrong input ends with one sentence, a signal with what to do next."""

  def wrapped(argv):
    if len(argv) > 1:
      _fail(f'Unexpected argument {argv[1]!r}: flags are written --name=value.')
    _setup()
    try:
      with jax.profiler.trace(FLAGS.profile) if 'profile' in FLAGS and FLAGS.profile else contextlib.nullcontext():
        main()
    except InputError as error:
      _fail(str(error))
    except loop.Stopped as stopped:
      print(stopped, file=sys.stderr)
      sys.exit(0 if stopped.signum == signal.SIGTERM else 130)
    except KeyboardInterrupt:
      print('Stopped. Run the same command again to go on.', file=sys.stderr)
      sys.exit(130)

  for flag in FLAGS.get_flags_for_module(__name__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # so that --help shows it
  app.run(wrapped, flags_parser=_parse)
