"""Distances of sets against loops, scipy, and closed forms."""
import functools
import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats

from inverse_matching.errors import InputError
from inverse_matching.evaluation import set_distances

RNG = np.random.default_rng


def whole(statistic, x, y, **settings):
  """Its value on all of both sets."""
  return statistic(x, y, **settings)(np.arange(len(x)), np.arange(len(y)))


def with_moments(rng, n, mean, covariance):
  """n points of exactly that sample mean and covariance."""
  x = rng.normal(size=(n, len(mean)))
  x = x - x.mean(0)
  x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
  return x @ np.linalg.cholesky(covariance).T + mean


def random_covariance(rng, size):
  """A positive definite matrix that commutes with no other."""
  root = rng.normal(size=(size, size))
  return root @ root.T / size + 0.1 * np.eye(size)


def test_kernel_distance_against_a_loop():
  """The U-statistic, pair by pair."""
  rng = RNG(0)
  x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 0.5
  k = lambda a, b: (np.dot(a, b) / 3 + 1)**3
  xx = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
  yy = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
  xy = [k(a, b) for a in x for b in y]
  expected = np.mean(xx) + np.mean(yy) - 2 * np.mean(xy)
  np.testing.assert_allclose(whole(set_distances.kernel_statistic, x, y), expected, rtol=1e-12)


def test_kernel_distance_is_unbiased():
  """Mean 0 for equal laws at small sizes; for a shift, the distance of the two moments in closed form (F = 1)."""
  rng = RNG(1)
  distance = functools.partial(whole, set_distances.kernel_statistic)
  null = [distance(rng.normal(size=(8, 4)), rng.normal(size=(12, 4))) for _ in range(3000)]
  assert abs(np.mean(null)) < 4 * scipy.stats.sem(null)
  assert min(null) < 0
  # (a b + 1)^3 = 1 + 3 ab + 3 a^2 b^2 + a^3 b^3: the moments of N(1/2, 1) are 1/2, 5/4, 13/8, those of N(0, 1) 0, 1, 0.
  expected = 3 * 0.5**2 + 3 * 0.25**2 + 1.625**2
  shifted = [distance(rng.normal(size=(40, 1)) + 0.5, rng.normal(size=(30, 1))) for _ in range(4000)]
  assert abs(np.mean(shifted) - expected) < 4 * scipy.stats.sem(shifted)
  assert scipy.stats.sem(shifted) < 0.1 * expected


def test_frechet_distance_of_two_gaussians():
  """Against the closed form with scipy's matrix square root."""
  rng = RNG(2)
  means, covariances = rng.normal(size=(2, 6)), [random_covariance(rng, 6) for _ in range(2)]
  x, y = (with_moments(rng, n, m, c) for n, m, c in zip((40, 70), means, covariances))
  root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
  expected = np.sum((means[0] - means[1])**2) + np.trace(covariances[0] + covariances[1] - 2 * root)
  np.testing.assert_allclose(whole(set_distances.frechet_statistic, x, y), expected, rtol=1e-9)


@pytest.mark.parametrize('n', [3, 8, 9])
def test_frechet_distance_with_few_samples(n):
  """Singular covariances (N at or below F): against the eigenvalues of the product; 0 for equal sets."""
  rng = RNG(3)
  x, y = rng.normal(size=(n, 8)), rng.normal(size=(30, 8)) * 2
  covariances = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
  eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real
  expected = (np.sum((x.mean(0) - y.mean(0))**2) + np.trace(covariances[0] + covariances[1]) -
              2 * np.sqrt(eigenvalues[eigenvalues > 1e-9]).sum())
  np.testing.assert_allclose(whole(set_distances.frechet_statistic, x, y), expected, rtol=1e-6)
  np.testing.assert_allclose(whole(set_distances.frechet_statistic, x, x[::-1]), 0, atol=1e-12)


