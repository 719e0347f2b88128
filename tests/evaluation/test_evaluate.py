"""An evaluation whose answer is known."""
import constructors
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
import numpy as np
import pytest
import scipy.stats
import small_run

from inverse_matching import elementwise, runs
from inverse_matching.elementwise import priors
from inverse_matching.evaluation import evaluate, examples, sample_metrics
from inverse_matching.evaluation.context import Context, draw_teacher_samples, make_context, seer
from inverse_matching.teachers import build
from inverse_matching.types import Student, StudentOutput


@pytest.fixture(scope='module')
def samples():
  """Teacher samples on eight devices."""
  return draw_teacher_samples(small_run.RUN, 40, 3)


@pytest.fixture
def context(samples, monkeypatch):
  """Without the classifier of image quality, which has tests of its own."""
  monkeypatch.setattr(evaluate, 'quality_rows', lambda arm, x, context: [])
  run = small_run.RUN
  see = seer(run)
  data = {name: see(examples.encode_split(run, getattr(run.source.data, name), 3)) for name in ('train', 'held_out')}
  return Context(run, samples, None, {}, None, data, see, 3, None)


def test_samples_that_run_away():
  """The share of samples with any sub-pixel out of 3 times the range, or not a number; images never are; Clopper-Pearson."""
  run = small_run.RUN
  low, high = run.space.codec.range
  x = examples.encode_split(run, run.source.data.held_out, 3)
  rows = lambda x: examples.range_rows('arm', run, x, seed=0)
  assert low <= x.min() and x.max() <= high and rows(x)[0]['value'] == 0 < rows(x)[0]['high']
  moved = x.copy()
  middle, half = (low + high) / 2, (high - low) / 2
  moved[0, 0, 0, 0], moved[1, -1, -1, 0], moved[2, 0, 1, 0], moved[3, 1, 0, 0] = (
      middle + 3.01 * half, middle - 3.01 * half, np.nan, middle + 2.99 * half)
  row, = rows(moved)
  interval = scipy.stats.binomtest(3, len(x)).proportion_ci(0.95)
  assert (row['metric'], row['value'], row['floor']) == ('out_of_range', 3 / len(x), 0.0)
  np.testing.assert_allclose([row['low'], row['high']], [interval.low, interval.high])


def test_teacher_samples(samples):
  """x = T^-1(z), log p_T of each; the floor is made of other samples; the same bits on one device."""
  run = small_run.RUN
  z, _ = run.teacher.x_to_z(run.params, samples.paired.x)
  np.testing.assert_allclose(z, samples.z, atol=1e-3)
  np.testing.assert_allclose(samples.paired.log_prob, run.teacher.log_prob(run.params, samples.paired.x), rtol=1e-4)
  np.testing.assert_allclose(samples.independent.log_prob, run.teacher.log_prob(run.params, samples.independent.x), rtol=1e-4)
  others = samples.independent
  np.testing.assert_allclose(others.z, run.teacher.x_to_z(run.params, others.x)[0], rtol=1e-4, atol=1e-4)
  assert not np.intersect1d(samples.paired.x, samples.independent.x).size
  one = draw_teacher_samples(run, 40, 3, devices=1)
  jax.tree.map(np.testing.assert_array_equal, one, samples)


def mean_norm(z):
  """The mean of |z| / sqrt(D), of z [N, *event] with D dimensions."""
  return np.mean(np.sqrt(np.mean(np.square(z).reshape(len(z), -1), axis=1)))


