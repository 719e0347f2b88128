"""report.md and forest.png: what a folder of figures 4, 5 and 6 shows, in words, tables and a picture."""
import pathlib
from typing import Any, Mapping

from inverse_matching.evaluation import tables
from inverse_matching.evaluation.sample_metrics import ENCODING_METRICS
from inverse_matching.experiments import claims, figures
from inverse_matching.experiments.experiment import Rows
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge

_QUALITY = ('kernel_distance', 'kernel_distance_8x8', 'frechet_distance', 'precision', 'recall', 'density', 'coverage',
            'two_sample_accuracy', 'sliced_wasserstein', 'label_total_variation', 'classes_present')
MAIN = (('kernel_distance', 'teacher'), ('kernel_distance', 'data'), ('coverage', 'teacher'), ('label_entropy', 'teacher'),
        ('sharpness', 'teacher'), ('stripe_score', 'teacher'), ('log_prob_mean_shift', 'teacher'), ('oracle_l2', 'teacher'),
        ('x_reconstruction_l2', 'held_out'))
SECTIONS = {
    'The teacher': (('bits_per_dim', 'train'), ('bits_per_dim', 'held_out'), ('nats', 'train'), ('nats', 'held_out'),
                    ('round_trip_x', 'held_out'), ('round_trip_z', None), ('fixed_point_error', 'ancestral'),
                    ('fixed_point_sweeps_mean', None), ('fixed_point_sweeps_max', None)),
    'Every student under every objective': (
        ('reverse_kl', 'teacher'), ('z_reconstruction_l2', 'teacher'), ('x_reconstruction_l2', 'train'),
        ('x_reconstruction_l2', 'held_out'), ('oracle_l2', 'teacher'), ('oracle_l1', 'teacher')),
    'Samples against teacher samples': tuple((metric, 'teacher') for metric in _QUALITY),
    'Samples against held-out data': tuple((metric, 'data') for metric in _QUALITY),
    'Texture, diversity, memory': (
        ('sharpness', 'teacher'), ('stripe_score', 'teacher'), ('label_entropy', 'teacher'), ('max_probability', 'teacher'),
        ('variance_ratio', 'teacher'), ('jacobian_rank', None), ('memorisation_ratio', 'train'), ('out_of_range', None)),
    'Power by frequency': tuple((metric, reference) for reference in ('teacher', 'data') for metric in (
        'log_power_ratio_coarse', 'log_power_ratio_middle', 'log_power_ratio_fine')),
    'Likelihood under the teacher': (
        ('log_prob_mean_shift', 'teacher'), ('log_prob_ks', 'teacher'), ('log_prob_wasserstein', 'teacher')),
    'Encodings T(x) against the prior': tuple((metric, 'prior') for metric in ENCODING_METRICS),
}