def test_nearest_neighbour_metrics_against_loops():
  """Balls, point by point, with the k-th neighbour from a sorted list."""
  rng = RNG(2)
  x, y = rng.normal(size=(12, 2)), rng.normal(size=(20, 2)) + 1
  norm = lambda a, b: float(np.sqrt(np.sum((a - b)**2)))
  radius = lambda points, i, k: sorted(norm(points[i], p) for j, p in enumerate(points) if j != i)[k - 1]
  k_precision, k_density = 2, 4
  expected = set_distances.Manifolds(
      precision=np.mean([any(norm(a, b) <= radius(y, j, k_precision) for j, b in enumerate(y)) for a in x]),
      recall=np.mean([any(norm(a, b) <= radius(x, i, k_precision) for i, a in enumerate(x)) for b in y]),
      density=np.mean([sum(norm(a, b) <= radius(y, j, k_density) for j, b in enumerate(y)) for a in x]) / k_density,
      coverage=np.mean([any(norm(a, b) <= radius(y, j, k_density) for a in x) for j, b in enumerate(y)]))
  assert len(set(expected)) == 4 and 0 < min(expected) and max(expected[:2] + expected[3:]) < 1
  got = whole(set_distances.nearest_neighbour_statistic, x, y, k_precision=k_precision, k_density=k_density)
  np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_nearest_neighbour_metrics_of_equal_and_disjoint_sets():
  """1 for the same points, 0 for far ones, and what each sees of a lost mode."""
  rng = RNG(5)
  x = rng.normal(size=(50, 3))
  same = whole(set_distances.nearest_neighbour_statistic, x, x[::-1])
  assert same.precision == same.recall == same.coverage == 1 and same.density >= 1
  assert whole(set_distances.nearest_neighbour_statistic, x, x + 1000) == (0, 0, 0, 0)
  two_modes = np.concatenate([x, x + 1000])
  lost = whole(set_distances.nearest_neighbour_statistic, x[::-1] + 1e-9, two_modes)
  assert lost.precision == 1 and lost.recall == lost.coverage == 0.5
  with pytest.raises(InputError, match='more samples'):
    whole(set_distances.nearest_neighbour_statistic, x[:5], x)


def test_neighbours_among_those_that_are_kept():
  """Also where none of the nearest ones is kept, and they have to be looked for among the others."""
  rng = RNG(6)
  x, y = rng.normal(size=(200, 2)), np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 10])
  i, j = np.arange(150), np.arange(100, 200)
  statistic = set_distances.nearest_neighbour_statistic
  np.testing.assert_array_equal(statistic(x, y)(i, j), whole(statistic, x[i], y[j]))
  np.testing.assert_array_equal(statistic(y, x)(j, i), whole(statistic, y[j], x[i]))


def test_sliced_wasserstein_against_scipy():
  """One dimension: every direction is the axis, up to its sign. Sizes differ."""
  rng = RNG(6)
  x, y = rng.normal(size=(37, 1)), rng.exponential(size=(23, 1))
  expected = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0])
  np.testing.assert_allclose(whole(set_distances.sliced_wasserstein_statistic, x, y, seed=0), expected, rtol=1e-12)


def test_sliced_wasserstein_of_a_shift():
  """|t . direction| in the mean: |t| Gamma(D / 2) / (sqrt(pi) Gamma((D + 1) / 2)), for images as well as vectors."""
  x = RNG(7).normal(size=(10, 2, 3, 1))
  t = np.arange(6.0).reshape(2, 3, 1)
  expected = np.linalg.norm(t) * scipy.special.gamma(3) / (np.sqrt(np.pi) * scipy.special.gamma(3.5))
  got = whole(set_distances.sliced_wasserstein_statistic, x, x + t, seed=0, num_directions=20000)
  np.testing.assert_allclose(got, expected, rtol=0.02)


@pytest.mark.parametrize('name', ['kernel', 'frechet', 'nearest_neighbour', 'sliced_wasserstein'])
def test_statistics_of_subsets(name):
  """The number of the subsets' own arrays."""
  rng = RNG(8)
  x, y = rng.normal(size=(25, 3)), rng.normal(size=(21, 3)) + 0.3
  i, j = np.arange(25) != 7, np.arange(21) > 2
  settings = {'seed': 1} if name == 'sliced_wasserstein' else {}
  statistic = getattr(set_distances, f'{name}_statistic')
  for keep_i, keep_j in ((i, j), (i, np.full(21, True)), (np.full(25, True), j)):
    np.testing.assert_allclose(
        statistic(x, y, **settings)(np.flatnonzero(keep_i), np.flatnonzero(keep_j)),
        statistic(x[keep_i], y[keep_j], **settings)(np.arange(keep_i.sum()), np.arange(keep_j.sum())), rtol=1e-9)


