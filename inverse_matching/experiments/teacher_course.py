"""A teacher while it trains: does it draw better samples as its likelihood rises?"""
import functools
import pathlib
from typing import Any

import jax
from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.data.images.dataset import Images, Split
from inverse_matching.evaluation import examples, sample_metrics, set_distances, statistics
from inverse_matching.experiments import figures
from inverse_matching.experiments.experiment import Experiment, Rows, Stages
from inverse_matching.runs import exported
from inverse_matching.runs.classifier import train_classifier
from inverse_matching.runtime.processes import map_examples
from inverse_matching.training import checkpoint

SHOWN, COLUMNS = 25, 5  # images of a checkpoint
PANELS = 6  # checkpoints whose images are shown, at most
LINES = ('bits_per_dim', 'two_sample_accuracy', 'kernel_distance', 'coverage')
PER_SAMPLE = 'nats_below_data'


def run(experiment: Experiment) -> str:
  """Writes teacher_course.json and teacher_course.png; returns the table.

  config.teacher_course has num_samples, which are drawn at every checkpoint that config.train.keep_checkpoints kept, and seed.

  Rows have the updates, and of the checkpoint there bits_per_dim on as many images of the validation part (of the held-out
  ones, where there is none); nats_below_data, by how much its own samples are less likely to it than these; and what compares
  its samples with that part: the length of the training may be chosen by them.
  """
  config, path, _, devices = experiment
  settings = config['teacher_course']
  exported.require_run(path / 'teacher')
  runs.train_teacher(config, path / 'teacher', devices)
  steps = checkpoint.steps(path / 'teacher')
  stages = Stages(path / 'timing.json', ['train the classifier of the metrics', *(f'measure step {step}' for step in steps)])
  images = examples.images_of(runs.load_teacher(path / 'teacher'))
  classifier = stages.run('train the classifier of the metrics', train_classifier, config['data'],
                          path / 'teacher' / 'classifier', devices)
  reference = sample_metrics.make_reference(_judges(images).pixels, images.train.pixels, classifier, levels=images.levels,
                                           num=settings['num_samples'], seed=settings['seed'])
  measure = functools.partial(sample_metrics.sample_rows, 'teacher', references={'data': reference}, observer=classifier,
                              memorisation=set_distances.memorisation(images.train.pixels, _judges(images).pixels),
                              levels=images.levels, seed=settings['seed'])
  rows, pictures = Rows(), {}
  for step in steps:
    more, pictures[step] = stages.run(f'measure step {step}', _measure, experiment, step, measure)
    rows += [{**row, 'updates': step} for row in more]
  about = {'data': config['data'], 'teacher': config['teacher'], 'optimizer': config['optimizer'], 'train': config['train'],
           'teacher_course': settings, 'classifier_accuracy': classifier.held_out_accuracy}
  rows = experiment.write('teacher_course', about, rows)
  _draw(path / 'teacher_course.png', rows, pictures, images.levels)
  return rows.table(('updates', 'metric', 'value', 'low', 'high', 'floor'))


def _measure(experiment: Experiment, step: int, measure: Any) -> tuple[list[dict[str, Any]], np.ndarray]:
  """(rows, integer images) of a checkpoint."""
  settings = experiment.config['teacher_course']
  num, seed = settings['num_samples'], settings['seed']
  teacher_run = runs.load_teacher(experiment.path / 'teacher', step)
  drawn = runs.draw_pairs(teacher_run, num, seed, devices=experiment.devices)['x']
  held_out = examples.encode_split(teacher_run, _judges(teacher_run.source.data), seed, experiment.devices, num=num)
  log_prob = functools.partial(map_examples(teacher_run.teacher.log_prob, experiment.devices), teacher_run.params)
  of_data, of_samples = log_prob(held_out), log_prob(drawn)
  bits = np.asarray(teacher_run.space.codec.bits_per_dim(of_data, held_out))
  pixels = examples.to_pixels(teacher_run, drawn)
  row = functools.partial(statistics.row, 'teacher', n=num, seed=seed)
  below = statistics.mean_shift(of_data, of_samples)
  error = 1.96 * np.hypot(of_data.std() / np.sqrt(len(of_data)), of_samples.std() / np.sqrt(len(of_samples)))
  rows = [{**row('bits_per_dim', 'held_out', statistics.mean(bits, seed=seed)), 'n': len(bits)},
          row(PER_SAMPLE, 'held_out', (below, below - float(error), below + float(error)), floor=0.0),
          *measure(values=pixels), *examples.range_rows('teacher', teacher_run, drawn, seed=seed)]
  jax.clear_caches()
  return rows, pixels[:SHOWN]


def _judges(images: Images) -> Split:
  return images.validation or images.held_out


def _draw(path: pathlib.Path, rows: Rows, pictures: dict[int, np.ndarray], levels: int) -> None:
  steps = list(pictures)
  shown = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, PANELS).round().astype(int))]
  figure = plt.figure(figsize=(12, 5), layout='constrained')
  grid = figure.add_gridspec(2, 12)
  for i, metric in enumerate(LINES):
    axis, line = figure.add_subplot(grid[0, 3 * i:3 * i + 3]), rows.where(metric=metric)
    axis.plot(line.values('updates'), line.values('value'), marker='o', markersize=3)
    axis.fill_between(line.values('updates'), line.values('low'), line.values('high'), alpha=0.2)
    if line[0]['floor'] is not None:
      axis.axhline(line[0]['floor'], color='tab:green', linewidth=1, label='floor')
      axis.legend(fontsize=7)
    axis.set_title(f'{metric.replace("_", " ")} (held-out images)', fontsize=8)
    axis.set_xlabel('updates', fontsize=7)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
  for i, step in enumerate(shown):
    axis = figure.add_subplot(grid[1, 2 * i:2 * i + 2])
    figures.show(axis, pictures[step], COLUMNS, levels)
    axis.set_title(f'samples after {step} updates', fontsize=8)
    axis.axis('off')
  figures.save(figure, path)