def write(path: pathlib.Path) -> None:
  """Writes report.md and forest.png from the figure4.json, figure5.json and figure6.json that are there."""
  documents = {n: files.read_json(path / f'figure{n}.json') for n in '456' if (path / f'figure{n}.json').exists()}
  command, settings = (next(iter(documents.values()))[name] for name in ('command', 'settings'))
  data, train, images = settings['data'], settings['train'], settings['images']
  # An arm may stand in several figures, with the same numbers.
  every_seed = Rows({(row['arm'], row['metric'], row['reference'], row['seed'], row.get('train_seed')): row
                     for document in documents.values() for row in document['rows']}.values())
  of_seed = every_seed.where(seed=settings['evaluation']['seed'])
  rows = of_seed.of_first_training()
  forest(path, of_seed)
  students = {}  # flow and resnet: the network of the first arm
  for arm in rows.distinct('arm'):
    if arm in settings['arms']:
      students.setdefault(arm.partition('/')[0], settings['arms'][arm].get('student', settings['student']))
  epochs = {merge({'train': train}, {'train': settings['arms'][arm].get('train', {})})['train']['num_epochs']
            for arm in rows.distinct('arm') if arm in settings['arms']}
  of_students = '' if epochs <= {train['num_epochs']} else f' (students {" or ".join(map(str, sorted(epochs)))})'
  pictures = '\n\n'.join(f'![{what}]({file}.png)' for n in documents for what, file in (
      (f'figure {n}', f'figure{n}'), ('reconstructions', f'reconstructions{n}'), ('spectra', f'spectra{n}'))
      if what != 'spectra' or (path / f'{file}.png').exists())  # which folders of earlier versions lack
  there = {(row['metric'], row['reference']) for row in rows}  # files of earlier versions lack some metrics
  found = {title: [column for column in columns if column in there] for title, columns in SECTIONS.items()}
  sections = '\n\n'.join(f'### {title}\n\n{tables.markdown(tables.by_arm(rows, columns))}'
                         for title, columns in found.items() if columns)
  text = f'''# One teacher, many students: {data['name']}

    {command}

Teacher: {_words(settings['teacher'])}. Students: {'; '.join(map(_words, students.values()))}. {data['levels']} grey levels,
logit lambda {data['logit_lambda']}. {train['num_epochs']} epochs{of_students} of batches of {train['batch_size']}, Adam at
{_schedule(settings['optimizer'])}; {settings['pairs']['num']} pairs for oracle prediction. Trained on
{images['train']} images; {images['held_out']} are held out. Intervals are 95%, over the examples of one training (docs/files.md
says how); the floor is the reference against itself. Seconds are in timing.json.

## Claims of the paper

*Agrees* and *disagrees* take three training seeds: the 95% interval of the difference over them excludes 0, and all agree. With
fewer, an interval over the examples that excludes 0 *indicates*, no more. *No headroom*: what should be beaten is at the floor.
*Not meaningful at this scale*: a linear classifier tells the teacher's samples from the data in more than 70% of cases (or, of
the variance ratio, two sets of the teacher's own samples differ in it by a quarter or more).
Kernel distances are compared as asinh(100 x): near 0 as they are, from 0.01 on in their log.

{tables.markdown([['section', 'claim', 'our numbers', 'verdict'], *claims.claims(of_seed)])}

## Numbers

![the main numbers of every arm](forest.png)

A dot for each training seed; bars are 95% intervals, over training seeds where there are three, else over examples. The tables
are of the first training seed.

{sections}

{_over_training(of_seed)}{_over_seeds(every_seed)}{pictures}
'''
  files.write_bytes(path / 'report.md', text.encode())


def forest(path: pathlib.Path, rows: Rows) -> None:
  """Draws the main numbers into forest.png."""
  figures.forest(path / 'forest.png', Rows(row for row in rows if row['arm'] not in ('train', 'held_out')), MAIN)


def _over_training(rows: Rows) -> str:
  """The main numbers over training seeds, of the arms that have several."""
  summary = rows.over_training()
  if not summary:
    return ''
  counts = sorted({row['num_train_seeds'] for row in summary})
  return (f'### Mean and 95% t interval over {" or ".join(map(str, counts))} training seeds\n\n'
          f'{tables.markdown(tables.by_arm(summary, MAIN))}\n\n')


def _over_seeds(rows: Rows) -> str:
  """The range of the main numbers over the seeds of the samples, if there are several."""
  rows = rows.of_first_training()
  num_seeds = len(rows.distinct('seed'))
  if num_seeds == 1:
    return ''

  def cell(arm, metric, reference):
    values = [row['value'] for row in rows.where(arm=arm, metric=metric, reference=reference)]
    return f'{min(values):.3g} to {max(values):.3g}' if values and None not in values else ''

  lines = [['arm', *(f'{metric} ({reference})' for metric, reference in MAIN)]]
  lines += [[arm, *(cell(arm, *column) for column in MAIN)] for arm in rows.distinct('arm')]
  return f'### Least and greatest over {num_seeds} seeds of the samples\n\n{tables.markdown(lines)}\n\n'


def _schedule(optimizer: Mapping[str, Any]) -> str:
  rate = optimizer['learning_rate']
  if optimizer.get('schedule') == 'cosine':
    return f'{rate} and down to zero along a cosine'
  return f'{rate} times {optimizer["decay_rate"]} an epoch'


def _words(section: dict) -> str:
  return ', '.join(f'{name} {value}' for name, value in section.items() if value is not None)
