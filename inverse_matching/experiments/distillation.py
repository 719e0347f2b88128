"""Figures 4, 5 and 6 of the paper: one teacher, several students, the same noise; with numbers."""
import functools
import math
import pathlib
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from absl import logging
import jax
import numpy as np

from inverse_matching import losses, runs
from inverse_matching.data import pairs as pair_data
from inverse_matching.errors import InputError
from inverse_matching.evaluation import evaluate, examples, statistics, tables, timing
from inverse_matching.evaluation.context import Context, check_count, make_context, teacher_samples
from inverse_matching.experiments import claims, figures, report
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.losses import distances
from inverse_matching.registry import choose
from inverse_matching.runs import StudentRun, TeacherRun
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge
from inverse_matching.training import checkpoint, loop

SHOWN = 40  # images in a panel
MANY = 1000  # of which spectra are drawn
COLUMNS = 5
PER_ROW = 7  # panels
TIMED_DIMS = 64 * 64  # of a batch that sampling is timed on
TIMED = 'time sampling'


class Outcome(NamedTuple):
  """A teacher and its students, trained and evaluated."""
  teacher_run: TeacherRun
  students: Mapping[str, StudentRun]  # of the first training seed
  context: Context  # of the first seed of the samples
  rows: list[dict[str, Any]]  # of all seeds; of a student with its train_seed
  stores: Mapping[str, pathlib.Path]  # see `store`
  stages: Stages  # that were gone through

  def of(self, arms: Iterable[str]) -> 'Outcome':
    """The same with these students alone."""
    arms = list(arms)
    student = lambda row: row['arm'].partition('@')[0]  # an arm may be measured twice, as ARM and ARM@HOW
    of_all = lambda row: student(row) not in self.students and row.get('train_seed') is None
    rows = [row for row in self.rows if student(row) in arms or of_all(row)]
    return self._replace(students={arm: self.students[arm] for arm in arms if arm in self.students}, rows=rows)


def run(experiment: Experiment, numbers: Iterable[str], *, with_timing: bool = True) -> str:
  """Trains what is missing, evaluates, and writes figureN.png, figureN.json, reconstructionsN.png, spectraN.png,
  report.md and timing.json.

  Numbers are written after each student, pictures of samples in the end.

  Args:
    experiment: its config is as for `carry_out`, with the section figures (figure -> the names of its arms, in order).
    numbers: of the figures: '4' has the flow students, '5' the ResNet students, '6' one of them beside the teacher.
    with_timing: whether sampling is timed in the end.

  Returns:
    The tables as text.
  """
  arms = {figure: experiment.config['figures'][figure] for figure in numbers}

  def write(outcome):
    return [_write(experiment, figure, outcome.of(each)) for figure, each in arms.items() if set(each) & set(outcome.students)]

  outcome = carry_out(experiment, dict.fromkeys(arm for each in arms.values() for arm in each), then=write,
                      more_stages=[*(f'draw figure {figure}' for figure in arms), *([TIMED] if with_timing else [])])
  for figure, each in arms.items():
    outcome.stages.run(f'draw figure {figure}', _draw, experiment, figure, outcome.of(each))
  if with_timing:
    outcome.stages.run(TIMED, _time, outcome, dict.fromkeys(each[0] for each in arms.values()))
  return '\n\n'.join(_write(experiment, figure, outcome.of(each)) for figure, each in arms.items())


def _write(experiment: Experiment, figure: str, outcome: Outcome) -> str:
  """Writes the numbers of a figure; returns its table."""
  about = {**settings(experiment.config, outcome.teacher_run),
           'classifier_accuracy': outcome.context.settings['classifier_accuracy']}
  rows = experiment.write(f'figure{figure}', about, outcome.rows, summary=Rows(outcome.rows).over_training())
  report.write(experiment.path)
  first = rows.where(seed=experiment.config['evaluation']['seed'])
  table = tables.by_arm(first.of_first_training(), report.MAIN, intervals=False)
  return '\n'.join([f'Figure {figure}', tables.plain(table),
                    *(f'{claim.text}: {claim.verdict} ({claim.number})' for claim in claims.claims(first, claims.CAPSTONE))])


