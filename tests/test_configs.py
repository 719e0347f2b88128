"""The configs: every variant builds, the paper's has the paper's values, and what one names the others hold."""
import importlib
import inspect

import pytest

from configs import digits, gaussian, mnist, vocoder
from inverse_matching import losses, students, teachers
from inverse_matching.data import catalogue
from inverse_matching.experiments import teachers as studies
from inverse_matching.recipes import images, tfds_images

LARGE = {'mnist': (28, 28, 1), 'fashion_mnist': (28, 28, 1), 'cifar10': (32, 32, 3)}
DISCRETE, ORDERED = ('categorical', 'discretized_mixture_of_logistics'), ('column_order', 'random_order')
VARIANTS = [*((name, scale) for name in LARGE for scale in tfds_images.SCALES), ('digits', 'default'), ('digits', 'smoke')]


def config(name, variant):
  return importlib.import_module(f'configs.{name}').get_config(variant)


@pytest.mark.parametrize('name,variant', VARIANTS)
def test_every_variant_builds(name, variant):
  """It locks; its networks and losses are accepted for its images; the arms of its figures are there."""
  each = config(name, variant).lock().to_dict()
  shape = LARGE.get(name, (8, 8, 1))
  teacher = teachers.make(event_shape=shape, **each['teacher'])
  for arm, sections in each['arms'].items():
    merged = {**each, **sections}
    # The distance features needs data, on which a classifier is trained.
    loss = {**merged['loss'], 'distance': 'l2'} if merged['loss'].get('distance') == 'features' else merged['loss']
    losses.make(teacher=teacher, student=students.make(event_shape=shape, **merged['student']), **loss)
    assert arm.startswith(merged['student']['name'] + '/' + merged['loss']['name'])
  for arms in each['figures'].values():
    assert arms and set(arms) <= set(each['arms'])
  assert each['data']['name'] == name


@pytest.mark.parametrize('name', LARGE)
def test_the_paper(name):
  """Section 4.1.2, and nothing that it does not have; without a variant, too."""
  each = config(name, 'paper').to_dict()
  assert each == importlib.import_module(f'configs.{name}').get_config().to_dict()
  given = lambda section: {field: value for field, value in each[section].items() if value is not None}
  assert given('teacher') == dict(name='pixelcnn', num_blocks=3, num_filters=32, num_levels=3, dropout=0.0)
  assert given('student') == {**given('teacher'), 'name': 'flow'}
  assert given('optimizer') == dict(name='adam', learning_rate=0.0005, decay_rate=0.95)
  train = each['train']
  assert (train['batch_size'], train['num_epochs'], train['ema_decay'], train['grad_clip']) == (64, 100, 0.0, None)
  assert each['pairs']['num'] == 60000 and each['data']['num_train'] is None and each['data']['logit_lambda'] == 1e-6
  assert {each['arms'][arm]['loss']['distance'] for arm in each['figures']['4']} == {'l2'}
  noise = [(each['arms'][arm]['loss']['distance'], each['arms'][arm]['loss']['noise_std']) for arm in each['figures']['5']]
  assert noise == [('l2', 0.0), ('l1', 0.0), ('l2', 0.5), ('l1', 0.5), ('l1_l2', 0.5)]
  assert each['figures']['6'] == ('resnet/x_reconstruction_l1_noise',)


@pytest.mark.parametrize('name,variant', [*(('mnist', scale) for scale in tfds_images.SCALES), ('digits', 'default')])
@pytest.mark.parametrize('kind', images.KINDS)
def test_kinds_of_teachers(name, variant, kind):
  """One word makes each: it locks and builds, with the data that it needs; the arms of its study are there."""
  each = config(name, f'{variant},{kind}').lock().to_dict()
  shape, plain = LARGE.get(name, (8, 8, 1)), config(name, variant).to_dict()
  teacher = teachers.make(event_shape=shape, **each['teacher'])
  assert teacher.levels == (each['data']['levels'] if kind in DISCRETE else None)
  assert (each['data']['logit_lambda'] is None) == (kind in (*DISCRETE, 'gaussian_in_levels'))
  assert each['data']['logit_lambda'] is not None or each['teacher']['network_input'] is None
  assert (teacher.order is not None) == (kind in ORDERED) and bool(teacher.blocks) == (kind == 'transformer')
  assert each['teacher']['name'] == ('transformer' if kind == 'transformer' else 'pixelcnn')
  has_a_map = kind not in ('gaussian', 'gaussian_in_levels', 'transformer', *ORDERED)
  assert each['teacher'].get('elementwise') == (kind if has_a_map else None)
  assert each['student']['order'] == each['teacher'].get('order')
  assert set(each['teachers_study']['arms']) <= set(each['arms']) and set(each['teachers_study']['kinds']) <= set(images.KINDS)
  assert each['teacher_kinds'] == plain['teacher_kinds']
  experiment = studies.settings_of(plain, kind)
  assert all(experiment[section] == each[section] for section in ('data', 'teacher', 'student'))