def test_teacher_rows(context):
  """bits/dim from its definition, round trips and the agreement of the solvers; the floors that are made of T^-1 itself."""
  run = small_run.RUN
  rows = {(r['metric'], r['reference']): r for r in evaluate.evaluate_teacher(context)
          if r['arm'] == 'teacher'}
  for name, split in (('train', run.source.data.train), ('held_out', run.source.data.held_out)):
    x = context.data[name][0]
    np.testing.assert_array_equal(run.space.codec.to_data(x), split.pixels)
    nats = np.asarray(run.teacher.log_prob(run.params, x), np.float64)
    bits = (np.asarray(run.space.codec.log_noise(x)) - nats) / (4 * np.log(2))
    row = rows['bits_per_dim', name]
    np.testing.assert_allclose(row['value'], bits.mean(), rtol=1e-4)
    assert row['low'] < row['value'] < row['high'] and row['n'] == len(x)
    np.testing.assert_allclose(rows['nats', name]['value'], nats.mean(), rtol=1e-4)
  for key in (('round_trip_x', 'held_out'), ('round_trip_z', None), ('fixed_point_error', 'ancestral')):
    assert rows[key]['value'] < 1e-3
  assert 1 < rows['fixed_point_sweeps_mean', None]['value'] <= rows['fixed_point_sweeps_max', None]['value'] <= 4
  paired, independent = context.samples.paired, context.samples.independent
  for name, error in (('oracle_l2', np.square), ('oracle_l1', np.abs)):  # of a sampler that does not know z
    assert rows[name, 'teacher']['value'] == pytest.approx(np.mean(error(independent.x - paired.x)), rel=1e-5)
  assert rows['log_prob_mean_shift', 'teacher']['value'] == 0  # T^-1 in the place of S, of the same z
  assert rows['log_prob_ks', 'teacher']['value'] == rows['log_prob_ks', 'teacher']['floor'] > 0
  assert rows['encoding_norm', 'prior']['value'] == pytest.approx(mean_norm(paired.z), rel=1e-5)


def test_a_teacher_without_an_inverse(context):
  """Its samples are drawn, and their z is T(x); there are no rows of an inverse; the other rows are there.

  Of the encodings of data, no more are looked at than of the samples: the floors depend on how many there are.
  """
  def draw(u, theta):
    return theta.mean + jnp.exp(theta.log_scale) * ndtri(u)

  one_way = elementwise.gaussian._replace(z_to_x=None, sample=draw)
  shape = small_run.EVENT
  teacher = build.autoregressive(shape, constructors.dense_params(shape), constructors.dense_conditional(shape),
                                 elementwise=one_way)
  run = small_run.RUN._replace(teacher=teacher)
  samples = draw_teacher_samples(run, 20, 3)
  np.testing.assert_allclose(run.teacher.x_to_z(run.params, samples.paired.x)[0], samples.z, atol=1e-3)
  assert scipy.stats.kstest(np.ravel(samples.z), scipy.stats.norm.cdf).pvalue > 1e-3
  rows = evaluate.evaluate_teacher(context._replace(run=run, samples=samples))
  metrics = {row['metric'] for row in rows}
  assert {'bits_per_dim', 'log_prob_ks', 'oracle_l1'} <= metrics
  assert not {'round_trip_x', 'round_trip_z', 'fixed_point_sweeps_mean'} & metrics
  norms = {row['arm']: (row['n'], row['value']) for row in rows if row['metric'] == 'encoding_norm'}
  assert {arm: n for arm, (n, _) in norms.items()} == {'train': 20, 'held_out': 8, 'teacher': 20}
  assert len(context.data['train'].z) == 24
  assert norms['train'][1] == pytest.approx(mean_norm(context.data['train'].z[:20]), rel=1e-5)


@pytest.mark.slow
def test_a_teacher_that_is_no_fixed_point(context):
  """Its round trips, and no sweeps."""
  plain = small_run.RUN.teacher
  teacher = build.from_transform(small_run.EVENT, plain.prior, plain.init, plain.x_to_z, plain.z_to_x)
  rows = {row['metric']: row['value'] for row in evaluate.evaluate_teacher(
      context._replace(run=small_run.RUN._replace(teacher=teacher))) if row['arm'] == 'teacher'}
  assert rows['round_trip_x'] < 1e-3 and rows['round_trip_z'] < 1e-3 and 'fixed_point_sweeps_mean' not in rows


def test_encodings_compare_with_a_normal_prior_alone(context):
  """A uniform prior has no rows of them, nor samples from a wider prior."""
  uniform = small_run.RUN.teacher._replace(prior=priors.uniform(small_run.EVENT))
  for run, count in ((small_run.RUN, len(sample_metrics.ENCODING_METRICS)), (small_run.RUN._replace(teacher=uniform), 0)):
    assert len(evaluate._encoding_rows('a', context.samples.z, context._replace(run=run))) == count


def test_large_images_and_many_of_them_cost_less():
  """What costs T passes each is done for fewer examples of larger images; of a large split, the first images are taken."""
  assert [evaluate._affordable(64, shape) for shape in ((8, 8, 1), (28, 28, 1), (32, 32, 3))] == [64, 5, 2]
  assert evaluate._affordable(8, (28, 28, 1)) == 2 and evaluate._affordable(1000, (2, 2, 1)) == 1000
  run = small_run.RUN
  whole, first = (examples.encode_split(run, run.source.data.train, 3, num=num) for num in (None, 5))
  assert len(whole) == 24
  np.testing.assert_array_equal(first, whole[:5])