def carry_out(experiment: Experiment, arms: Iterable[str], *, more_stages: Sequence[str] = (),
              teacher_config: Mapping[str, Any] | None = None, classifier: pathlib.Path | None = None,
              then: Callable[[Outcome], Any] = lambda outcome: None) -> Outcome:
  """Trains and evaluates a teacher and its students one by one, the cheap ones first, as far as that is not done.

  Args:
    experiment: its config has the sections data, teacher, student, loss, optimizer, train, pairs, evaluation, and arms (name ->
      overlay, see overlays.merge). An arm is named student/objective. config.evaluation.num_seeds, if given, repeats the
      evaluation with that many seeds of the samples; config.evaluation.num_train_seeds, which an overlay may change for an arm,
      trains that many students, with config.train.seed and those that follow, the further ones last. config.encodings.num, if
      given, is how many encodings of the data are stored for x_reconstruction, instead of made in every step.
    arms: the names of the students.
    more_stages: the stages that come after these.
    teacher_config: the config that the teacher is trained with; None is that of the experiment.
    classifier: the folder in which the classifier of the metrics has its own; None is that of the teacher.
    then: is called with the outcome so far after each student.

  Returns:
    The outcome. A training whose loss is not finite any more does not end the others: its rows are one of the metric
    `diverged`, and an arm of which no training came to its end has no student.

  Raises:
    InputError: what any of the steps would refuse, where it can be known before the first.
  """
  config, path, _, devices = experiment
  configs, seeds = student_configs(config, arms), sample_seeds(config, arms)
  check_count(config['evaluation']['num_samples'], 'samples')
  runs.check(teacher_config or config, configs.values())  # before the hours of the first of them
  trainings = sorted(((arm, seed) for arm, each in configs.items() for seed in train_seeds(each)),
                     key=lambda training: (training[1], _cost(distil_stage(config, *training))))
  kinds = dict.fromkeys(kind for each in configs.values() if (kind := store(config, each['loss'])))
  suffixes = {seed: '' if seed == seeds[0] else f'_seed{seed}' for seed in seeds}
  after = lambda what: [f'{what}{suffix}' for suffix in suffixes.values()]
  stages = Stages(path / 'timing.json', [
      'train the teacher', *(f'{what}{suffix}' for suffix in suffixes.values() for what in (
          'pairs to evaluate with', 'train the classifier of the metrics', 'evaluate the teacher')),
      *(f'{kind} to train on' for kind in kinds),
      *(stage for training in trainings for stage in (
          distil_stage(config, *training), *after(f'evaluate {_named(config, *training)}'))), *more_stages], _cost)
  teacher_run = stages.run('train the teacher', runs.train_teacher, teacher_config or config, path / 'teacher', devices)

  contexts, rows = {}, {}
  for seed, suffix in suffixes.items():
    folder = stages.run(f'pairs to evaluate with{suffix}', runs.make_pairs, teacher_run, path / f'evaluation_pairs{suffix}',
                        num=2 * config['evaluation']['num_samples'], seed=seed, solver=config['pairs']['solver'],
                        pairs_from=runs.source_of_pairs(teacher_run.teacher), devices=devices)
    samples = teacher_samples(teacher_run, **pair_data.load(folder, teacher_run.hash), devices=devices, workdir=folder)
    contexts[seed] = context = stages.run(
        f'train the classifier of the metrics{suffix}', make_context, teacher_run, classifier or path / 'teacher',
        samples, seed=seed, devices=devices)
    rows[seed, None] = stages.run(f'evaluate the teacher{suffix}', experiment.cached, f'teacher/evaluation{suffix}',
                                  context.settings, functools.partial(evaluate.evaluate_teacher, context))
  stores = {kind: stages.run(f'{kind} to train on', make_store, experiment, teacher_run, kind) for kind in kinds}
  students = {}

  def so_far():
    in_order = [row for seed in seeds for arm in (None, *configs) for row in rows.get((seed, arm), ())]
    of_arms = {arm: students[arm] for arm in configs if arm in students}
    return Outcome(teacher_run, of_arms, contexts[seeds[0]], in_order, stores, stages)

  for arm, train_seed in trainings:
    of_seed = merge(configs[arm], {'train': {'seed': train_seed}})
    try:
      student_run = distil(experiment, arm, of_seed, teacher_run, stores, stages)
    except loop.NotFinite as error:
      logging.warning('%s: %s', _named(config, arm, train_seed), error)
      for seed in seeds:
        row = statistics.row(arm, 'diverged', None, 1.0, n=1, seed=seed)
        rows.setdefault((seed, arm), []).append({**row, 'train_seed': train_seed})
      continue
    students.setdefault(arm, student_run)
    folder = student_folder(path, arm, of_seed).relative_to(path)
    student_hash = checkpoint.tree_hash(student_run.params)
    for seed, suffix in suffixes.items():
      about = {**contexts[seed].settings, 'arm': arm, 'student_hash': student_hash}
      measured = stages.run(f'evaluate {_named(config, arm, train_seed)}{suffix}', experiment.cached,
                            f'{folder}/evaluation{suffix}', about,
                            functools.partial(evaluate.evaluate_student, arm, student_run, contexts[seed]))
      rows.setdefault((seed, arm), []).extend({**row, 'train_seed': train_seed} for row in measured)
    then(so_far())
  return so_far()


