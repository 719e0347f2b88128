"""A TeacherRun over utterances of several lengths without a network, and a student of its form."""
import jax
import jax.numpy as jnp
import numpy as np

from inverse_matching import runs, students
from inverse_matching.data.speech.dataset import Speech, Utterance, source
from inverse_matching.data.speech.features import Features
from inverse_matching.teachers import build
from inverse_matching.training import checkpoint
from inverse_matching.types import Gaussian

HOP, D = 4, 2
FRAMES = (5, 40, 33, 8, 50)


def causal(params, x, cond, key=None):
  """An AR(1) process whose mean and scale follow the features."""
  before = jnp.pad(x, ((0, 0), (1, 0)))[:, :-1]
  features = jnp.repeat(cond, HOP, axis=1)
  return Gaussian(params['weight'] * before + 0.3 * features[..., 0], 0.2 * jnp.tanh(features[..., 1]) - 1)


def init(key):
  return {'weight': 0.5 + 0.1 * jax.random.normal(key)}


def model(event_shape=(None,), **settings):
  """The teacher."""
  assert settings in ({}, {'num_features': D})
  return build.autoregressive(event_shape, init, causal)


def student(event_shape, num_features):
  """A flow of the same form."""
  assert num_features == D
  return students.flow(event_shape, lambda key: {'weight': jnp.zeros(())}, causal)


def speech():
  """Noise of several lengths."""
  rng = np.random.default_rng(0)
  spoken = tuple(Utterance(f'u{i}', rng.normal(size=n * HOP).astype(np.float32), rng.normal(size=(n, D)).astype(np.float32))
                 for i, n in enumerate(FRAMES))
  features = Features(rate=800, hop=HOP, num_cepstra=0, mean=np.zeros(D), std=np.ones(D))
  return source(Speech(spoken, spoken[:2]), features, crop_frames=10, burn_in_frames=2)


TEACHER, SOURCE = model(), speech()
PARAMS = TEACHER.init(jax.random.key(0))
RUN = runs.TeacherRun({}, SOURCE.space, TEACHER, PARAMS, checkpoint.tree_hash(PARAMS), lambda: SOURCE)