def test_room_for_a_head():
  """Fields without a value can be set by name, to a value of their type; discrete data keep the type of lambda."""
  each = digits.get_config('mixture_of_logistics').lock()
  each.teacher.num_mixtures, each.teacher.prior, each.teacher.order = 3, 'uniform', 'columns'
  each.data.logit_lambda = 0.05
  discrete = digits.get_config('categorical').lock()
  discrete.data.logit_lambda = 0.05
  for variant in ('default', 'mixture_of_logistics'):
    for wrong in ('elementwise', 'num_mixtures'):
      with pytest.raises(TypeError):
        setattr(digits.get_config(variant).lock().teacher, wrong, 1.5)


def test_a_config_is_its_own():
  """What one is set to, another one and the tables do not see."""
  first = digits.get_config()
  first.teacher.num_mixtures, first.train.num_epochs, first.teacher_kinds.categorical.data.logit_lambda = 3, 1, 0.05
  second = digits.get_config()
  assert second.teacher.num_mixtures is None and second.train.num_epochs == digits.BASE['train']['num_epochs'] == 30
  assert second.teacher_kinds.categorical.data.logit_lambda is None


@pytest.mark.parametrize('base,scales', [
    (digits.BASE, digits.SCALES), (tfds_images.base('mnist'), tfds_images.SCALES), (vocoder.BASE, vocoder.SCALES),
    (gaussian.BASE, {'smoke': gaussian.SMOKE})], ids=['digits', 'tfds_images', 'vocoder', 'gaussian'])
def test_scales_change_what_is_there(base, scales):
  """A scale has no fields but those of the base, which a typo would add; a study may have overlays of sections, too."""
  for scale in scales.values():
    for section, fields in scale.items():
      overlays = {*base, 'training'} if section.endswith('_study') else set()
      assert set(fields) <= {*base[section], *overlays}, section


def test_gpu_has_the_width_of_the_paper():
  """And 10 to 20 epochs."""
  paper, gpu = (config('mnist', variant).to_dict() for variant in ('paper', 'gpu'))
  assert all(gpu[section] == paper[section] for section in ('data', 'teacher', 'student', 'pairs', 'arms', 'figures'))
  assert 10 <= gpu['train']['num_epochs'] <= 20


def test_what_one_data_set_has_of_its_own():
  """At the scale cpu CIFAR-10 has fewer images and pairs, uniform noise and longer trainings, Fashion-MNIST shorter ones of its
  students; all else is as MNIST has it."""
  cifar, fashion, common = (config(name, 'cpu').to_dict() for name in ('cifar10', 'fashion_mnist', 'mnist'))
  assert {**fashion, 'arms': None} == {**common, 'data': {**common['data'], 'name': 'fashion_mnist'}, 'arms': None}
  for arm, overlay in fashion['arms'].items():
    assert overlay == {**common['arms'][arm], 'train': {**common['arms'][arm]['train'], 'num_epochs': 4}}
  assert cifar['data'] == {**common['data'], 'name': 'cifar10', 'num_train': 25000, 'end_noise': None}
  assert cifar['pairs'] == {**common['pairs'], 'num': 30000}
  assert cifar['train'] == {**common['train'], 'num_epochs': 12}
  assert all(cifar[section] == common[section] for section in ('teacher', 'student', 'optimizer', 'evaluation'))
  assert cifar['figures'].keys() == common['figures'].keys() and cifar['figures']['4'] == common['figures']['4']


def test_parts_of_a_variant():
  """An arm puts its sections in; path adds an arm; what is unknown or contradictory is refused."""
  each = mnist.get_config('smoke,path,resnet/x_reconstruction_l1').to_dict()
  assert each['student']['name'] == 'resnet' and each['loss']['distance'] == 'l1'
  assert each['figures']['4'][:2] == ('flow/reverse_kl', 'flow/reverse_kl_path')
  each, scale = (config('vocoder', variant).lock().to_dict() for variant in ('flow/oracle_prediction,gpu', 'gpu'))
  assert each['loss']['name'] == 'oracle_prediction' and each['train'] == {**scale['train'], 'grad_clip': 0.1}
  for module, wrong, words in (
      (mnist, 'huge', "configs/mnist.py has no variant 'huge': it has paper, .* transformer, flow/"),
      (mnist, 'cpu,gpu', 'takes one of paper, .* not cpu and gpu'), (vocoder, 'demo,path', "vocoder.py has no variant 'path'"),
      (gaussian, 'path', "configs/gaussian.py has no variant 'path': it has default and smoke")):
    with pytest.raises(ValueError, match=words):
      module.get_config(wrong)


def test_figures_of_the_digits():
  """Their arms are those of the paper and four more, in the order of the panels."""
  assert digits.get_config('path').figures['4'][1] == 'flow/reverse_kl_path'
  assert [arm.removeprefix('resnet/x_reconstruction_') for arm in digits.get_config().figures['5']] == [
      'l2', 'l1', 'l2_noise', 'l1_noise', 'l1_l2_noise', 'l2_noise_variance', 'l1_noise_variance', 'l2_bottleneck',
      'l2_bottleneck_skip']


@pytest.mark.parametrize('scale', vocoder.SCALES)
def test_the_speech_of_every_scale(scale):
  """Its section of the data is what the data set takes; what changes config.train changes it for every arm."""
  each = vocoder.get_config(scale).to_dict()
  data = dict(each['data'])
  inspect.signature(catalogue.SOURCES[data.pop('name')]).bind(**data)
  for name, arm in each['arms'].items():
    assert set(arm.get('train', {})) <= {'grad_clip'}, name
