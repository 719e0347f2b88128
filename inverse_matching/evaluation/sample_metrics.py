"""Rows for the quality of an arm's samples, and for its encodings."""
import functools
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np
import scipy.special
import scipy.stats

from inverse_matching.evaluation import encodings, set_distances, statistics, texture
from inverse_matching.runs.classifier import Observer

FLOOR_DRAWS = 4  # sets of prior draws that the floors of encodings are means over
SHARE = (0.0, 1.0)
POSITIVE = (0.0, None)
MOST_SPECTRA = 1024  # dimensions in which the spectrum of a covariance is computed again and again, for an interval


class SampleSet(NamedTuple):
  """Examples and what an observer sees of them."""
  values: np.ndarray  # [N, *event], integers of images, or numbers of one scale
  features: np.ndarray  # [N, F]
  probabilities: np.ndarray | None  # [N, K]


class Reference(NamedTuple):
  """A set that samples are compared with."""
  samples: SampleSet
  floors: Mapping[str, float]  # metric -> the reference against itself


def sample_set(values: np.ndarray, observer: Observer) -> SampleSet:
  """Examples [N, *event] with their features."""
  return SampleSet(values, *observer.see(values))


def make_reference(values: np.ndarray, others: np.ndarray, observer: Observer, *, levels: int | None, num: int,
                   seed: int) -> Reference:
  """A reference with its floors, computed once for all arms.

  Args:
    values: [M, *event].
    others: [L, *event] further examples of the same law, which play the part of an arm: a second set of teacher samples for
      teacher samples, training images for held-out ones. A classifier was trained on these, so that floor is slightly high.
    observer: of the data.
    levels: grey levels of images; None of other numbers.
    num: number of samples of the arms, on which several metrics depend; at most so many of values and others are used,
      chosen at random.
    seed: of the evaluation.
  """
  rng = np.random.default_rng(seed)
  samples, arm = (sample_set(v[rng.permutation(len(v))[:num]], observer) for v in (values, others))
  floors = {metric: value for metric, (value, _, _) in _against(arm, samples, levels, seed, intervals=False).items()}
  # What a set has by itself is compared with what the reference has.
  return Reference(samples, {**floors, **{metric: value for metric, (value, _, _) in _alone(samples, levels, seed).items()}})


def sample_rows(arm: str, values: np.ndarray, references: Mapping[str, Reference], observer: Observer, *,
                memorisation: set_distances.Memorisation, levels: int | None, seed: int) -> list[dict[str, Any]]:
  """Every sample metric of an arm against every reference, with its 95% interval and floor.

  The floor is what a perfect sampler gets. For distances and shares: other draws of the reference's law in the place of
  the arm (see make_reference). For what a set has by itself (entropy, confidence, sharpness, stripes): the reference's own.
  For memorisation, which has the reference 'train': the held-out images' own.

  kernel_distance is of the observer's features, kernel_distance_8x8 of larger images downsampled to 8x8, from -1 to 1;
  log_power_ratio_* is the logarithm of the power of samples in a band of frequencies (texture.BANDS) over that of the
  reference, 0 where they have the same, and fine_power_error its absolute value in the finest. Metrics of classes are there
  if the observer knows classes, those of texture for images.

  label_divergence is in nats and a part of the reverse KL, if the reference is the teacher: that is the sum of it and of the
  mean, over the student's samples, of the reverse KL within their class. It cannot be above -log p of the rarest class.

  Intervals of kernel and Frechet distance, precision, recall, density, coverage, sliced Wasserstein distance, power, entropy,
  total variation and label divergence are by the jackknife over both sets (see statistics.jackknife); the others are by the
  bootstrap over the arm's samples, for the two-sample test over its held-out predictions.

  Args:
    arm: its name; for the teacher, 'teacher' with a second set of samples.
    values: [N, *event].
    references: name -> Reference, such as 'teacher' and 'data'.
    observer: that of the references.
    memorisation: of the training and held-out examples.
    levels: grey levels of images; None of other numbers.
    seed: of the evaluation.
  """
  samples = sample_set(values, observer)
  alone = _alone(samples, levels, seed)
  rows = []
  for name, reference in references.items():
    for metric, value in {**_against(samples, reference.samples, levels, seed), **alone}.items():
      rows.append(statistics.row(arm, metric, name, value, n=len(values), seed=seed, floor=reference.floors[metric]))
  ratios = memorisation.ratio(values)
  rows.append(statistics.row(arm, 'memorisation_ratio', 'train', statistics.bootstrap(np.median, ratios, seed=seed),
                             n=len(ratios), seed=seed, floor=float(np.median(memorisation.data))))
  return rows


