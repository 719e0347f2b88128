"""Is a student better than its teacher? Distances to the data where there is headroom, by measures that share no network."""
import functools
import math
import pathlib
from typing import Any, Callable, Iterator, Mapping

from absl import logging
import jax
import numpy as np

from inverse_matching import runs
from inverse_matching.data.images.dataset import Images
from inverse_matching.errors import InputError
from inverse_matching.evaluation import examples, set_distances, statistics
from inverse_matching.experiments import claims, distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.losses import distances
from inverse_matching.losses.common import prior_draw
from inverse_matching.runs import StudentRun, TeacherRun, exported
from inverse_matching.runs import classifier as classifiers
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint
from inverse_matching.training.loop import NotFinite
from inverse_matching.types import Batch, LossFn, Student, Teacher

Distance = Callable[[np.ndarray], tuple[float, float, float]]  # integer images -> (distance to the data, low, high)
FLOOR = 'training images'
SHUFFLED = 'inverse_matching.experiments.headroom:shuffled'
UNTRAINED_SEED = 1000  # more than that of the classifier, which would begin with just these features
NEAR = 0.1  # how far from the share that is asked for a checkpoint may be, in that share


def shuffled(teacher: Teacher, student: Student, *, distance: str = 'l2') -> LossFn:
  """Oracle prediction with a z that is not that of x: a decoder that cannot know what it should draw."""
  measure = distances.make(distance)

  def loss(student_params, teacher_params, batch: Batch):
    del teacher_params
    output = student.z_to_x(student_params, prior_draw(teacher, batch._replace(z=None)), batch.cond, batch.key)
    return measure(batch.x, output.x, batch.mask), {}

  return loss


def run(experiment: Experiment) -> str:
  """Writes headroom.json and headroom.png; returns the table.

  config.headroom has: arms; shares of the teacher's training, after which it is measured too (config.train.keep_checkpoints
  must have kept them); control, the arm with whose network and settings two controls are trained: `shuffled`, and `untrained`,
  by x_reconstruction on encodings of a teacher of random weights; training, sections that overlay those of that arm in the
  controls, or None; longer, sections of the config for the teacher that is trained on, or None; and classifier_seed.

  Rows have the arm, the metric, the distance to held-out images with its interval, and as the floor that of as many training
  images; those of a student its train_seed. The teacher and the students have their memorisation_ratio too. A control whose
  loss became not finite has the metric `diverged` alone. The summary has how much nearer each student is than each teacher
  (claims.effect). What needs no training is measured first, and headroom.json is written after every control.
  """
  config, settings = experiment.config, experiment.config['headroom']
  distillation.student_configs(config, [settings['control']])  # refuses unknown names before the first hour
  shares = [share for share in settings['shares'] if share < 1]
  controls = ['shuffled', 'untrained']
  longer = ['longer'] if settings['longer'] else []
  if shares:
    exported.require_run(experiment.path / 'teacher')
    _check_kept(config['train'], min(shares))
  outcome = distillation.carry_out(experiment, settings['arms'], more_stages=[
      'prepare the measures', 'measure the teacher and the students',
      *(f'measure the teacher at {share:.3g} of its training' for share in shares),
      *(f'distil and measure {name}' for name in controls), *(f'train the teacher {name}' for name in longer)])
  stages, teacher_run, context = outcome.stages, outcome.teacher_run, outcome.context
  num, seed = len(context.samples.z), context.seed
  measures = stages.run('prepare the measures', measures_to_data, experiment, teacher_run, num, seed,
                        settings['classifier_seed'])
  about = {**distillation.settings(config, teacher_run), 'headroom': settings, **context.settings}
  generated = lambda student_run: examples.to_pixels(
      teacher_run, runs.generate(student_run, context.samples.z, experiment.devices))
  measured = lambda arm, pixels, train_seed=None: [
      {**statistics.row(arm, metric, 'data', distance(pixels), n=num, seed=seed),
       **({} if train_seed is None else {'train_seed': train_seed})} for metric, distance in measures.items()]

  def of_teacher(name: str, run: TeacherRun) -> list[dict[str, Any]]:
    return experiment.cached(f'headroom/{name.replace(" ", "_")}', {**context.settings, 'teacher_hash': run.hash}, lambda: (
        measured(name, examples.to_pixels(run, runs.draw_pairs(run, num, seed, devices=experiment.devices)['x']))))

  def of_control(name: str) -> list[dict[str, Any]]:
    try:
      return measured(name, generated(_control(experiment, teacher_run, name)))
    except NotFinite as error:
      logging.warning('%s: %s', name, error)
      return [statistics.row(name, 'diverged', None, 1.0, n=1, seed=seed)]

  told_apart = Rows(outcome.rows).where(arm='teacher', metric='two_sample_accuracy')  # whether a verdict means anything
  floors = {row['metric']: row['value'] for row in measured(
      FLOOR, choose(teacher_run.source.data.train.pixels, num, seed))}
  rows = Rows(stages.run('measure the teacher and the students', lambda: [
      *(row for row in outcome.rows if row['metric'] == 'memorisation_ratio' and '@' not in row['arm']),
      *measured('teacher', examples.to_pixels(teacher_run, context.samples.paired.x)),
      *(row for (arm, train_seed), run in _students(experiment, teacher_run) for row in measured(
          arm, generated(run), train_seed))]))

  def write() -> Rows:
    with_floors = Rows({**row, 'floor': floors.get(row['metric'], row['floor'])} for row in rows)
    teachers = [arm for arm in rows.distinct('arm') if arm.startswith('teacher')]
    judged = [*with_floors, *told_apart]
    summary = [effect for arm in rows.distinct('arm') for baseline in teachers for metric in measures if arm not in teachers
               and (effect := claims.effect(judged, arm, baseline, metric, 'data'))]
    return experiment.write('headroom', about, with_floors, summary=summary)

  for share in shares:
    rows += stages.run(f'measure the teacher at {share:.3g} of its training', lambda share=share: of_teacher(
        f'teacher at {share:.3g}', runs.load_teacher(experiment.path / 'teacher', _step(experiment.path / 'teacher', share))))
  write()
  for name in controls:
    rows += stages.run(f'distil and measure {name}', of_control, name)
    write()
  for name in longer:
    rows += stages.run(f'train the teacher {name}', lambda: of_teacher('teacher longer', runs.train_teacher(
        merge(config, settings['longer']), experiment.path / 'headroom' / 'longer', experiment.devices,
        init_from=experiment.path / 'teacher')))
  rows = write()
  figures.forest(experiment.path / 'headroom.png', rows, [(metric, 'data') for metric in measures],
                 title=f'Distance to held-out images; floor: {FLOOR}')
  return rows.table(('arm', 'metric', 'value', 'low', 'high', 'floor'))


