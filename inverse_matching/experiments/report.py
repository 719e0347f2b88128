"""report.md: what a folder of figures 4 and 5 shows, in words and one table."""
import pathlib

from inverse_matching import files
from inverse_matching.evaluation import tables
from inverse_matching.evaluation.quality import ENCODING_METRICS
from inverse_matching.experiments import claims

_QUALITY = ('kernel_distance', 'frechet_distance', 'precision', 'recall', 'density', 'coverage', 'two_sample_accuracy',
            'sliced_wasserstein', 'label_total_variation', 'classes_present')
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
        ('variance_ratio', 'teacher'), ('jacobian_rank', None), ('memorisation_ratio', 'train')),
    'Likelihood under the teacher': (
        ('log_prob_mean_shift', 'teacher'), ('log_prob_ks', 'teacher'), ('log_prob_wasserstein', 'teacher')),
    'Encodings T(x) against the prior': tuple((metric, 'prior') for metric in ENCODING_METRICS),
}


def write(path: pathlib.Path) -> None:
  """Writes report.md from the figure4.json and figure5.json that are there."""
  found = [(n, files.read_json(path / f'figure{n}.json')) for n in '45' if (path / f'figure{n}.json').exists()]
  figure = found[0][1]
  settings = figure['settings']
  data, train = settings['data'], settings['train']
  rows = list({(r['arm'], r['metric'], r['reference']): r for _, numbers in found for r in numbers['rows']}.values())
  pictures = '\n\n'.join(f'![figure {n}](figure{n}.png)\n\n![reconstructions](reconstructions{n}.png)' for n, _ in found)
  sections = '\n\n'.join(f'### {title}\n\n{tables.markdown(tables.by_arm(rows, columns))}'
                         for title, columns in SECTIONS.items())
  text = f'''# One teacher, many students: {data['name']}

    {figure['command']}

Teacher: {_words(settings['teacher'])}. Flow students: {_words(settings['student'])}. {data['levels']} grey levels, logit
lambda {data['logit_lambda']}. {train['num_epochs']} epochs of batches of {train['batch_size']}, Adam at
{settings['optimizer']['learning_rate']} times {settings['optimizer']['decay_rate']} an epoch; {settings['pairs']['num']}
pairs for oracle prediction. The held-out images chose the settings, so held-out numbers are slightly optimistic. Intervals
are 95%, by the bootstrap over examples, or by the jackknife where a metric compares sets; the floor is the reference against
itself. Seconds are in timing.json.

## Claims of the paper

"Not decided": the 95% intervals overlap.

{tables.markdown([['section', 'claim', 'our numbers', 'verdict'], *claims.claims(rows)])}

## Numbers

{sections}

{pictures}
'''
  files.write_bytes(path / 'report.md', text.encode())


def _words(section: dict) -> str:
  return ', '.join(f'{name} {value}' for name, value in section.items())
