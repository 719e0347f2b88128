"""The study of lambda: what it changes in the config, and the spread of 1/sigma."""
import jax
import numpy as np
import pytest
import small_run

from configs import digits
from inverse_matching.experiments import logit_lambda


def test_settings():
  """Lambda and the fields of lambda_study take the place of those of the config; the rest stays, as does the original."""
  config = digits.get_config().to_dict()
  config['lambda_study'] = {'logit_lambdas': (0.3,), 'train': {'num_epochs': 7}, 'figures': {'4': ('flow/reverse_kl',)}}
  changed = logit_lambda.settings_of(config, 0.3)
  assert changed['data'] == {**config['data'], 'logit_lambda': 0.3}
  assert changed['train'] == {**config['train'], 'num_epochs': 7}
  assert changed['figures']['4'] == ('flow/reverse_kl',) and changed['figures']['5'] == config['figures']['5']
  assert all(changed[name] == config[name] for name in config if name not in ('data', 'train', 'figures'))
  assert config['train']['num_epochs'] == 30 and config['data']['logit_lambda'] == 0.01


def test_values_of_the_study():
  """Those of the issue, from the smallest."""
  assert digits.get_config().lambda_study.logit_lambdas == (1e-6, 1e-3, 0.01, 0.05)


def test_spread_of_the_scales():
  """The log-ratio of the quantiles of 1/sigma, of known values."""
  values = np.tile(np.linspace(-1.0, 3.0, 101), (20, 1))
  spread, median = logit_lambda.conditioning_rows(values, seed=0)
  assert spread['value'] == pytest.approx(0.9 * 4.0) and median['value'] == pytest.approx(1.0)
  assert spread['metric'] == 'log_inverse_scale_spread' and spread['low'] <= spread['value'] <= spread['high']


def test_scales_are_the_diagonal_of_the_jacobian():
  """log dz_t/dx_t, by automatic differentiation."""
  run = small_run.RUN
  x = np.random.default_rng(0).normal(size=(2, *run.teacher.event_shape)).astype(np.float32)
  jacobian = jax.jacobian(lambda x: run.teacher.x_to_z(run.params, x.reshape(1, *run.teacher.event_shape))[0].ravel())
  diagonal = [np.diag(jacobian(each.ravel())) for each in x]
  np.testing.assert_allclose(logit_lambda.log_inverse_scales(run, x, devices=1), np.log(diagonal), rtol=1e-4, atol=1e-4)