def store(config: Mapping[str, Any], loss: Mapping[str, Any]) -> str | None:
  """What is made once for the students of an objective to train on, "pairs" or "encodings"; None: they take the data.

  It is the name of a folder in that of the experiment, and of a section of its config, which says how many to make.
  """
  kind = losses.stored(loss)
  return None if kind is None or config.get(kind, {}).get('num') is None else kind


def make_store(experiment: Experiment, teacher_run: TeacherRun, kind: str) -> pathlib.Path:
  """Makes what `store` names as far as it is not there; returns the folder."""
  pairs_from = 'data' if kind == 'encodings' else runs.source_of_pairs(teacher_run.teacher)
  return runs.make_pairs(teacher_run, experiment.path / kind, pairs_from=pairs_from, devices=experiment.devices,
                         **experiment.config[kind])


def _cost(stage: str) -> float:
  """What a stage costs, in that of the teacher's training: about what the digits' took."""
  if stage.startswith('distil'):
    return 2.0 if 'reverse_kl' in stage or 'z_reconstruction' in stage else 1.0
  return 1.0 if stage == 'train the teacher' else 0.15


def student_configs(config: Mapping[str, Any], arms: Iterable[str]) -> dict[str, dict[str, Any]]:
  """The config of each of these arms."""
  return {arm: config_of(config, arm) for arm in arms}


def config_of(config: Mapping[str, Any], arm: str) -> dict[str, Any]:
  """The config of one arm; InputError if config.arms has none of that name."""
  return merge(config, choose('arm', config['arms'], arm))


def with_train_seeds(config: Mapping[str, Any], arm: str, num: int) -> dict[str, Any]:
  """The config with `num` students of an arm, or more if it has more."""
  has = len(train_seeds(config_of(config, arm)))
  of_arm = config['arms'][arm]
  more = {**of_arm, 'evaluation': {**of_arm.get('evaluation', {}), 'num_train_seeds': max(num, has)}}
  return {**config, 'arms': {**config['arms'], arm: more}}


def sample_seeds(config: Mapping[str, Any], arms: Iterable[str]) -> range:
  """The seeds of the z that samples are made of.

  Raises:
    InputError: one of them is that of pairs or of a training, which draws its z from the same stream.
  """
  seed = config['evaluation']['seed']
  seeds = range(seed, seed + config['evaluation'].get('num_seeds', 1))
  of_trainings = (each for of_arm in student_configs(config, arms).values() for each in train_seeds(of_arm))
  taken = {config['pairs']['seed'], *of_trainings}
  if taken & set(seeds):
    of = lambda numbers: ', '.join(map(str, numbers))
    raise InputError(f'config.evaluation.seed is {seed}, so that students would be measured on z of seed {of(seeds)}, but '
                     f'pairs and trainings have seeds {of(sorted(taken))}: take a larger one, such as 100.')
  return seeds


def train_seeds(config: Mapping[str, Any]) -> range:
  """The seeds that the students of an arm are trained with."""
  seed = config['train']['seed']
  return range(seed, seed + (config['evaluation'].get('num_train_seeds') or 1))


def student_folder(path: pathlib.Path, arm: str, config: Mapping[str, Any]) -> pathlib.Path:
  """The workdir of a student in that of an experiment: students/ARM/seedK of the training seed K.

  In folders of before there were several seeds it is students/ARM.
  """
  folder, seed = path / 'students' / arm, config['train']['seed']
  if (folder / 'config.json').exists() and files.read_json(folder / 'config.json')['train']['seed'] == seed:
    return folder
  return folder / f'seed{seed}'


def folder_of_training(experiment: Experiment, arm: str, number: int) -> pathlib.Path:
  """The workdir of the student of an arm's training of that number, from 0; past as many as there are they begin anew."""
  config = config_of(experiment.config, arm)
  seeds = train_seeds(config)
  return student_folder(experiment.path, arm, merge(config, {'train': {'seed': seeds[number % len(seeds)]}}))


def _named(config: Mapping[str, Any], arm: str, train_seed: int) -> str:
  return arm if train_seed == config['train']['seed'] else f'{arm}, training seed {train_seed}'


