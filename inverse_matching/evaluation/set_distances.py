"""How far one set of samples is from another: x [N, F] against a reference y [M, F].

A distance of sets is a function (x, y) -> statistic: what all subsets share is computed once, and the statistic takes the
indices (i of x, j of y) that are kept, as statistics.jackknife does. Its value on all is statistic(arange(N), arange(M)).
"""
from typing import Callable, NamedTuple

import numpy as np
from scipy.spatial import distance
import scipy.special

from inverse_matching.errors import InputError

Statistic = Callable[[np.ndarray, np.ndarray], float]

NUM_DIRECTIONS = 128


def _flat(x: np.ndarray) -> np.ndarray:
  return np.asarray(x, np.float64).reshape(len(x), -1)


def sums(matrix: np.ndarray) -> Statistic:
  """The sum of the rows i and columns j of a matrix [N, M], from those that are left out: in a jackknife they are few."""
  rows, columns = matrix.sum(1), matrix.sum(0)
  total = rows.sum()

  def over(i, j):
    out_i, out_j = np.delete(np.arange(len(rows)), i), np.delete(np.arange(len(columns)), j)
    return float(total - rows[out_i].sum() - columns[out_j].sum() + matrix[np.ix_(out_i, out_j)].sum())

  return over


def u_statistic(kernel: np.ndarray) -> Callable[[np.ndarray], float]:
  """Mean of k(x_i, x_j) over i != j of those that are kept, of the kernel matrix [N, N]."""
  over, diagonal = sums(kernel), np.diagonal(kernel).copy()
  return lambda i: (over(i, i) - diagonal[i].sum()) / (len(i) * (len(i) - 1))


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """(x.y / F + 1)^3, [N, M]: the kernel of Binkowski et al. (2018), equation 3."""
  base = x @ y.T / x.shape[1] + 1
  return base * base * base


def kernel_statistic(x: np.ndarray, y: np.ndarray) -> Statistic:
  """The squared maximum mean discrepancy under the polynomial kernel, unbiased: KID (Binkowski et al., 2018).

  The full U-statistic (Gretton et al., 2012, equation 3), without blocks: 0 in the mean for equal laws, so it can be
  negative, and it compares across sample sizes.

  Args:
    x: [N, F].
    y: [M, F].
  """
  x, y = _flat(x), _flat(y)
  within_x, within_y = u_statistic(polynomial_kernel(x, x)), u_statistic(polynomial_kernel(y, y))
  between = sums(polynomial_kernel(x, y))
  return lambda i, j: within_x(i) + within_y(j) - 2 * between(i, j) / (len(i) * len(j))


def frechet_statistic(x: np.ndarray, y: np.ndarray) -> Statistic:
  """The squared Frechet distance of the Gaussians with the moments of x and y (FID: Heusel et al., 2017).

  The trace of (S_x S_y)^(1/2) is the nuclear norm of R_x R_y' for covariances S = R'R, with R from a QR factorisation of
  the centred sample: no square root of a matrix that is not symmetric, and it holds where N is near or below F. Biased
  upwards by an amount that depends on N, M and the law (Chong and Forsyth, 2020): compare equal sizes, beside the floor.

  Args:
    x: [N, F].
    y: [M, F].
  """
  x, y = _flat(x), _flat(y)

  def moments(a):
    mean = a.mean(0)
    root = np.linalg.qr(a - mean, mode='r') / np.sqrt(len(a) - 1)  # root' root is the covariance
    return mean, root

  def statistic(i, j):
    (mean_x, root_x), (mean_y, root_y) = moments(x[i]), moments(y[j])
    cross = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    return float(np.sum((mean_x - mean_y)**2) + np.sum(root_x**2) + np.sum(root_y**2) - 2 * cross)

  return statistic


class Manifolds(NamedTuple):
  """See nearest_neighbour_statistic."""
  precision: float
  recall: float
  density: float
  coverage: float


def nearest_neighbour_statistic(x: np.ndarray, y: np.ndarray, *, k_precision: int = 3,
                                k_density: int = 5) -> Callable[[np.ndarray, np.ndarray], Manifolds]:
  """Precision and recall (Kynkaanniemi et al., 2019); density and coverage (Naeem et al., 2020).

  The manifold of a set is the union of balls around its points that reach their k-th nearest neighbour. Precision: share of
  x within the manifold of y. Recall: share of y within the manifold of x. Density: mean number of the balls of y around a
  point of x, over k. Coverage: share of the balls of y that hold a point of x. All but density depend on the sample sizes.

  Args:
    x: [N, F] samples.
    y: [M, F] reference.
    k_precision: k of precision and recall.
    k_density: k of density and coverage.
  """
  x, y = _flat(x), _flat(y)
  if min(len(x), len(y)) <= max(k_precision, k_density):
    raise InputError(f'Sets of {len(x)} and {len(y)} samples have no {max(k_precision, k_density)} neighbours each: '
                     'evaluate more samples.')
  to_y = distance.cdist(x, y)
  among_x, among_y, from_y = (_nearest_kept(distances) for distances in (
      distance.cdist(x, x), distance.cdist(y, y), np.ascontiguousarray(to_y.T)))

  def statistic(i, j):
    kept_x, kept_y = np.isin(np.arange(len(x)), i), np.isin(np.arange(len(y)), j)
    # The nearest of all is the point itself. A ball of radius -1 holds nothing.
    x_radius = np.where(kept_x, among_x(kept_x, k_precision + 1), -1)
    y_radius, y_radius_density = (np.where(kept_y, among_y(kept_y, k + 1), -1) for k in (k_precision, k_density))
    return Manifolds(precision=float(np.mean((to_y <= y_radius).any(1)[i])),
                     recall=float(np.mean((to_y <= x_radius[:, None]).any(0)[j])),
                     density=float(np.mean(np.count_nonzero(to_y <= y_radius_density, axis=1)[i]) / k_density),
                     coverage=float(np.mean((from_y(kept_x, 1) <= y_radius_density)[j])))

  return statistic


