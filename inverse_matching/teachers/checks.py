"""What a teacher must be, tried on random input before it is trained."""
import math
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching.errors import InputError
from inverse_matching.types import Array, Cond, Params, Teacher, sum_event

BATCH = 32
CUTS = 64  # at most; an event of as many dimensions is tried at every one
TOLERANCE = 1e-5  # of theta, relative: convolutions by Fourier or Winograd transforms spread rounding errors
LENGTH = 8  # of a time axis of variable length, where none is given
_FAR = 1e8  # an x whose z is beyond the mass of a prior, for any scale of a conditional at initialisation
_EXAMPLES = 4  # whose gradients tell what is seen: at one of them a saturated unit may hide it
_BEYOND = 8.0  # nats by which a prior must have fallen there

Forward = Callable[[Params, np.ndarray], tuple[Any, Array, Array]]  # (params, x) -> (theta or None, z, log_det)


def check(teacher: Teacher, params: Params, *, length: int | None = None, cond: Any = None) -> None:
  """Raises InputError unless shapes fit, numbers are finite, the prior is that of the map, and the conditional is causal.

  A conditional is tried at random parameters: dimensions from a cut on, in the teacher's order, are replaced, and theta must
  not change up to the cut. Events of more than CUTS dimensions are cut at random places, so a single wrong weight may escape.

  Args:
    teacher: to try; the blocks of a chain are tried one by one.
    params: of its init.
    length: of a time axis of variable length, if the teacher does not take any.
    cond: shapes of the cond of one example, without the batch axis, such as jax.ShapeDtypeStruct; numbers are drawn.
  """
  cond = draw_cond(cond)
  for block, block_params in zip(teacher.blocks, params) if teacher.blocks else [(teacher, params)]:
    _check_one(block, block_params, length or LENGTH, cond)


def blind_spots(teacher: Teacher, params: Params) -> tuple[int, int]:
  """(how many pairs, of how many): pairs of dimensions where theta of one does not depend on the earlier x of the other.

  A masked network may leave some, which makes it a weaker model and not a wrong one: all paths from one pixel to the other may
  lead out of the image. Looked for in gradients of a few examples at random parameters, for images of up to some thousand
  dimensions.

  Args:
    teacher: autoregressive, with a fixed event shape.
    params: of its init.
  """
  event, num_dims = teacher.event_shape, math.prod(teacher.event_shape)
  params, x = moved(params), _draw(teacher, event)[:_EXAMPLES]

  def theta_of(x):
    leaves = jax.tree.leaves(teacher.conditional(params, x, None))
    return sum(jnp.sum(leaf.reshape(_EXAMPLES, num_dims, -1), (0, -1)) for leaf in leaves)

  _, vjp = jax.vjp(theta_of, x)
  rows = jax.jit(jax.vmap(lambda one: (vjp(one)[0].reshape(_EXAMPLES, -1) != 0).any(0)))
  identity = np.eye(num_dims, dtype=np.float32)
  seen = np.concatenate([np.asarray(rows(identity[i:i + CUTS])) for i in range(0, num_dims, CUTS)])
  order = np.arange(num_dims) if teacher.order is None else np.asarray(teacher.order)
  earlier = np.tril_indices(num_dims, -1)
  return int(np.sum(~seen[np.ix_(order, order)][earlier])), len(earlier[0])


def _check_one(teacher: Teacher, params: Params, length: int, cond: Cond) -> None:
  event = tuple(length if n is None else n for n in teacher.event_shape)

  def forward(params, x):
    theta = None if teacher.conditional is None else teacher.conditional(params, x, cond)
    return theta, *teacher.x_to_z(params, x, cond)

  _check_shapes(teacher, params, event, cond, forward)
  forward, x = jax.jit(forward), _draw(teacher, event)
  theta, z, log_det = forward(params, x)
  for name, value in {**_named(theta), 'z': z, 'log_det': log_det}.items():
    bad = np.asarray(value)[~np.isfinite(value)]
    if bad.size:
      raise InputError(f'{name} of the teacher is {bad[0]} on a random x, with the parameters of init: keep it finite, such as '
                       'a log-scale by 7 * tanh(log_scale / 7).')
  if teacher.conditional is not None:
    _check_causal(teacher, moved(params), x, forward)
  if None not in teacher.event_shape:
    _check_prior(teacher, params, x, np.asarray(z), forward)


def _check_theta(teacher: Teacher, theta: Any) -> None:
  """InputError if theta is not of the kind that the map takes: a tuple of numbers, say, in place of a Gaussian."""
  wanted = jax.eval_shape(teacher.elementwise.split, jax.ShapeDtypeStruct((1, teacher.elementwise.num_params), jnp.float32))
  if hasattr(wanted, '_fields') and not isinstance(theta, type(wanted)):
    raise InputError(f'The conditional of the teacher returned {kind(theta)}: return '
                     f'{type(wanted).__name__}({", ".join(wanted._fields)}), each [B, *event].')


def _check_shapes(teacher: Teacher, params: Params, event: tuple[int, ...], cond: Cond, forward: Forward) -> None:
  x = jax.ShapeDtypeStruct((BATCH, *event), jnp.float32)

  def demand(name, shape, want, relation='be'):
    if shape != want:
      raise InputError(f'{name} of the teacher has shape {list(shape)} for x of {list(x.shape)}: it must {relation} '
                       f'{list(want)}.')

  if teacher.conditional is not None:
    theta = jax.eval_shape(teacher.conditional, params, x, cond)
    if teacher.elementwise is not None:
      _check_theta(teacher, theta)
    for name, leaf in _named(theta).items():
      if leaf.shape[:x.ndim] != x.shape:  # theta may hold several numbers for each dimension
        demand(name, leaf.shape, x.shape, 'begin with')
  _, z, log_det = jax.eval_shape(forward, params, x)
  demand('z', z.shape, x.shape)
  demand('log_det', log_det.shape, x.shape[:1])
  if None not in teacher.event_shape:
    draw = jax.eval_shape(lambda: teacher.prior.sample(jax.random.split(jax.random.key(0), BATCH)))
    demand('A draw of the prior', draw.shape, x.shape)


