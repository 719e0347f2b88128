"""A run, or weights from elsewhere, as a model to pass on, see runs.exported, with a card."""
import os
import pathlib
from typing import Any, Mapping, Sequence

from inverse_matching.data import catalogue
from inverse_matching.errors import InputError
from inverse_matching.evaluation import tables
from inverse_matching.runs import exported, models, trust
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runtime import files
from inverse_matching.runtime.overlays import merge

EXAMPLES = 500
SHOWN = (  # of the numbers of an evaluation
    ('bits_per_dim', 'held_out'), ('kernel_distance', 'data'), ('coverage', 'data'), ('two_sample_accuracy', 'data'),
    ('kernel_distance', 'teacher'), ('coverage', 'teacher'), ('oracle_l2', 'teacher'), ('x_reconstruction_l2', 'held_out'),
    ('z_reconstruction_l2', 'teacher'), ('reverse_kl', 'teacher'))


def export(workdir: str | os.PathLike, output: str | os.PathLike, *, note: str = '', step: int | None = None) -> None:
  """Writes the teacher or student of a run as a model: the same parameters to the bit, with a card.

  A teacher at the end of an epoch, of a schedule that does not ask how many there are to be, is the one that so many epochs
  make: its config says so, and an experiment of that config takes it.

  Args:
    workdir: of the run. The numbers on the card are those of its evaluation.json, if it has one.
    output: a new folder.
    note: for the card: what the model is bad at.
    step: of the checkpoint to take; None is the last.

  Raises:
    InputError: there is no run, no such checkpoint, the training is not done and no step is named, or the folder cannot be
      written.
  """
  path = pathlib.Path(workdir)
  if exported.is_model(path):
    raise InputError(f'{path} is an exported model already: copy it.')
  config = files.read_json(path / 'config.json') if (path / 'config.json').exists() else {}
  if config.get('kind') == 'student':
    config = workdirs.read_config(path, 'student')
    facts = workdirs.read_space(path)
    if facts is None:
      raise InputError(f'{path} has no space.json, without which no model can be built from it: distil it anew.')
    space = catalogue.space(facts)
    params, found = models.load_params(path, models.make_student(config, space).init, step)
  else:
    teacher_run = models.load_teacher(path, step)
    space, facts, config = teacher_run.space, teacher_run.space.facts, workdirs.read_config(path, 'teacher')
    params, found = models.load_params(path, teacher_run.teacher.init, step)
  total = models.planned(path, config, space)
  if step is None and found < total:
    raise InputError(f'{path} is at step {found} of {total}: let its training come to the end, or take what there is by '
                     f'--step={found}.')
  per_epoch = total // config['train']['num_epochs']
  asks = config['optimizer'].get('schedule') == 'cosine' or config['optimizer'].get('cooldown_epochs')
  if config['kind'] == 'teacher' and not asks and found % per_epoch == 0 < found < total:
    config, total = merge(config, {'train': {'num_epochs': found // per_epoch}}), found
  if facts is None:
    raise InputError(f'The data of {path} cannot be told by name, so that a model could not be used without them.')
  evaluation = path / 'evaluation.json'
  card = _card(config, facts, found, files.read_json(evaluation) if evaluation.exists() else None, note, total)
  exported.write(output, params, step=found, others={
      'config.json': files.json_bytes(config), 'space.json': files.json_bytes(facts), 'card.md': card.encode()})


def import_teacher(config: Mapping[str, Any], weights: str | os.PathLike, output: str | os.PathLike, *,
                   note: str = '') -> float:
  """Writes a teacher that was trained elsewhere as a model.

  Args:
    config: nested mapping with sections data, teacher, optimizer and train, as for training that teacher here.
    weights: .npz or .safetensors file with the parameters of config.teacher by name, see runs.exported.named.
    output: a new folder.
    note: see `export`.

  Returns:
    The mean of -log p over up to EXAMPLES held-out examples, in nats and the teacher's space: whoever trained it knows it.

  Raises:
    InputError: the weights cannot be read or do not fit, the teacher is none, or the folder cannot be written.
  """
  run = models.import_teacher(config, weights)
  if run.space.facts is None:
    raise InputError('The data cannot be told by name, so that a model could not be used without them.')
  config = {'kind': 'teacher', 'imported': files.sha256(weights), **run.config}
  exported.write(output, run.params, step=0, others={
      'config.json': files.json_bytes(config), 'space.json': files.json_bytes(run.space.facts),
      'card.md': _card(config, run.space.facts, 0, None, note).encode()})
  trust.record(output, config)
  return models.held_out_loss(run, EXAMPLES)


def _card(config: Mapping[str, Any], facts: Mapping[str, Any], step: int, evaluation: Mapping[str, Any] | None,
          note: str, total: int | None = None) -> str:
  kind, network = config['kind'], config[config['kind']]
  train = {name: config['train'][name] for name in ('batch_size', 'precision', 'ema_decay', 'grad_clip', 'seed')
           if name in config['train']}
  lines = [f'# A {kind}: {network["name"]}', f'Network: {_words(network)}. {_events(facts)}.']
  if kind == 'student':
    lines.append(f'Distilled by {_words(config["loss"])} from the teacher of hash `{config["teacher_hash"]}`.')
  else:
    credit = catalogue.CREDITS.get(config['data']['name'], 'see where you have it from')
    data = {name: value for name, value in config['data'].items() if name != 'data_dir'}
    if data.get('path'):
      data['path'] = os.path.basename(data['path'])  # where it was is nobody else's
    lines.append(f'Data: {_words(data)}. Credit and licence: {credit}.')
  if 'imported' in config:
    lines.append(f'Trained elsewhere; the sha256 of the file of its weights is `{config["imported"]}`.')
  else:
    updates = step if total in (None, step) else f'{step} of {total}'
    lines.append(f'Trained for {updates} updates: {_words(config["optimizer"])}; {_words(train)}.')
  lines.append(f'What it is bad at: {note or "not told"}.')
  if evaluation is not None:
    num = evaluation["settings"].get("num_samples")
    lines += [f'Numbers of {num} samples, with 95% intervals; the floor is what a perfect model gets. Made by\n\n'
              f'    {evaluation["command"]}', tables.markdown(_numbers(evaluation['rows']))]
  return '\n\n'.join(lines) + '\n'


def _events(facts: Mapping[str, Any]) -> str:
  shape = catalogue.space(facts).event_shape
  return 'Events are sequences of any length' if shape == (None,) else f'Events of shape {shape}'


def _words(settings: Mapping[str, Any]) -> str:
  return ', '.join(f'{name} {value}' for name, value in settings.items() if value is not None)


def _numbers(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
  arms = [row for row in rows if row['arm'] not in ('train', 'held_out') and '@' not in row['arm']]
  found = {(row['metric'], row['reference']) for row in arms}
  return [list(line) for line in zip(*tables.by_arm(arms, [column for column in SHOWN if column in found]))]
