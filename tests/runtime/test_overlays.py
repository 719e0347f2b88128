"""Overlays: a section with a name takes the place of the one there, the fields of others that of theirs."""
import pytest

from inverse_matching.runtime.overlays import merge

CONFIG = {'student': {'name': 'flow', 'num_levels': 3, 'dropout': 0.0}, 'train': {'seed': 0, 'num_epochs': 30}}


def test_merge():
  """The last overlay counts; what no overlay names stays, and so does what is given."""
  resnet = {'student': {'name': 'resnet', 'num_blocks': 2}}
  long, again = {'train': {'num_epochs': 60}}, {'train': {'num_epochs': 90}, 'student': {'dropout': 0.1}}
  assert merge(CONFIG) == merge(CONFIG, {}) == CONFIG
  assert merge(CONFIG, resnet, long) == {**resnet, 'train': {'seed': 0, 'num_epochs': 60}}
  assert merge(CONFIG, again, long) == {
      'student': {'name': 'flow', 'num_levels': 3, 'dropout': 0.1}, 'train': {'seed': 0, 'num_epochs': 60}}
  assert merge(CONFIG, long, again, resnet) == {**resnet, 'train': {'seed': 0, 'num_epochs': 90}}
  assert CONFIG['train'] == {'seed': 0, 'num_epochs': 30} and long == {'train': {'num_epochs': 60}}


def test_a_section_that_is_not_there():
  """A new one has a name; fields alone are a mistake."""
  loss = {'loss': {'name': 'reverse_kl'}}
  assert merge(CONFIG, loss) == {**CONFIG, **loss}
  with pytest.raises(KeyError, match='trian'):
    merge(CONFIG, {'trian': {'seed': 1}})
