"""The operations of image networks and their derivatives, which are written by hand, against plain ones."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inverse_matching.nets import operations

ROUNDING = 2.0**-8  # of bfloat16
# name -> (window, shape of the kernel, height and width of the image)
WINDOWS = {
    'down': (operations.Window(((1, 0), (1, 1))), (2, 3, 3, 2), (6, 4)),
    'right': (operations.Window(((1, 0), (1, 0))), (2, 2, 3, 2), (5, 5)),
    'row': (operations.Window(((0, 0), (1, 1))), (1, 3, 3, 2), (3, 5)),
    'stride': (operations.Window(((1, 0), (1, 1)), stride=2), (2, 3, 3, 2), (6, 4)),
    'dilated': (operations.Window(((2, 2), (2, 2)), dilation=2), (3, 3, 3, 2), (6, 5)),
}


def draws(*shapes):
  return [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


def test_concat_elu_is_two_elus():
  """Values and gradients of [elu(x), elu(-x)], at zero too."""
  x = jnp.concatenate([jnp.linspace(-20, 20, 401), jnp.array([0.0, -0.0, 1e-6, -1e-6, 100.0, -100.0])])[:, None]
  expected = lambda x: jnp.concatenate([jax.nn.elu(x), jax.nn.elu(-x)], -1)
  np.testing.assert_allclose(operations.concat_elu(x), expected(x), rtol=1e-6, atol=1e-7)
  for weights in ((1.0, 0.0), (0.0, 1.0)):
    slope = lambda f, w=weights: jax.grad(lambda x: jnp.sum(f(x) * jnp.array([w])))(x)
    np.testing.assert_allclose(slope(operations.concat_elu), slope(expected), rtol=1e-6, atol=1e-7)


def test_gate():
  """x + value sigmoid(gate), value before gate."""
  x, h = draws((2, 3, 4, 5), (2, 3, 4, 10))
  np.testing.assert_allclose(operations.gated(x, h), x + h[..., :5] / (1 + jnp.exp(-h[..., 5:])), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', WINDOWS)
def test_convolution(name):
  """Value, gradients and tangents in float32 are those of the plain convolution."""
  window, shape, size = WINDOWS[name]
  args = draws((5, *size, shape[2]), shape, shape[3:])
  plain = lambda x, kernel, bias: window.convolve(x, kernel) + bias
  ours = lambda x, kernel, bias: operations.convolution(x, kernel, bias, **window._asdict())
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
  grads = lambda f: jax.grad(lambda *args: jnp.sum(jnp.sin(f(*args))), (0, 1, 2))(*args)
  jax.tree.map(close, (ours(*args), grads(ours)), (plain(*args), grads(plain)))
  tangents = [a + 1 for a in args]
  jax.tree.map(close, jax.jvp(ours, args, tangents), jax.jvp(plain, args, tangents))


@pytest.mark.parametrize('name', [name for name in WINDOWS if name != 'stride'])
def test_gradients_by_products(name):
  """The form in which gradients in bfloat16 are computed, here in float32: those of the plain convolution."""
  window, shape, size = WINDOWS[name]
  x, kernel, g = draws((5, *size, shape[2]), shape, (5, *size, shape[3]))
  got, expected = operations._by_products(window, x, kernel, g), jax.vjp(window.convolve, x, kernel)[1](g)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), got, expected)


@pytest.mark.parametrize('name', WINDOWS)
def test_convolution_in_bfloat16(name):
  """Values and gradients have that type, and are those of float32 up to its rounding."""
  window, shape, size = WINDOWS[name]
  args = draws((5, *size, shape[2]), shape, shape[3:])
  lower = [a.astype(jnp.bfloat16) for a in args]
  args = [a.astype(jnp.float32) for a in lower]
  value = lambda *args: operations.convolution(*args, **window._asdict())
  weights = jax.random.normal(jax.random.key(9), value(*args).shape).astype(jnp.bfloat16).astype(jnp.float32)
  grads = lambda args: jax.grad(lambda *args: jnp.sum(value(*args).astype(jnp.float32) * weights), (0, 1, 2))(*args)
  for got, expected in zip((value(*lower), *grads(lower)), (value(*args), *grads(args))):
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), expected, rtol=ROUNDING, atol=ROUNDING * float(jnp.abs(expected).max()))
