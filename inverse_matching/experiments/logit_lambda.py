"""What lambda decides, the constant of the logit preprocessing that the paper never states: figure 4 for several values."""
import pathlib
from typing import Any, Mapping

from matplotlib import pyplot as plt
import numpy as np

from inverse_matching import runs
from inverse_matching.evaluation import examples, statistics, tables
from inverse_matching.evaluation.context import EXAMPLES
from inverse_matching.experiments import distillation, figures
from inverse_matching.experiments.experiment import Experiment, Rows
from inverse_matching.runtime import files, processes
from inverse_matching.runtime.overlays import merge

QUANTILES = (0.05, 0.95)
SHOWN = (('bits_per_dim', 'train'), ('bits_per_dim', 'held_out'), ('log_inverse_scale_spread', 'held_out'),
         ('kernel_distance', 'teacher'), ('kernel_distance', 'data'), ('coverage', 'teacher'), ('label_entropy', 'teacher'),
         ('log_prob_mean_shift', 'teacher'), ('reverse_kl', 'teacher'), ('z_reconstruction_l2', 'teacher'),
         ('x_reconstruction_l2', 'held_out'))
DRAWN = (('bits_per_dim', 'held_out'), ('log_inverse_scale_spread', 'held_out'), ('kernel_distance', 'teacher'),
         ('coverage', 'teacher'), ('label_entropy', 'teacher'))


def settings_of(config: Mapping[str, Any], value: float) -> dict[str, Any]:
  """The config of one lambda; the sections in config.lambda_study are an overlay for all of them."""
  study = {name: fields for name, fields in config['lambda_study'].items() if name != 'logit_lambdas'}
  return merge(config, study, {'data': {'logit_lambda': value}})


def log_inverse_scales(run: runs.TeacherRun, x: np.ndarray, devices: int | None = None) -> np.ndarray:
  """log dz_t/dx_t of every conditional, [N, T] of x [N, *event], the diagonal of T's Jacobian: log 1/sigma of a Gaussian."""
  teacher = run.teacher
  slopes = lambda params, x: teacher.elementwise.x_to_z(x, teacher.conditional(params, x))[1]
  return processes.map_examples(slopes, devices)(run.params, x).reshape(len(x), -1)


def conditioning_rows(values: np.ndarray, seed: int) -> list[dict[str, Any]]:
  """Rows of log 1/sigma [N, T]: how far its 95% quantile over images and dimensions is from the 5% quantile, and the median.

  1/sigma is by how much T stretches a dimension. Intervals are by the bootstrap over images.
  """
  spread = lambda values: float(np.diff(np.quantile(values, QUANTILES)).item())
  return [statistics.row('teacher', metric, 'held_out', statistics.bootstrap(statistic, values, seed=seed), n=len(values),
                         seed=seed)
          for metric, statistic in (('log_inverse_scale_spread', spread), ('log_inverse_scale_median', np.median))]


def run(experiment: Experiment) -> str:
  """Makes figure 4 in lambda/VALUE for each value, and writes lambda.json and lambda.png; returns the table.

  config.lambda_study has logit_lambdas, and changes to other sections (see settings_of). Bits per dimension and what is
  measured on pixels compare between values of lambda; what is measured in the space of x, in nats or as l2 there, does not.
  Rows have the field logit_lambda besides those of figure 4; the summary has their means over the training seeds.
  lambda.json is written after every value.
  """
  study, rows = experiment.config['lambda_study'], Rows()
  for value in study['logit_lambdas']:
    settings = settings_of(experiment.config, value)
    folder, seed = experiment.path / 'lambda' / str(value), settings['evaluation']['seed']
    distillation.run(experiment._replace(config=settings, path=folder), ['4'], with_timing=False)
    teacher_run = runs.load_teacher(folder / 'teacher')
    rows_of_value = files.read_json(folder / 'figure4.json')['rows']
    if teacher_run.teacher.conditional is not None:
      x = examples.encode_split(teacher_run, teacher_run.source.data.held_out, seed, experiment.devices, num=EXAMPLES)
      rows_of_value += conditioning_rows(log_inverse_scales(teacher_run, x, experiment.devices), seed)
    rows += [{**row, 'logit_lambda': value} for row in rows_of_value]
    means = [{**row, 'logit_lambda': value} for value in rows.distinct('logit_lambda')
             for row in rows.where(logit_lambda=value).over_training()]
    # The settings of the last value; each row has its own.
    experiment.write('lambda', {**distillation.settings(settings, teacher_run), 'lambda_study': study}, rows, summary=means)
  _draw(experiment.path / 'lambda.png', rows)
  named = Rows({**row, 'arm': f'{row["logit_lambda"]:g} {row["arm"]}'} for row in rows.where(seed=seed))
  return 'Lambda\n' + tables.plain(tables.by_arm(named.of_first_training(), SHOWN, intervals=False)[:-1])


def _draw(path: pathlib.Path, rows: Rows) -> None:
  figure, axes = plt.subplots(1, len(DRAWN), figsize=(3.4 * len(DRAWN), 3.6), layout='constrained')
  for axis, (metric, reference) in zip(axes, DRAWN):
    for i, ((arm,), of_arm) in enumerate(rows.where(metric=metric, reference=reference).having('value').groups('arm').items()):
      for train_seed in dict.fromkeys(row.get('train_seed') for row in of_arm):
        line = Rows(row for row in of_arm if row.get('train_seed') == train_seed)
        axis.plot(line.values('logit_lambda'), line.values('value'), marker='o', markersize=4, color=f'C{i}',
                  label=None if train_seed else arm)
    axis.set(xscale='log', xlabel='lambda', title=f'{metric}\n({reference})')
    axis.title.set_fontsize(9)
    axis.grid(alpha=0.3)
    if metric == 'kernel_distance':
      axis.set_yscale('symlog', linthresh=0.01)
  axes[-1].legend(fontsize=7)
  figures.save(figure, path)
