"""Every kind of teacher: how good it is, and what can be distilled from it (section 4 of the paper, "Differentiability").

The students are ResNets, which see all of z: they suit a teacher of any order, and one whose blocks have several.
"""
from typing import Any, Mapping

from absl import logging
import jax

from inverse_matching.errors import InputError
from inverse_matching.evaluation import tables
from inverse_matching.experiments import distillation, figures
from inverse_matching.experiments.experiment import Experiment
from inverse_matching.registry import choose
from inverse_matching.runtime.overlays import merge

TABLE = (('bits_per_dim', 'train'), ('bits_per_dim', 'held_out'), ('kernel_distance', 'teacher'), ('kernel_distance', 'data'),
         ('coverage', 'teacher'), ('coverage', 'data'), ('label_entropy', 'teacher'), ('oracle_l1', 'teacher'),
         ('fixed_point_sweeps_mean', None))
SHOWN = 25  # images in a panel
COLUMNS = 5
PANELS = 6  # beside each other


def settings_of(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
  """The config of one kind: with the overlays that config.teachers_study and config.teacher_kinds have for it."""
  study = {name: fields for name, fields in config['teachers_study'].items() if name not in ('kinds', 'arms', 'training')}
  return merge(config, study, choose('kind of teacher', config['teacher_kinds'], kind))


def run(experiment: Experiment) -> str:
  """Trains, distils and evaluates each kind in teachers/KIND, and writes teachers.json and teachers.png after each.

  config.teacher_kinds has an overlay for each kind. config.teachers_study has kinds; arms; training, if given (kind -> overlay
  while its teacher trains); and sections, an overlay for all kinds.

  Rows are those of figure 4 with the field `teacher`. Bits per dimension are exact for teachers of discrete data, the others'
  are the dequantised bound: settings.exact_bits names the former. One classifier serves all, so what is measured on pixels
  compares between kinds; what is measured in the space of x, such as l1, compares within one space.

  Returns:
    The table.

  Raises:
    InputError: the config is one of a single kind already.
  """
  config, path, study = experiment.config, experiment.path, experiment.config['teachers_study']
  for kind, sections in config['teacher_kinds'].items():
    if sections and merge(config, sections) == config:
      raise InputError(f'Figure teachers goes through all kinds of teachers, and this config is of the kind {kind}: give it '
                       'without.')
  rows, pictures, exact = [], {}, []
  for number, kind in enumerate(study['kinds'], 1):
    logging.info('Teacher %d of %d: %s', number, len(study['kinds']), kind)
    settings = settings_of(config, kind)
    outcome = distillation.carry_out(experiment._replace(config=settings, path=path / 'teachers' / kind), study['arms'],
                                     teacher_config=merge(settings, study.get('training', {}).get(kind, {})),
                                     classifier=path / 'teachers')
    rows += [{**row, 'teacher': kind} for row in outcome.rows]
    panels = distillation.sample_panels(outcome, SHOWN)
    pictures |= {f'{kind}/{name.removeprefix("resnet/")}': images for name, images in panels.items()}
    exact += [kind] if outcome.teacher_run.teacher.levels is not None else []
    about = {**distillation.settings(config, outcome.teacher_run), 'teacher_kinds': config['teacher_kinds'],
             'teachers_study': study, 'exact_bits': exact}
    written = experiment.write('teachers', about, rows)
    figures.panels(path / 'teachers.png', pictures, levels=outcome.teacher_run.space.levels, columns=COLUMNS, per_row=PANELS,
                   title='Samples of each kind of teacher and of its students: the same noise z within a kind')
    jax.clear_caches()
  return (f'Teachers (bits/dim: exact for {", ".join(exact) or "none"}; the dequantised bound for the others)\n' +
          tables.plain(table(written, config['evaluation']['seed'])))


def table(rows: list[Mapping[str, Any]], seed: int) -> list[list[str]]:
  """A header, and a line for each kind of teacher and each of its students, at one seed of the samples."""
  named = [{**row, 'arm': f'{row["teacher"]} {row["arm"]}'} for row in rows
           if row['seed'] == seed and row['arm'] not in ('train', 'held_out')]
  return tables.by_arm(named, TABLE, intervals=False)[:-1]