def test_two_sample_test():
  """Chance for equal laws whatever the sizes and the order; the Bayes accuracy of a shift; everything for sets far apart."""
  rng = RNG(9)
  many, few = rng.normal(size=(1500, 4)), rng.normal(size=(400, 4))
  for x, y in ((many, few), (many[np.argsort(many[:, 0])], few), (few, many[np.argsort(many[:, 1])])):
    equal = set_distances.two_sample_test(x, y, seed=0)
    assert equal.shape == (800,) and set(np.unique(equal)) == {0, 1}
    assert abs(equal.mean() - 0.5) < 4 * 0.55 / np.sqrt(800)
  shift = np.array([1.5, 0, 0, 0])
  apart = set_distances.two_sample_test(rng.normal(size=(1500, 4)) + shift, rng.normal(size=(1500, 4)), seed=0)
  assert abs(apart.mean() - scipy.stats.norm.cdf(0.75)) < 4 * 0.42 / np.sqrt(3000)
  assert set_distances.two_sample_test(rng.normal(size=(20, 4)) + 50, rng.normal(size=(30, 4)), seed=0).mean() == 1


def test_two_sample_test_does_not_depend_on_units():
  """Two sets apart in one coordinate are told apart as well where it is small (2^-13: its rounding is the same) or far off."""
  rng = RNG(13)
  x, y = rng.normal(size=(200, 2)) + [0, 1.5], rng.normal(size=(200, 2))
  test = lambda change: set_distances.two_sample_test(change(x), change(y), seed=0)
  same = test(lambda a: a)
  assert abs(same.mean() - scipy.stats.norm.cdf(0.75)) < 4 * 0.42 / np.sqrt(400)
  np.testing.assert_array_equal(test(lambda a: a * [1, 2.0**-13]), same)
  np.testing.assert_array_equal(test(lambda a: a + [0, 1000]), same)


def test_label_statistics():
  """Against scipy and by hand; a class of the histogram may be empty."""
  labels = np.array([0, 0, 0, 1, 1, 3])
  shares = set_distances.histogram(labels, 4)
  np.testing.assert_allclose(shares, [3 / 6, 2 / 6, 0, 1 / 6])
  np.testing.assert_allclose(set_distances.entropy(shares), scipy.stats.entropy([3, 2, 1]))
  reference = np.array([0.1, 0.2, 0.2, 0.5])
  np.testing.assert_allclose(set_distances.total_variation(shares, reference), 0.4 + 2 / 6 - 0.2)
  assert set_distances.num_classes_present(shares, reference) == 2  # 1/6 is just a third of 0.5, and no more
  assert set_distances.num_classes_present(shares, np.array([0.5, 0.5, 0, 0])) == 2
  assert set_distances.num_classes_present(reference, reference) == 4


def test_label_divergence():
  """Against scipy; of a single class -log p of that class; finite where the reference lacks a class; small for one law."""
  labels, reference = np.array([0, 0, 0, 1, 1, 3]), np.repeat(np.arange(4), [10, 20, 30, 40])
  np.testing.assert_allclose(set_distances.label_divergence(labels, reference, 4),
                             scipy.stats.entropy([3, 2, 0, 1], [10.5, 20.5, 30.5, 40.5]))
  many = np.repeat(np.arange(10), 10_000)
  np.testing.assert_allclose(set_distances.label_divergence(np.zeros(50, int), many, 10), np.log(10), rtol=1e-4)
  assert np.isfinite(set_distances.label_divergence(labels, np.zeros(6, int), 4))
  drawn = np.random.default_rng(0).integers(0, 10, (2, 5000))
  # Half a chi square of nine degrees of freedom, of either set, over its size.
  assert 0 < set_distances.label_divergence(*drawn, 10) < scipy.stats.chi2.isf(1e-4, 9) / 5000