def _check_prior(teacher: Teacher, params: Params, x: np.ndarray, z: np.ndarray, forward: Forward) -> None:
  """All z must have mass under the prior, and all mass of the prior must be reached (tried in the last dimension alone)."""
  log_prob = jax.jit(lambda z: sum_event(teacher.prior.log_density(z)))
  inside = np.asarray(log_prob(z))
  if not np.isfinite(inside).all():
    raise InputError(f'The prior of the teacher is not that of its map: x_to_z gives z from {z.min():.3g} to {z.max():.3g}, '
                     'where the log density of the prior is not finite.')
  if teacher.conditional is None:
    return
  last = -1 if teacher.order is None else teacher.order[-1]
  x, z = x.reshape(BATCH, -1).copy(), z.reshape(BATCH, -1).copy()
  x[:, last] = np.where(np.arange(BATCH) % 2 == 0, -_FAR, _FAR)
  reached = np.asarray(forward(params, x.reshape(BATCH, *teacher.event_shape))[1]).reshape(BATCH, -1)[:, last]
  low, high = reached.min(), reached.max()
  margin = 0.01 * (high - low)
  z[:, last] = np.where(np.arange(BATCH) % 2 == 0, low - margin, high + margin)
  beyond = np.asarray(log_prob(z.reshape(BATCH, *teacher.event_shape)))
  if np.any(beyond > inside - _BEYOND):
    raise InputError(f'The prior of the teacher is not that of its map: in the last dimension z lies between {low:.3g} and '
                     f'{high:.3g} for any x, but the prior has mass beyond.')


def _check_causal(teacher: Teacher, params: Params, x: np.ndarray, forward: Forward) -> None:
  event, num_dims = x.shape[1:], x[0].size
  order = np.arange(num_dims) if teacher.order is None else np.asarray(teacher.order)
  same, other = (row.reshape(1, -1).repeat(BATCH, 0) for row in x[:2])

  def theta_of(x):
    leaves = jax.tree.leaves(forward(params, x.reshape(BATCH, *event))[0])
    return np.concatenate([np.asarray(leaf).reshape(BATCH, num_dims, -1)[:, order] for leaf in leaves], -1)

  before = theta_of(same)

  def changes(cuts):
    """[len(cuts), T], in order: whether theta changes when the dimensions from each cut on are replaced."""
    replaced = same.copy()
    for row, cut in enumerate(cuts):
      replaced[row, order[cut:]] = other[row, order[cut:]]
    after = theta_of(replaced)
    kept = (np.abs(after - before) <= TOLERANCE * (1 + np.abs(before))) | (np.isnan(after) & np.isnan(before))
    return ~kept.all(-1)[:len(cuts)]

  cuts = np.sort(np.random.default_rng(0).permutation(num_dims)[:CUTS])
  for some in np.split(cuts, range(BATCH, len(cuts), BATCH)):
    wrong = changes(some) & (np.arange(num_dims) <= some[:, None])
    if not wrong.any():
      continue
    row = int(np.flatnonzero(wrong.any(1))[0])
    reader = int(np.flatnonzero(wrong[row])[0])
    read, past = int(some[row]), num_dims  # the last cut that still changes it is the dimension that it reads
    while past - read > 1:
      middle = (read + past) // 2
      read, past = (middle, past) if changes([middle])[0, reader] else (read, middle)
    place = lambda k: [int(i) for i in np.unravel_index(order[k], event)]
    what = 'x there' if read == reader else f'x at {place(read)} (number {read}), which comes later'
    raise InputError(f'The conditional of the teacher is not causal: theta at {place(reader)}, number {reader} in its order, '
                     f'reads {what}; it may read only what comes before.')


def _draw(teacher: Teacher, event: tuple[int, ...]) -> np.ndarray:
  """Random x [BATCH, *event]; over all levels if it is discrete."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(BATCH, *event)) if teacher.levels is None else rng.uniform(0, teacher.levels, (BATCH, *event))
  return x.astype(np.float32)


def draw_cond(shapes: Any) -> Cond:
  """Random numbers of those shapes, the same for all examples; zeros where they are whole."""
  rng = np.random.default_rng(1)

  def draw(leaf):
    value = rng.normal(size=leaf.shape) if jnp.issubdtype(leaf.dtype, jnp.floating) else np.zeros(leaf.shape)
    return np.broadcast_to(value.astype(leaf.dtype), (BATCH, *leaf.shape))

  return jax.tree.map(draw, shapes)


def moved(params: Params) -> Params:
  """Parameters away from those of init, whose zeros would hide what is read."""
  rng = np.random.default_rng(0)

  def move(leaf):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    fan_in = math.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 10
    return np.asarray(leaf) + (rng.normal(size=leaf.shape) / math.sqrt(fan_in)).astype(leaf.dtype)

  return jax.tree.map(move, params)


def kind(value: Any) -> str:
  """What it is, for messages: of an array only the shape is known here."""
  return 'an array' if isinstance(value, jax.ShapeDtypeStruct) else f'a {type(value).__name__}'


def _named(theta: Any) -> dict[str, Array]:
  return {f'theta{jax.tree_util.keystr(path)}': leaf for path, leaf in jax.tree_util.tree_leaves_with_path(theta)}