def test_the_exact_student_has_no_error(context):
  """S = T^-1: every error whose floor is zero is zero, and the likelihood of its samples is that of the teacher's."""
  run = small_run.RUN

  def z_to_x(params, z, cond=None, key=None):
    x = run.teacher.z_to_x(run.params, z)
    return StudentOutput(x, -run.teacher.x_to_z(run.params, x)[1])

  exact = runs.StudentRun({'loss': {'name': 'x_reconstruction'}}, Student(small_run.EVENT, None, z_to_x, True), None)
  rows = evaluate.evaluate_student('exact', exact, context)
  errors = {(r['metric'], r['reference']): r['value'] for r in rows if r['floor'] == 0}
  assert len(errors) >= 4
  assert all(abs(value) < 1e-3 for value in errors.values()), errors
  likelihood = {r['metric']: r for r in rows if r['metric'].startswith('log_prob')}
  assert abs(likelihood['log_prob_mean_shift']['value']) < 1e-3
  for metric in ('log_prob_ks', 'log_prob_wasserstein'):
    assert 0 < likelihood[metric]['floor'] == pytest.approx(likelihood[metric]['value'], abs=1e-3)  # two draws of one law
  ratio, = (r for r in rows if r['metric'] == 'variance_ratio')
  for row in (ratio, likelihood['log_prob_mean_shift']):  # samples of the same z: what one has, the other has
    assert row['high'] - row['low'] < 2e-3, row


def test_teacher_samples_are_drawn_once(tmp_path, monkeypatch):
  """For all students of a teacher; of another seed or number, anew."""
  first = draw_teacher_samples(small_run.RUN, 12, 3, workdir=tmp_path)
  first_pairs = {'z': np.concatenate([first.z, first.independent.z]),
                 'x': np.concatenate([first.paired.x, first.independent.x])}
  drawn = []
  monkeypatch.setattr('inverse_matching.evaluation.context.draw_pairs', lambda *args, **kw: drawn.append(args) or first_pairs)
  again = draw_teacher_samples(small_run.RUN, 12, 3, workdir=tmp_path)
  for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
    np.testing.assert_array_equal(a, b)
  assert not drawn
  draw_teacher_samples(small_run.RUN, 12, 4, workdir=tmp_path)
  draw_teacher_samples(small_run.RUN, 12, 3)
  assert len(drawn) == 2


def test_sets_are_compared_with_samples_of_other_z(tmp_path):
  """S = T^-1 is as far from the reference as two draws of the teacher are; from samples of its own z, not at all."""
  run = small_run.RUN
  samples = draw_teacher_samples(run, 40, 3)
  context = make_context(run, tmp_path, samples, seed=3)
  reference = context.references['teacher'].samples.values
  assert sorted(map(bytes, reference)) == sorted(map(bytes, examples.to_values(run, samples.independent.x)))
  of_data = context.references['data'].samples.values  # the held-out images, and those of training for the floor
  assert sorted(map(bytes, of_data)) == sorted(map(bytes, run.source.data.held_out.pixels))
  rows = {r['metric']: r for r in evaluate.quality_rows('exact', samples.paired.x, context) if r['reference'] == 'teacher'}
  assert 0 < rows['sliced_wasserstein']['value'] == rows['sliced_wasserstein']['floor']
  assert rows['kernel_distance']['value'] == pytest.approx(rows['kernel_distance']['floor'])


def test_a_wrong_student_has_errors(context):
  """S = max(z, 0) / 1000: the same rows tell; the rank of its Jacobian is the number of positive z, in the median."""
  almost_zero = lambda params, z, cond=None, key=None: StudentOutput(jnp.maximum(z, 0) / 1000, None)
  wrong = runs.StudentRun({'loss': {'name': 'x_reconstruction'}}, Student(small_run.EVENT, None, almost_zero, False), None)
  rows = evaluate.evaluate_student('wrong', wrong, context)
  by_name = {(r['metric'], r['reference']): r['value'] for r in rows}
  x, z = np.maximum(context.samples.z, 0) / 1000, context.samples.z[:8]
  np.testing.assert_allclose(by_name['oracle_l2', 'teacher'], np.square(x - context.samples.paired.x).mean(), rtol=1e-4)
  assert by_name['log_prob_ks', 'teacher'] > 0.4
  positive = np.sum(z > 0, axis=(1, 2, 3))
  assert by_name['jacobian_rank', None] == np.median(positive) < positive.max()


