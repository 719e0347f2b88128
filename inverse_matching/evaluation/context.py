"""What every arm of an experiment is compared with: teacher samples, data, and the features they are seen in."""
import functools
import hashlib
import os
import pathlib
from typing import Any, Callable, Mapping, NamedTuple

from absl import logging
import numpy as np

from inverse_matching.data.table import Table
from inverse_matching.elementwise import priors
from inverse_matching.errors import InputError
from inverse_matching.evaluation import examples, sample_metrics, set_distances
from inverse_matching.runs import TeacherRun, draw_pairs
from inverse_matching.runs.classifier import Observer, random_observer, train_classifier
from inverse_matching.runtime import files
from inverse_matching.runtime.processes import map_examples
from inverse_matching.runtime.progress import Progress
from inverse_matching.types import sum_event

EXAMPLES = 10_000  # of a split, at most
METRICS = 3  # goes up with what is measured and how: numbers by another version are measured anew
FEWEST = 8  # examples of a set, for the five nearest neighbours of each when some are left out


class Seen(NamedTuple):
  """Examples and what the teacher says of them."""
  x: np.ndarray  # [N, *event]
  z: np.ndarray  # [N, *event], T(x)
  log_prob: np.ndarray  # [N], nats


class TeacherSamples(NamedTuple):
  """Exact teacher samples that every student is compared with.

  Point by point, S(z) is compared with T^-1(z). What compares sets, such as a kernel distance, takes samples of other z: sets
  of the same z are closer than two draws of one law ever are.
  """
  z: np.ndarray  # [N, *event], what students sample from
  paired: Seen  # x = T^-1(z)
  independent: Seen  # N samples of other z


class Context(NamedTuple):
  """What every arm of an experiment is evaluated with."""
  run: TeacherRun
  samples: TeacherSamples
  observer: Observer
  references: Mapping[str, sample_metrics.Reference]  # 'teacher': samples of other z, 'data': held-out images
  memorisation: set_distances.Memorisation
  data: Mapping[str, Seen]  # 'train' and 'held_out'
  see: Callable[[np.ndarray], Seen]  # x [N, *event], compiled once for all arms
  seed: int
  devices: int | None

  @property
  def settings(self) -> dict[str, Any]:
    """What the numbers depend on, for the record."""
    return {'teacher_hash': self.run.hash, 'classifier_hash': self.observer.hash,
            'classifier_accuracy': self.observer.held_out_accuracy, 'num_samples': len(self.samples.z), 'seed': self.seed,
            'teacher_samples': 'of other z', 'metrics': METRICS}

  @property
  def has_normal_prior(self) -> bool:
    """Whether encodings can be compared with N(0, I)."""
    return priors.is_standard_normal(self.run.teacher.prior, self.run.teacher.event_shape)


def make_context(run: TeacherRun, workdir: str | os.PathLike, samples: TeacherSamples, *, seed: int,
                 devices: int | None = None) -> Context:
  """Trains the classifier (once for a folder, and of images with labels) and prepares the references.

  Args:
    run: the teacher.
    workdir: where the classifier has its folder: that of the teacher, or of several teachers of the same data.
    samples: teacher samples to compare with.
    seed: of the evaluation.
    devices: number of local devices, or None for all.

  Raises:
    InputError: data that are neither images nor a table, or too few examples.
  """
  train, held_out = check(run, len(samples.z))
  observer = _observer(run, pathlib.Path(workdir) / 'classifier', devices)
  reference = functools.partial(sample_metrics.make_reference, observer=observer, levels=run.space.levels, num=len(samples.z),
                                seed=seed)
  references = {'teacher': reference(*(examples.to_values(run, each.x) for each in (samples.independent, samples.paired))),
                'data': reference(held_out, train)}
  see = seer(run, devices, workdir)
  data = {name: see(examples.encode_split(run, getattr(run.source.data, name), seed, devices, num=EXAMPLES), f'{name}_{seed}')
          for name in ('train', 'held_out')}
  return Context(run, samples, observer, references, set_distances.memorisation(train, held_out), data, see, seed, devices)


def check_count(count: int, what: str) -> None:
  """Raises InputError for fewer than FEWEST of them."""
  if count < FEWEST:
    raise InputError(f'There are {count} {what}, too few to compare with: {FEWEST} or more are needed.')


def check(run: TeacherRun, num_samples: int) -> tuple[np.ndarray, np.ndarray]:
  """The training and held-out examples as the metrics see them; raises InputError if there is too little to compare."""
  train, held_out = (examples.values_of(run, name) for name in ('train', 'held_out'))
  check_count(len(held_out), 'held-out examples')
  check_count(num_samples, 'samples')
  if len(held_out) > len(train):
    raise InputError(f'There are {len(held_out)} held-out examples and {len(train)} to train on, and what is remembered shows '
                     'only where there are no fewer of these: hold fewer out.')
  return train, held_out


def seer(run: TeacherRun, devices: int | None = None, workdir: str | os.PathLike | None = None) -> Callable[..., Seen]:
  """(x [N, *event], name) -> Seen, both values in one pass: log p(x) = log p(z) + log |det dz/dx|.

  What has a name is kept in the folder `seen` of the workdir, if there is one: a run that goes on finds it there.
  """
  def both(params, x):
    z, log_det = run.teacher.x_to_z(params, x)
    return z, sum_event(run.teacher.prior.log_density(z)) + log_det

  mapped = map_examples(both, devices)

  def see(x, name=None):
    compute = lambda: dict(zip(('z', 'log_prob'), mapped(run.params, x)))
    if name is None or workdir is None:
      return Seen(x, **compute())
    about = {'teacher_hash': run.hash, 'x': hashlib.sha256(np.ascontiguousarray(x)).hexdigest()}
    return Seen(x, **files.arrays_once(pathlib.Path(workdir) / 'seen' / f'{name}.npz', about, compute))

  return see


def _observer(run: TeacherRun, workdir: pathlib.Path, devices: int | None) -> Observer:
  data = run.source.data
  if isinstance(data, Table):
    return Observer(lambda rows: (rows, None))
  if examples.images_of(run).train.labels is not None:
    return train_classifier(run.config['data'], workdir, devices)
  logging.info('The images have no labels: distances are of features of a network with random weights.')
  return random_observer(data, seed=0, devices=devices)


def teacher_samples(run: TeacherRun, z: np.ndarray, x: np.ndarray, devices: int | None = None,
                    workdir: str | os.PathLike | None = None) -> TeacherSamples:
  """TeacherSamples of 2 N pairs (z, x = T^-1(z)), with N of each; for the workdir see `seer`."""
  n, see = len(z) // 2, seer(run, devices, workdir)
  return TeacherSamples(z[:n], see(x[:n], 'paired'), see(x[n:2 * n], 'independent'))


def draw_teacher_samples(run: TeacherRun, num: int, seed: int, devices: int | None = None,
                         workdir: str | os.PathLike | None = None) -> TeacherSamples:
  """TeacherSamples with N = num; kept in the folder `seen` of the workdir, if there is one, for all students of the teacher."""
  def draw():
    with Progress('teacher samples', 2 * num, unit='sample') as progress:
      return draw_pairs(run, 2 * num, seed, devices=devices, progress=progress.update)

  pairs = draw() if workdir is None else files.arrays_once(
      pathlib.Path(workdir) / 'seen' / f'drawn_{seed}.npz', {'teacher_hash': run.hash, 'num': num}, draw)
  return teacher_samples(run, **pairs, devices=devices, workdir=workdir)
