"""oneDNN is asked for where it gains, and is not trusted blindly."""
import pathlib
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching.errors import InputError
from inverse_matching.nets import operations
from inverse_matching.runtime import onednn
from inverse_matching.runtime.devices import Step, map_step

HERE = onednn._gains()


@pytest.fixture
def machine(monkeypatch):
  """A CPU with AMX, seen through what `_gains` reads; returns a function that changes it."""

  def be(flags='fpu avx2 amx_bf16 amx_tile', version='0.12.0', backend='cpu', architecture='x86_64'):
    monkeypatch.setattr(pathlib.Path, 'read_text', lambda self: f'processor : 0\nflags\t\t: {flags}\nbugs : \n')
    monkeypatch.setattr(jax, '__version__', version)
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    monkeypatch.setattr(onednn.platform, 'machine', lambda: architecture)

  be()
  return be


def test_where_it_gains(machine, monkeypatch):
  """On x86 with bfloat16 in hardware, by a new enough jax, and nowhere else, which a CPU tells."""
  warning = mock.Mock()
  monkeypatch.setattr(onednn.logging, 'warning', warning)
  assert onednn._gains()
  for change in ({'flags': 'fpu avx2'}, {'version': '0.10.2'}, {'backend': 'gpu'}, {'architecture': 'aarch64'}):
    machine(**change)
    assert not onednn._gains(), change
    assert onednn.compiler_options() is None
  assert warning.call_count == 3
  machine(flags='avx512_bf16', version='1.0.0')
  assert onednn._gains()


def test_a_wrong_product_is_refused(machine, monkeypatch):
  """Whatever it is compiled to, the check at the start compares with float32; an option that is unknown is one sentence too."""
  monkeypatch.setattr(onednn, 'OPTIONS', {})
  onednn._works.cache_clear()
  assert onednn.compiler_options() == {}
  onednn._works.cache_clear()
  wrong = mock.Mock(return_value=(jnp.zeros((25088, 32)), jnp.zeros((32, 28, 28, 32))))
  with monkeypatch.context() as patch:
    patch.setattr(jax.stages.Lowered, 'compile', lambda self, compiler_options: wrong)
    with pytest.raises(InputError, match='wrongly here .*: set config.train.precision=float32'):
      onednn.compiler_options()
  monkeypatch.setattr(onednn, 'OPTIONS', {'xla_no_such_option': True})
  with pytest.raises(InputError, match='oneDNN cannot be used here .*: set config.train.precision=float32'):
    onednn.compiler_options()
  onednn._works.cache_clear()


@pytest.mark.skipif(not HERE, reason='this CPU or this jax does not gain by oneDNN')
def test_the_check_keeps_out_of_the_compile_cache(tmp_path):
  """Where programs are kept, the one of the check is not: jax would warn that it cannot be written."""
  code = ('import jax; from inverse_matching.runtime import onednn; '
          f'jax.config.update("jax_compilation_cache_dir", {str(tmp_path)!r}); '
          'jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0); print(onednn.compiler_options())')
  run = subprocess.run([sys.executable, '-W', 'error', '-c', code], capture_output=True, text=True, check=True)
  assert str(onednn.OPTIONS) in run.stdout and 'cache' not in run.stderr


@pytest.mark.skipif(not HERE, reason='this CPU or this jax does not gain by oneDNN')
def test_the_program_calls_it_and_computes_the_same():
  """With the options a step on two devices calls the library, keeps out of the compile cache, and has the values of float32."""
  options = onednn.compiler_options()
  x, w = (jax.random.normal(jax.random.key(i), shape).astype(jnp.bfloat16) for i, shape in enumerate([(65536, 64), (64, 64)]))
  step = Step(lambda state, constants, batch: jnp.sum((batch @ state).astype(jnp.float32), 0), lambda *results: results)
  product = x.astype(jnp.float32) @ w.astype(jnp.float32)
  convolve = operations.Window(((1, 0), (1, 1))).convolve
  args = jnp.ones((32, 28, 28, 64), jnp.bfloat16), jnp.ones((2, 3, 64, 32), jnp.bfloat16)
  assert '__onednn$convolution' in onednn.compile_with(jax.jit(convolve).lower(*args), options).as_text()
  before = jax.config.jax_persistent_cache_min_compile_time_secs
  _, got = map_step(step, 2, options)(w, None, np.asarray(x))
  assert jax.config.jax_persistent_cache_min_compile_time_secs == before
  np.testing.assert_allclose(got, product.reshape(2, -1, 64).sum(1).mean(0), atol=1e-4 * float(jnp.abs(product).sum(0).max()))