def test_a_student_with_known_errors(context):
  """S = T^-1 / 2 + 1, trained with noise: its numbers by hand, with their sign and direction; and the floor of the ratio."""
  run, samples = small_run.RUN, context.samples
  student = lambda z: run.teacher.z_to_x(run.params, z) / 2 + 1
  encode = lambda x: np.asarray(run.teacher.x_to_z(run.params, x)[0])
  log_prob = lambda x: np.asarray(run.teacher.log_prob(run.params, x))

  def z_to_x(params, z, cond=None, key=None):  # log |det dS/dz| = log |det dT^-1/dz| - D log 2
    x = run.teacher.z_to_x(run.params, z)
    return StudentOutput(x / 2 + 1, -run.teacher.x_to_z(run.params, x)[1] - 4 * np.log(2))

  config = {'loss': {'name': 'x_reconstruction', 'noise_std': 0.5}}
  halved = runs.StudentRun(config, Student(small_run.EVENT, None, z_to_x, True), None)
  found = {(r['arm'], r['metric'], r['reference']): r for r in evaluate.evaluate_student('half', halved, context)}
  rows = {name: r['value'] for name, r in found.items()}
  x, wide = student(samples.z), student(samples.z * np.float32(np.sqrt(1.25)))  # of variance 1 + noise_std^2
  expected = {
      ('half', 'oracle_l1', 'teacher'): np.mean(np.abs(x - samples.paired.x)),
      ('half', 'z_reconstruction_l2', 'teacher'): np.mean((encode(x) - samples.z)**2),
      ('half', 'log_prob_mean_shift', 'teacher'): np.mean(log_prob(x) - samples.paired.log_prob),
      ('half@matched', 'log_prob_mean_shift', 'teacher'): np.mean(log_prob(wide) - samples.paired.log_prob),
      # log q(S(z)) = log p(T^-1(z)) + D log 2, as halving makes the density of what T^-1 draws 2^D times larger.
      ('half', 'reverse_kl', 'teacher'): np.mean(samples.paired.log_prob + 4 * np.log(2) - log_prob(x)),
      ('half', 'encoding_norm', 'prior'): mean_norm(encode(x)),
      ('half@matched', 'encoding_norm', 'prior'): mean_norm(encode(wide)),
      ('half', 'variance_ratio', 'teacher'): 0.25,
      **{('half', 'x_reconstruction_l2', name): np.mean((1 - seen.x / 2)**2) for name, seen in context.data.items()}}
  assert {name: rows[name] for name in expected} == pytest.approx(expected, rel=1e-3)
  assert rows['half', 'log_prob_mean_shift', 'teacher'] != pytest.approx(rows['half@matched', 'log_prob_mean_shift', 'teacher'])
  variance = lambda x: np.mean(np.var(x, axis=0))  # the floor is the ratio of another draw of T^-1
  assert found['half', 'variance_ratio', 'teacher']['floor'] == pytest.approx(
      variance(samples.independent.x) / variance(samples.paired.x), rel=1e-4)


@pytest.mark.parametrize('loss', [{'name': 'oracle_prediction'}, {'name': 'x_reconstruction', 'data_noise_std': 0.0},
                                  {'name': 'flow_matching', 'coupling': 'independent', 'data_noise_std': 0.5}])
def test_without_noise_the_prior_is_as_wide_as_that_of_training(context, loss):
  assert evaluate.trained_width(runs.StudentRun({'loss': loss}, None, None), context) == 1


def test_noise_on_x_widens_its_encodings(context):
  """By as much as encodings of other noise say."""
  run, scale = small_run.RUN, 0.7
  x = np.tile(context.data['train'].x, (200, 1, 1, 1))
  context = context._replace(data={'train': context.data['train']._replace(x=x)})
  student_run = runs.StudentRun({'loss': {'name': 'x_reconstruction', 'data_noise_std': scale}}, None, None)
  noise = scale * np.random.default_rng(10).normal(size=x.shape)
  encodings = np.asarray(run.teacher.x_to_z(run.params, (x + noise).astype(np.float32))[0])
  width = evaluate.trained_width(student_run, context)
  np.testing.assert_allclose(width**2, np.mean(encodings**2), rtol=0.05)
  assert width > 1.05 * np.sqrt(np.mean(np.square(run.teacher.x_to_z(run.params, x)[0])))