def distil_stage(config: Mapping[str, Any], arm: str, train_seed: int) -> str:
  """The name of the stage in which a student of an arm is trained."""
  return f'distil {_named(config, arm, train_seed)}'


def distil(experiment: Experiment, arm: str, config: Mapping[str, Any], teacher_run: TeacherRun,
           stores: Mapping[str, pathlib.Path], stages: Stages) -> StudentRun:
  """Trains the student of an arm.

  Args:
    experiment: see `student_folder`.
    arm: its name.
    config: that of the arm, of `student_configs`.
    teacher_run: the teacher.
    stores: folders of pairs by what `losses.stored` says of an objective; others take the data.
    stages: what to run in.
  """
  student_run = stages.run(distil_stage(experiment.config, arm, config['train']['seed']), runs.distill, config,
                           student_folder(experiment.path, arm, config), teacher_run,
                           stores.get(losses.stored(config['loss'])), experiment.devices,
                           features=features_folder(experiment.path, config))
  jax.clear_caches()  # each arm compiles programs of its own: a gigabyte for a handful of them
  return student_run


def features_folder(path: pathlib.Path, config: Mapping[str, Any]) -> pathlib.Path | None:
  """The folder, in that of an experiment, of the classifier that a student's distance takes; None: it takes none."""
  return path / 'features' if config['loss'].get('distance') == distances.FEATURES else None


def settings(config: Mapping[str, Any], teacher_run: TeacherRun) -> dict[str, Any]:
  """What the numbers of a figure were made with, for its JSON."""
  names = ('data', 'teacher', 'student', 'optimizer', 'train', 'pairs', 'encodings', 'evaluation', 'arms')
  images = {split: len(getattr(teacher_run.source.data, split).pixels) for split in ('train', 'held_out')}
  sections = {name: config[name] for name in names if name in config}
  # The number of grey levels of one's own images may be that of the data, which the config does not tell.
  sections['data'] = {**sections['data'], 'levels': teacher_run.space.levels}
  return {**sections, 'images': images}


def sample_panels(outcome: Outcome, num: int) -> dict[str, np.ndarray]:
  """Integer images [num, H, W, C] by title: the teacher's and every student's of the same z."""
  samples = outcome.context.samples
  teacher = examples.to_pixels(outcome.teacher_run, samples.paired.x[:num])
  return {'teacher/T^-1(z)': teacher, **_student_panels(outcome, samples.z[:num])}


def _student_panels(outcome: Outcome, z: np.ndarray) -> dict[str, np.ndarray]:
  return {arm: examples.to_pixels(outcome.teacher_run, runs.generate(run, z, devices=1))
          for arm, run in outcome.students.items()}


def _draw(experiment: Experiment, figure: str, outcome: Outcome) -> None:
  teacher_run, context, path = outcome.teacher_run, outcome.context, experiment.path
  draw = functools.partial(figures.panels, levels=teacher_run.space.levels, columns=COLUMNS, per_row=PER_ROW)
  held_out = teacher_run.source.data.held_out.pixels[:SHOWN]
  draw(path / f'figure{figure}.png', {'data/(held out)': held_out, **sample_panels(outcome, SHOWN)},
       title='Samples: the same noise z for the teacher and every student')
  x, z, _ = (value[:SHOWN] for value in context.data['held_out'])
  draw(path / f'reconstructions{figure}.png', {'held-out x': examples.to_pixels(teacher_run, x), **_student_panels(outcome, z)},
       title='Reconstructions S(T(x)) of held-out images')
  samples, data = context.samples, teacher_run.source.data.held_out.pixels[:MANY]
  figures.spectra(path / f'spectra{figure}.png', {
      'data': data, 'teacher': examples.to_pixels(teacher_run, samples.paired.x[:MANY]),
      **_student_panels(outcome, samples.z[:MANY])}, levels=teacher_run.space.levels)


def _time(outcome: Outcome, arms: Iterable[str]) -> None:
  """Puts rows of sampling by the teacher and by students of these arms into timing.json; the students of a figure share their
  network, so that one of them is enough."""
  run, students = outcome.teacher_run, {arm: outcome.students[arm] for arm in arms if arm in outcome.students}
  if run.teacher.z_to_x is None:
    return
  # Of large images few: an exact solver takes minutes for a batch of them.
  batch = min(64, run.config['train']['batch_size'], max(4, TIMED_DIMS // math.prod(run.teacher.event_shape)))
  rows = timing.sampling_rows(run.teacher, run.params, {arm: (each.student, each.params) for arm, each in students.items()},
                              batch=batch, seed=outcome.context.seed)
  outcome.stages.write(sampling=rows)
