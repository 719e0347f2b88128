"""The Gaussian figures: files, rows, and what a wrong name or number is told."""
import json
import pathlib

import numpy as np
import pytest

from configs import gaussian as gaussian_config
from inverse_matching import experiments
from inverse_matching.analysis import expansion_probability
from inverse_matching.errors import InputError
from inverse_matching.experiments.gaussian import figure1, norms, spectra, stiffness

ROWS = {
    '1': {'name'},
    '2': {'loss', 'dimension', 'init', 'seed', 'condition_number', 'ks', 'wasserstein', 'mean_shift', 'kl', 'final_loss'},
    '3': {'kind', 'dimension', 'init'},
    'proposition1': {'covariance', 'dimension', 'teacher', 'probability', 'monte_carlo', 'smallest_eigenvalue'},
    'norms': {'kind', 'dimension'},
    'spectra': {'kind'},
    'modes': {'loss', 'seed', 'modes_kept', 'kl'},
    'stiffness': {'arm', 'dimension', 'init', 'seed', 'kl', 'ks', 'mean_shift'},
    'mechanism': {'part', 'optimizer', 'seed', 'kl'},
}


def _config(**changes):
  config = gaussian_config.get_config('smoke').to_dict()
  return config | {name: config[name] | section for name, section in changes.items()}


def _check(figure, config, workdir):
  table = experiments.reproduce(figure, config, str(workdir), 'the command')
  name = f'figure{figure}' if figure.isdigit() else figure
  document = json.loads((workdir / f'{name}.json').read_text())
  assert document['command'] == 'the command' and document['settings'] and table
  assert all(ROWS[figure] <= row.keys() for row in document['rows'])
  assert (workdir / f'{name}.png').stat().st_size > 5000
  assert json.loads((workdir / 'timing.json').read_text())['stages'][name] >= 0
  return document['rows']


@pytest.mark.parametrize('figure', ['1', 'proposition1'])
def test_figure_without_training(figure, tmp_path):
  first = _check(figure, _config(), tmp_path)
  assert _check(figure, _config(), tmp_path) == first


def test_figure_2_compares_three_losses_with_the_floor(tmp_path):
  rows = _check('2', _config(gaussian=dict(dimensions=(2,), num_steps=10), figure2=dict(inits=('0.1 I',))), tmp_path)
  assert [row['loss'] for row in rows] == [loss for loss in ('reverse_kl', 'z_reconstruction', 'x_reconstruction', 'teacher')
                                           for _ in range(2)]
  assert all(row['kl'] == pytest.approx(0, abs=1e-9) for row in rows if row['loss'] == 'teacher')


@pytest.mark.slow
def test_all_of_them_and_the_claims(tmp_path):
  for figure in ROWS:
    _check(figure, _config(), tmp_path)
  experiments.reproduce('claims', _config(), str(tmp_path), 'the command')
  text = (tmp_path / 'README.md').read_text()
  assert 'agrees' in text and 'Rare signal' in text and json.loads((tmp_path / 'claims.json').read_text())['rows']


def test_gradients_at_a_sample_add_up():
  found = figure1.gradients(np.array([0.4, 1.5]), np.diag([4.0, 0.25]))
  np.testing.assert_allclose(found['g_x'], [0.4 - 0.1, 1.5 - 6.0])
  np.testing.assert_allclose(found['g_x parallel'] + found['g_x perpendicular'], found['g_x'])
  assert found['g_x perpendicular'] @ [0.4, 1.5] == pytest.approx(0)


def test_squared_norm_goes_to_the_second_moment_and_the_norm_to_its_root():
  rows = norms.concentration(dict(seed=0, num_samples=500, concentration_dimensions=(2000,)))
  for row in rows:
    assert row['squared_norm'] == pytest.approx(row['second_moment'], rel=0.01)
    assert row['norm'] == pytest.approx(row['second_moment'] ** 0.5, rel=0.01)
  assert {row['second_moment'] for row in rows} == {1.0, 1 / 3, 2.0}


def test_controlled_teachers_have_the_spectrum_asked_for():
  pair, sigma, q = spectra.controlled_models(4, 100.0, 2, seed=0)
  matrix = np.asarray(pair.teacher_params['matrix'][1])
  np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False)[::-1], sigma, rtol=1e-4)
  along = np.linalg.norm(q[1].T @ matrix, axis=-1)
  np.testing.assert_allclose(along, sigma, rtol=1e-4)
  assert sigma[-1] / sigma[0] == pytest.approx(100)


def test_digits_spectrum_has_full_rank_and_a_rare_signal_at_the_same_trace():
  values = spectra.image_eigenvalues('digits', 17, 0.01, seed=0)
  assert values.shape == (64,) and values[0] > 0.01
  assert expansion_probability(values / np.mean(values)) < 1e-6


@pytest.mark.parametrize('figure,changes,message', [
    ('proposition', {}, 'did you mean \'proposition1\''),
    ('2', dict(gaussian=dict(dimensions=(0,))), 'one dimension'),
    ('2', dict(figure2=dict(inits=('eye',))), 'Unknown initial R'),
    ('1', dict(figure1=dict(teacher_scales=(1.0, 0.0))), 'two positive numbers'),
    ('stiffness', dict(stiffness=dict(arms=('totl',))), 'did you mean \'total\''),
    ('modes', dict(modes=dict(num_layers=3)), 'must be even'),
    ('claims', {}, 'does not exist'),
])
def test_refuses(figure, changes, message, tmp_path):
  with pytest.raises(InputError, match=message):
    experiments.reproduce(figure, _config(**changes), str(tmp_path), '')


def test_refuses_the_config_of_another_figure(tmp_path):
  with pytest.raises(InputError, match='configs/gaussian.py'):
    experiments.reproduce('1', {'data': {}}, str(tmp_path), '')


def test_the_config_names_known_arms():
  assert set(gaussian_config.get_config().stiffness.arms) <= set(stiffness.ARMS)
  with pytest.raises(ValueError, match='default and smoke'):
    gaussian_config.get_config('tiny')
  assert pathlib.Path(gaussian_config.__file__).name == 'gaussian.py'