def _against(a: SampleSet, b: SampleSet, levels: int | None, seed: int, intervals: bool = True) -> dict[str, tuple]:
  """metric -> (value, low, high) of the metrics of two sets; without intervals, low and high are not meaningful."""
  sizes = (len(a.values), len(b.values))

  def jackknife(statistic, bounds):
    if intervals:
      return statistics.jackknife(statistic, sizes, seed=seed, bounds=bounds)
    return [(float(v), None, None) for v in np.atleast_1d(statistic(*map(np.arange, sizes)))]

  neighbours = set_distances.nearest_neighbour_statistic(a.features, b.features)
  scale = 1 if levels is None else levels - 1
  sliced = set_distances.sliced_wasserstein_statistic(a.values / scale, b.values / scale, seed=seed)
  out = {}
  out['kernel_distance'], = jackknife(set_distances.kernel_statistic(a.features, b.features), (None, None))
  if levels is not None:
    if max(a.values.shape[1:3]) > texture.COARSE:
      a_coarse, b_coarse = (2 * texture.downsample(s.values) / scale - 1 for s in (a, b))
      out['kernel_distance_8x8'], = jackknife(set_distances.kernel_statistic(a_coarse, b_coarse), (None, None))
    *of_bands, out['fine_power_error'] = jackknife(_power_statistic(a.values, b.values, scale),
                                                   ([-np.inf] * 3 + [0.0], None))
    out |= {f'log_power_ratio_{band}': value for band, value in zip(texture.BANDS, of_bands)}
  out['frechet_distance'], = jackknife(set_distances.frechet_statistic(a.features, b.features), POSITIVE)
  # In the order of samples.Manifolds.
  out['precision'], out['recall'], out['density'], out['coverage'] = jackknife(neighbours, (0.0, [1.0, 1.0, np.inf, 1.0]))
  told_apart = set_distances.two_sample_test(a.features, b.features, seed=seed)
  out['two_sample_accuracy'] = statistics.mean(told_apart, seed=seed)
  out['sliced_wasserstein'], = jackknife(sliced, POSITIVE)
  if a.probabilities is None:
    return out
  num_classes = a.probabilities.shape[1]
  a_labels, b_labels = a.probabilities.argmax(1), b.probabilities.argmax(1)
  shares = lambda labels: set_distances.histogram(labels, num_classes)
  out['label_total_variation'], = jackknife(
      lambda i, j: set_distances.total_variation(shares(a_labels[i]), shares(b_labels[j])), SHARE)
  out['label_divergence'], = jackknife(
      lambda i, j: set_distances.label_divergence(a_labels[i], b_labels[j], num_classes), POSITIVE)
  out['classes_present'] = statistics.bootstrap(
      lambda labels: set_distances.num_classes_present(shares(labels), shares(b_labels)), a_labels, seed=seed)
  return out


def _power_statistic(a: np.ndarray, b: np.ndarray, scale: int) -> Callable[..., list[float]]:
  """(indices of a, indices of b) -> log ratio of the mean power of images a and b in each of texture.BANDS, and the absolute
  value of the last. To either is added that of rounding to grey levels, 0 to `scale`, without which blank ones had none."""
  of_a, of_b = (texture.band_power(images / scale) + 1 / (12 * scale**2) for images in (a, b))

  def statistic(i, j):
    ratios = np.log(of_a[i].mean(0) / of_b[j].mean(0))
    return [*ratios, abs(ratios[-1])]

  return statistic


def _alone(a: SampleSet, levels: int | None, seed: int) -> dict[str, tuple[float, float, float]]:
  """metric -> (value, low, high) of what a set has by itself."""
  out = {}
  if a.probabilities is not None:
    labels, num_classes = a.probabilities.argmax(1), a.probabilities.shape[1]
    out['label_entropy'], = statistics.jackknife(
        lambda i: set_distances.entropy(set_distances.histogram(labels[i], num_classes)), [len(labels)], seed=seed,
        bounds=(0.0, np.log(num_classes)))
    out['max_probability'] = statistics.mean(a.probabilities.max(1), seed=seed)
  if levels is not None:
    out['sharpness'] = statistics.mean(texture.sharpness(a.values), seed=seed)
    out['stripe_score'] = statistics.mean(texture.stripe_score(a.values), seed=seed)
    out['stripe_share'] = statistics.mean(texture.stripe_share(a.values), seed=seed)
  return out