def test_label_divergence_is_a_part_of_the_divergence():
  """KL of pairs of classes and values: that of the classes, and of the values within each, weighted by the first law."""
  rng = np.random.default_rng(1)
  p, q = rng.dirichlet(np.ones(12), 2).reshape(2, 3, 4)
  within = sum(p[k].sum() * scipy.stats.entropy(p[k], q[k]) for k in range(3))
  counts = [np.repeat(np.arange(3), np.rint(1e6 * law.sum(1)).astype(int)) for law in (p, q)]
  total = scipy.stats.entropy(p.ravel(), q.ravel())
  np.testing.assert_allclose(set_distances.label_divergence(*counts, 3) + within, total, rtol=1e-4)


def test_expected_nearest_against_all_subsets():
  """The mean over every choice."""
  rng = RNG(10)
  x, y = rng.integers(0, 9, (4, 3)).astype(float), rng.integers(0, 9, (7, 3)).astype(float)
  distances = np.linalg.norm(x[:, None] - y, axis=-1)
  for m in (1, 3, 7):
    expected = np.mean([distances[:, list(c)].min(1) for c in itertools.combinations(range(7), m)], axis=0)
    np.testing.assert_allclose(set_distances._expected_nearest(np.sort(distances, axis=1), m), expected, rtol=1e-12)


def test_memorisation():
  """1 for fresh draws although the sets differ ninefold in size, 0 for copies, infinite for copies of held-out images."""
  rng = RNG(11)
  draw = lambda n: rng.integers(0, 256, (n, 5, 1, 1))
  train, held_out, fresh = draw(1800), draw(200), draw(600)
  found = set_distances.memorisation(train, held_out)
  assert found.ratio(fresh).shape == (600,) and found.data.shape == (200,)
  assert 0.93 < np.median(found.ratio(fresh)) < 1.07
  assert 0.9 < np.median(found.data) < 1.1
  nearest = lambda a, b: np.linalg.norm((a[:, None] - b).reshape(len(a), len(b), -1), axis=-1).min(1)
  raw = np.median(nearest(fresh, train) / nearest(fresh, held_out))
  assert raw < 0.8  # what the correction is for
  # The same ratio for all of one law, but for the correction, which is one number.
  ratios = found.ratio(fresh) / (nearest(fresh, train) / nearest(fresh, held_out))
  np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
  assert not found.ratio(train[:50]).any()
  assert np.isinf(found.ratio(held_out[:50])).all()
  assert (set_distances.memorisation(train, train[:40]).ratio(train[:5]) > 0).all()  # 0 / 0 is no sign of memorisation
  with pytest.raises(InputError, match='no fewer training images'):
    set_distances.memorisation(held_out, train)


def test_memorisation_by_brute_force():
  """Six training and four held-out images: the correction is the mean over all subsets of the training images of the size of
  what is beside them, four of them for samples, and three for held-out images, each of which is beside the three others."""
  rng = RNG(14)
  train, held_out, x = (rng.integers(0, 256, (n, 2, 1, 1)) for n in (6, 4, 5))
  nearest = lambda a, b: np.linalg.norm((a[:, None] - b).reshape(len(a), len(b), -1), axis=-1).min(1)
  subsets = lambda size: [nearest(held_out, train[list(c)]) for c in itertools.combinations(range(6), size)]
  of_four, of_three = (np.mean(subsets(size)) / np.mean(nearest(held_out, train)) for size in (4, 3))
  found = set_distances.memorisation(train, held_out)
  np.testing.assert_allclose(found.ratio(x), of_four * nearest(x, train) / nearest(x, held_out), rtol=1e-9)
  others = np.concatenate([nearest(held_out[k:k + 1], np.delete(held_out, k, axis=0)) for k in range(4)])
  np.testing.assert_allclose(found.data, of_three * nearest(held_out, train) / others, rtol=1e-9)


def test_memorisation_with_few_queries():
  """Thinned held-out images change the estimate, not the meaning."""
  rng = RNG(12)
  draw = lambda n: rng.integers(0, 256, (n, 5, 1, 1))
  train, held_out, fresh = draw(900), draw(300), draw(300)
  found = set_distances.memorisation(train, held_out, num_queries=100)
  assert found.data.shape == (100,)
  assert found.ratio(fresh).shape == (100,)
  assert 0.85 < np.median(found.data) < 1.15 and 0.85 < np.median(found.ratio(fresh)) < 1.15
