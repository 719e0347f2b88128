"""Data sets by name, and spaces by what a run's folder says of them."""
import functools
import os
from typing import Any, Callable, Mapping

from inverse_matching import registry
from inverse_matching.data import table
from inverse_matching.data.arrays import arrays
from inverse_matching.data.images import dataset as images
from inverse_matching.data.images import tfds as tfds_images
from inverse_matching.data.source import Source, Space
from inverse_matching.data.speech import dataset as speech
from inverse_matching.data.speech.corpora import CORPORA
from inverse_matching.runtime import files

# name -> factory(**settings) -> Source. A user's own is 'package.module:factory'.
SOURCES: dict[str, Callable[..., Source]] = {
    'arrays': arrays,
    'digits': images.digits,
    **{name: functools.partial(images.prepared, name) for name in tfds_images.SETS},
    'synthetic': speech.synthetic,
    **{name: functools.partial(speech.prepared, name) for name in CORPORA},
}
CREDITS = {  # of a data set: who made it, and under what licence
    'digits': 'E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi 10.24432/C50P49, CC BY 4.0',
    'mnist': 'Y. LeCun, C. Cortes and C. Burges, usually given as CC BY-SA 3.0',
    'fashion_mnist': 'H. Xiao, K. Rasul and R. Vollgraf (Zalando), MIT licence',
    'cifar10': 'A. Krizhevsky, without a stated licence',
    'ljspeech': 'K. Ito and L. Johnson (2017), of LibriVox, in the public domain',
}
SPACES: dict[str, Callable[..., Space]] = {'images': images.space, 'speech': speech.space, 'table': table.space}


def load(settings: Mapping[str, Any]) -> Source:
  """Returns the data set of config.data: its name, in SOURCES or one's own, and what that takes.

  Raises:
    InputError: there is none of that name, a setting is not its own, or the data cannot be read.
  """
  settings = dict(settings)
  return registry.build('data set', SOURCES, settings.pop('name'), {}, settings, returns=Source, section='data')


def settled(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns config.data with the file of `arrays` by its path from the root, to be found from any folder, and its sha256."""
  path = settings.get('path') if settings['name'] == 'arrays' else None
  if path is None or not os.path.isfile(path):
    return dict(settings)
  return {**settings, 'path': os.path.abspath(path), 'sha256': files.sha256(path)}


def space(facts: Mapping[str, Any]) -> Space:
  """Returns the space whose facts these are, without its data; raises InputError if this version has no such kind of data."""
  facts = dict(facts)
  return registry.choose('kind of data', SPACES, facts.pop('kind'))(**facts)