def _students(experiment: Experiment, teacher_run: TeacherRun) -> Iterator[tuple[tuple[str, int], StudentRun]]:
  """((arm, training seed), student) of each that there is."""
  for arm, config in distillation.student_configs(experiment.config, experiment.config['headroom']['arms']).items():
    for seed in distillation.train_seeds(config):
      folder = distillation.student_folder(experiment.path, arm, merge(config, {'train': {'seed': seed}}))
      yield (arm, seed), runs.load_student(folder, teacher_run)


def choose(pixels: np.ndarray, num: int, seed: int) -> np.ndarray:
  """`num` images at random, [num, H, W, C]."""
  return pixels[np.random.default_rng(seed).permutation(len(pixels))[:num]]


def _check_kept(train: Mapping[str, Any], share: float) -> None:
  """Refuses, before anything is trained, a teacher that will not keep the checkpoint of that share of its epochs."""
  needed = 1 + math.ceil((1 - share) * train['num_epochs'] / train['checkpoint_every_epochs'])
  if train['keep_checkpoints'] < needed:
    raise InputError(f'The teacher is measured at {share:.3g} of its training, and config.train.keep_checkpoints='
                     f'{train["keep_checkpoints"]} does not keep that checkpoint: set it to {needed} or more.')


def _step(workdir: pathlib.Path, share: float) -> int:
  steps = checkpoint.steps(workdir)
  wanted = share * steps[-1]
  nearest = min(steps, key=lambda step: abs(step - wanted))
  if abs(nearest - wanted) > NEAR * wanted:
    raise InputError(f'{workdir} has no checkpoint near step {wanted:.0f}: train the teacher anew with a '
                     'config.train.keep_checkpoints that keeps all.')
  return nearest


def measures_to_data(experiment: Experiment, teacher_run: TeacherRun, num: int, seed: int,
                     classifier_seed: int) -> dict[str, Distance]:
  """The distances to `num` held-out images: two of features, of networks of classifier_seed, and one of pixels."""
  images: Images = examples.images_of(teacher_run)
  to = choose(images.held_out.pixels, num, seed)
  another = merge(classifiers.SETTINGS, {'train': {'seed': classifier_seed}})
  trained = classifiers.train_classifier(teacher_run.config['data'], experiment.path / 'another_classifier',
                                         experiment.devices, config=another)
  untrained = classifiers.random_observer(images, UNTRAINED_SEED + classifier_seed, experiment.devices)
  unit = lambda pixels: pixels / (images.levels - 1)

  def distance(statistic, pixels):
    value, = statistics.jackknife(statistic(pixels), (len(pixels), len(to)), seed=seed)
    return value

  def kernel(observer):
    of_data = observer.features(to)
    return lambda pixels: set_distances.kernel_statistic(observer.features(pixels), of_data)

  return {
      'kernel distance, features of another classifier': functools.partial(distance, kernel(trained)),
      'kernel distance, random features': functools.partial(distance, kernel(untrained)),
      'sliced Wasserstein distance of pixels': functools.partial(
          distance, lambda pixels: set_distances.sliced_wasserstein_statistic(unit(pixels), unit(to), seed=seed))}


def _control(experiment: Experiment, teacher_run: TeacherRun, name: str) -> StudentRun:
  settings = experiment.config['headroom']
  config = merge(distillation.config_of(experiment.config, settings['control']), settings.get('training') or {})
  folder = experiment.path / 'headroom' / name
  if name == 'shuffled':
    config = merge(config, {'loss': {**config['loss'], 'name': SHUFFLED}})
    pairs = distillation.make_store(experiment, teacher_run, 'pairs')
  else:
    params = teacher_run.teacher.init(jax.random.key(config['train']['seed']))
    teacher_run = teacher_run._replace(params=params, hash=checkpoint.tree_hash(params))
    config = merge(config, {'loss': {**config['loss'], 'name': 'x_reconstruction'}})
    kind = distillation.store(config, config['loss'])
    pairs = None if kind is None else distillation.make_store(
        experiment._replace(path=folder, config=config), teacher_run, kind)
  student_run = runs.distill(config, folder / 'student', teacher_run, pairs, experiment.devices,
                             features=distillation.features_folder(experiment.path, config))
  jax.clear_caches()
  return student_run