def _nearest_kept(distances: np.ndarray, num: int = 32) -> Callable[[np.ndarray, int], np.ndarray]:
  """(points that are kept [M], k) -> distance to the k-th nearest of them, [N], of the distances [N, M].

  It is looked for among the `num` nearest of all, and among the others only where too few of those are kept.
  """
  index = np.argpartition(distances, min(num, distances.shape[1]) - 1, axis=1)[:, :num]
  nearest = np.take_along_axis(distances, index, axis=1)
  order = np.argsort(nearest, axis=1)
  index, nearest = (np.take_along_axis(values, order, axis=1) for values in (index, nearest))

  def kth(kept, k):
    reached = np.cumsum(kept[index], axis=1) >= k
    found = np.take_along_axis(nearest, reached.argmax(1)[:, None], axis=1)[:, 0]
    for row in np.flatnonzero(~reached[:, -1]):
      found[row] = np.partition(distances[row, kept], k - 1)[k - 1]
    return found

  return kth


def sliced_wasserstein_statistic(x: np.ndarray, y: np.ndarray, *, seed: int,
                                 num_directions: int = NUM_DIRECTIONS) -> Statistic:
  """Mean over random directions of the Wasserstein-1 distance of the projections (Bonneel et al., 2015, with p = 1).

  Exact in each direction for any N and M, as the integral of the absolute difference of the distribution functions.

  Args:
    x: [N, *event].
    y: [M, *event].
    seed: of the directions.
    num_directions: how many.
  """
  x, y = _flat(x), _flat(y)
  directions = np.random.default_rng(seed).normal(size=(x.shape[1], num_directions))
  directions /= np.linalg.norm(directions, axis=0)
  values = np.concatenate([x @ directions, y @ directions]).T  # [directions, N + M]
  order = np.argsort(values, axis=1)
  gaps = np.diff(np.take_along_axis(values, order, axis=1), axis=1)

  def statistic(i, j):
    weights = np.zeros(len(x) + len(y))
    weights[i], weights[len(x) + j] = 1 / len(i), -1 / len(j)
    difference = np.cumsum(weights[order], axis=1)[:, :-1]  # of the distribution functions, between neighbouring values
    return float(np.sum(np.abs(difference) * gaps) / num_directions)

  return statistic


def two_sample_test(x: np.ndarray, y: np.ndarray, *, seed: int, num_folds: int = 5) -> np.ndarray:
  """The classifier two-sample test (Lopez-Paz and Oquab, 2017): whether held-out examples were told apart, [2 n] of 0 and 1.

  A logistic regression on standardised features, cross-validated. n = min(N, M): the larger set is thinned at random, so
  chance is an accuracy (mean) of 1/2. It sees what is linear in the features. The examples are not quite independent, for
  they share the fitted models: at equal laws the accuracy spreads about a tenth more than that of as many coins.

  Args:
    x: [N, F].
    y: [M, F].
    seed: of the thinning and the folds.
    num_folds: of the cross-validation.
  """
  from sklearn import linear_model, model_selection, pipeline, preprocessing  # slow to import
  rng = np.random.default_rng(seed)
  n = min(len(x), len(y))
  if n < num_folds:
    raise InputError(f'The two-sample test needs {num_folds} samples of each set or more, got {n}.')
  inputs = np.concatenate([a[rng.permutation(len(a))[:n]] for a in (_flat(x), _flat(y))])
  labels = np.repeat([0, 1], n)
  folds = model_selection.StratifiedKFold(num_folds, shuffle=True, random_state=seed)
  model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=1000))
  return (model_selection.cross_val_predict(model, inputs, labels, cv=folds) == labels).astype(np.float64)