def encoding_rows(arm: str, z: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
  """How far encodings are from the standard normal prior, with 95% intervals and the floor: as many prior draws.

  The upper tail is the share of all numbers in z that are above the 95% quantile of the prior: the prior has 5%, and bounded
  noise within a grey level hardly any. The floor of the norm and its spread is that of a chi variable, that of the spectrum is
  the Marchenko-Pastur edges, the others are means over 4 sets of prior draws. Intervals are by the jackknife (see
  statistics.jackknife; eigenvalues of more than 1,024 dimensions, of which each takes seconds, have none), those of the
  largest and the mean Kolmogorov-Smirnov distance by a band that holds for all dimensions at once (statistics.ks_band). The
  share of dimensions that a test rejects has none: it is itself the outcome of tests, and with 99% confidence so many differ
  or more.

  Args:
    arm: what was encoded, such as 'train', 'held_out', 'teacher', or an arm for T(S(z)).
    z: [N, *event].
    seed: of the evaluation.
  """
  z = np.asarray(z, np.float64).reshape(len(z), -1)
  n, num_dims = z.shape
  with np.errstate(invalid='ignore'):  # encodings that are not finite give rows without a number
    values = {metric: (value, *_cut(low, high, metric)) for metrics, statistic in _encoding_statistics(z).items()
              for metric, (value, low, high) in zip(metrics, statistics.jackknife(statistic, [n], seed=seed))}
    if num_dims > MOST_SPECTRA:
      values |= zip(SPECTRUM, encodings.covariance_spectrum(z))
  distances, band = _ks_values(z), statistics.ks_band(n, 0.05 / num_dims)
  values |= {metric: (value, *np.clip([value - band, value + band], 0.0, 1.0).tolist()) for metric, value in distances.items()}
  values['encoding_ks_rejected'] = distances['encoding_ks_rejected']
  floors = _encoding_floors(n, num_dims, seed)
  return [statistics.row(arm, metric, 'prior', values[metric], n=n, seed=seed, floor=floors[metric])
          for metric in ENCODING_METRICS]


SPECTRUM = ('encoding_min_eigenvalue', 'encoding_max_eigenvalue')
ENCODING_METRICS = ('encoding_kernel_distance', 'encoding_ks_max', 'encoding_ks_mean', 'encoding_ks_rejected',
                    'encoding_norm', 'encoding_norm_std', 'encoding_upper_tail', *SPECTRUM)
TAIL = 0.05  # of the prior, in each dimension


def _cut(low: float, high: float, metric: str) -> tuple[float, float]:
  """An interval without what the metric cannot be."""
  return (low, high) if metric == 'encoding_kernel_distance' else (float(np.maximum(0.0, low)), high)


def _encoding_statistics(z: np.ndarray) -> dict[tuple[str, ...], Any]:
  """Metrics -> the statistic of the indices that are kept, which gives their values; of those that have intervals."""
  norms = np.linalg.norm(z, axis=1) / np.sqrt(z.shape[1])
  above = np.mean(np.where(np.isnan(z), np.nan, z > scipy.stats.norm.isf(TAIL)), axis=1)
  return {('encoding_upper_tail',): lambda i: above[i].mean(), ('encoding_kernel_distance',): encodings.kernel_statistic(z),
          ('encoding_norm', 'encoding_norm_std'): lambda i: (norms[i].mean(), norms[i].std(ddof=1)),
          **({SPECTRUM: lambda i: encodings.covariance_spectrum(z[i])} if z.shape[1] <= MOST_SPECTRA else {})}


def _ks_values(z: np.ndarray) -> dict[str, float]:
  """Metric -> value, of the Kolmogorov-Smirnov distances of the dimensions of z [N, T]."""
  distances = encodings.uniform_ks(scipy.special.ndtr(z))
  rejected = np.where(np.isnan(distances), np.nan, distances > encodings.ks_threshold(*z.shape))
  return {'encoding_ks_max': float(distances.max()), 'encoding_ks_mean': float(distances.mean()),
          'encoding_ks_rejected': float(rejected.mean())}


@functools.cache
def _encoding_floors(n: int, num_dims: int, seed: int) -> dict[str, float]:
  """Metric -> floor; see encoding_rows."""
  rng = np.random.default_rng(seed)
  draws = []
  for _ in range(FLOOR_DRAWS):
    z = rng.normal(size=(n, num_dims))
    draws.append({'encoding_kernel_distance': encodings.kernel_statistic(z)(np.arange(n)), **_ks_values(z)})
  floors = {metric: float(np.mean([draw[metric] for draw in draws])) for metric in draws[0]}
  floors['encoding_upper_tail'] = TAIL
  floors['encoding_norm'], floors['encoding_norm_std'] = encodings.normal_norm(num_dims)
  floors['encoding_min_eigenvalue'], floors['encoding_max_eigenvalue'] = encodings.marchenko_pastur_edges(n, num_dims)
  return floors
