"""The library oneDNN, which makes bfloat16 fast on CPUs that compute it: XLA calls it where a program is compiled to do so."""
import functools
import pathlib
import platform
from typing import Any, Mapping

from absl import logging
import jax
import jax.numpy as jnp

from inverse_matching.errors import InputError

OPTIONS = {'xla_cpu_experimental_onednn_custom_call': True}
INSTRUCTIONS = {'amx_bf16', 'avx512_bf16'}  # of which a CPU has one if oneDNN gains there
TOLERANCE = 2.0**-6  # of a product in bfloat16, relative to its largest value


def compiler_options() -> dict[str, bool] | None:
  """Returns the options for the compiler of a program in bfloat16, or None where there is nothing to gain.

  They are for programs that train: neither flags nor environment, which would reach every program.

  Raises:
    InputError: a product or a convolution comes out wrong here.
  """
  if not _gains():
    if jax.default_backend() == 'cpu':
      logging.warning('bfloat16 gains nothing on this CPU with this JAX, and may take twice as long: '
                      'config.train.precision=float32, in another --workdir, ends at the same loss.')
    return None
  return dict(OPTIONS) if _works() else None


def compile_with(lowered: jax.stages.Lowered, options: Mapping[str, Any]) -> jax.stages.Compiled:
  """Returns the program compiled with these options, without an attempt to write it into the cache of compiled programs.

  One that calls a library cannot be written there (jax 0.12): the attempt fails loudly.
  """
  least = jax.config.jax_persistent_cache_min_compile_time_secs
  jax.config.update('jax_persistent_cache_min_compile_time_secs', float('inf'))
  try:
    return lowered.compile(compiler_options=dict(options))
  finally:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', least)


def _gains() -> bool:
  version = tuple(int(part) for part in jax.__version__.split('.')[:2])
  if jax.default_backend() != 'cpu' or platform.machine() != 'x86_64' or version < (0, 12):
    return False
  try:
    flags = pathlib.Path('/proc/cpuinfo').read_text().partition('flags')[2].partition('\n')[0]
  except OSError:
    return False
  return not INSTRUCTIONS.isdisjoint(flags.split())


@functools.cache
def _works() -> bool:
  # Smaller ones are not left to the library.
  x = jax.random.normal(jax.random.key(0), (32, 28, 28, 64))
  kernel = jax.random.normal(jax.random.key(1), (2, 3, 64, 32))

  def both(x, kernel):
    convolved = jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 0), (1, 1)), dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    return x.reshape(-1, 64) @ kernel[0, 0], convolved

  lower = [a.astype(jnp.bfloat16) for a in (x, kernel)]
  try:
    found = compile_with(jax.jit(both).lower(*lower), OPTIONS)(*lower)
    errors = [float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in zip(found, both(x, kernel))]
  except jax.errors.JaxRuntimeError as error:
    reason = str(error).partition('\n')[0]
    raise InputError(f'oneDNN cannot be used here ({reason}): set config.train.precision=float32.') from error
  if not max(errors) <= TOLERANCE:
    raise InputError(f'oneDNN computes bfloat16 wrongly here (relative errors {errors[0]:.2g} of a product and {errors[1]:.2g} '
                     'of a convolution): set config.train.precision=float32.')
  return True