def histogram(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Share of each class [K] among labels [N]."""
  return np.bincount(labels, minlength=num_classes) / len(labels)


def entropy(shares: np.ndarray) -> float:
  """-sum p log p in nats, of shares [K]."""
  return float(np.sum(scipy.special.entr(shares)))


def num_classes_present(shares: np.ndarray, reference: np.ndarray) -> int:
  """Number of the reference's classes that have more than a third of their share there, of shares [K] and [K]."""
  return int(np.sum((reference > 0) & (shares > reference / 3)))


def total_variation(shares: np.ndarray, reference: np.ndarray) -> float:
  """Half the sum of the absolute differences of shares [K] and [K]."""
  return float(np.abs(shares - reference).sum() / 2)


def label_divergence(labels: np.ndarray, reference: np.ndarray, num_classes: int) -> float:
  """KL divergence in nats of the classes of labels [N] from those of the reference [M].

  Every class of the reference counts half a label more, so that one that it happens not to hold makes it large, not infinite.
  """
  expected = (np.bincount(reference, minlength=num_classes) + 0.5) / (len(reference) + 0.5 * num_classes)
  return float(np.sum(scipy.special.rel_entr(histogram(labels, num_classes), expected)))


def _nearest(x: np.ndarray, y: np.ndarray, chunk: int = 256) -> np.ndarray:
  """Distance [N] from each of x [N, F] to the nearest of y [M, F].

  In single precision it is found, in double precision it is measured: the distance to a copy is 0, and of others that are
  as near to rounding any will do.
  """
  centre = y.mean(0)
  single = (y - centre).astype(np.float32)
  squares = np.sum(single * single, axis=1)

  def of(part):
    index = np.argmin(squares - 2 * ((part - centre).astype(np.float32) @ single.T), axis=1)
    return np.linalg.norm(part - y[index], axis=1)

  return np.concatenate([of(x[i:i + chunk]) for i in range(0, len(x), chunk)])


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """|x_i - y_j|, [N, M]. Exact for integers: the distance to a copy is 0."""
  return np.sqrt(np.maximum(np.sum(x * x, 1)[:, None] + np.sum(y * y, 1) - 2 * x @ y.T, 0))


def _expected_nearest(distances: np.ndarray, m: int) -> np.ndarray:
  """Mean distance [N] to the nearest among m of n points, over all choices of m, of sorted distances [N, n]."""
  n = distances.shape[1]
  k = np.arange(1, n + 1)
  log_choose = lambda a, b: scipy.special.gammaln(a + 1) - scipy.special.gammaln(b + 1) - scipy.special.gammaln(a - b + 1)
  # The k-th nearest of all is the nearest of m when it is chosen with m - 1 of the n - k farther ones.
  weights = np.where(n - k >= m - 1, np.exp(log_choose(np.maximum(n - k, m - 1), m - 1) - log_choose(n, m)), 0)
  return distances @ weights


class Memorisation(NamedTuple):
  """See memorisation."""
  ratio: Callable[[np.ndarray], np.ndarray]  # integer images [N, *event] -> [Q] of the first ones
  data: np.ndarray  # [Q], of held-out images, each beside the other held-out images


def memorisation(train: np.ndarray, held_out: np.ndarray, *, num_queries: int = 1000) -> Memorisation:
  """Distance from each sample to its nearest training image over that to its nearest held-out image, sizes made equal.

  With more training than held-out images the nearest training image is nearer for that reason alone. The ratio is therefore
  multiplied by how much farther the nearest of a random subset of the training images, of the held-out set's size, would
  be: the mean over all subsets, in closed form, with held-out images in the place of samples. So 1 is a sampler
  that knows the law and not the training images, and 0 a sampler of copies. A sampler far from all images is as far from
  both sets, and lies above 1.

  Args:
    train: [L, *event] integer pixels.
    held_out: [M, *event] integer pixels, M <= L.
    num_queries: Q, the most samples that are looked at, and the most held-out images that stand in their place.
  """
  train, held_out = _flat(train), _flat(held_out)
  if not 2 <= len(held_out) <= len(train):
    raise InputError(f'memorisation needs 2 or more held-out images and no fewer training images, got {len(held_out)} and '
                     f'{len(train)}.')
  index = np.unique(np.linspace(0, len(held_out) - 1, min(num_queries, len(held_out))).astype(int))
  near_train, expected = [], []  # expected: for subsets of the size of the held-out images, and of one less
  for part in np.array_split(index, -(-len(index) // 100)):
    distances = np.sort(_distances(held_out[part], train), axis=1)
    near_train.append(distances[:, 0])
    expected.append([_expected_nearest(distances, len(held_out) - less) for less in (0, 1)])
  near_train, expected = np.concatenate(near_train), np.concatenate(expected, axis=1).mean(1)
  scale = np.mean(near_train)  # 0 if all held-out images are training images too
  correction, correction_data = expected / scale if scale else np.ones(2)
  among = _distances(held_out[index], held_out)
  among[np.arange(len(index)), index] = np.inf

  def ratio(x):
    x = _flat(x[:num_queries])
    return _ratio(_nearest(x, train), _nearest(x, held_out)) * correction

  return Memorisation(ratio, _ratio(near_train, among.min(1)) * correction_data)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """a / b; 1 where both are 0, infinite where b alone is."""
  with np.errstate(divide='ignore', invalid='ignore'):
    return np.where((a == 0) & (b == 0), 1.0, a / b)
