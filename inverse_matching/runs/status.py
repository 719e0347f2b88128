"""How far a run is, read from its folder while it goes on or later."""
import fcntl
import json
import os
import pathlib
import time
from typing import Any, Mapping

import tqdm

from inverse_matching.data import pairs
from inverse_matching.errors import InputError
from inverse_matching.runs import exported
from inverse_matching.runtime import files
from inverse_matching.training import checkpoint


def describe(workdir: str | os.PathLike) -> str:
  """Returns a line for each run in a folder or below it, and first one for the stage of a figure that is being made.

  Raises:
    InputError: there is no run.
  """
  path = pathlib.Path(workdir)
  # Not rglob, for which a folder may not vanish while it looks, as those of checkpoints do.
  found = [pathlib.Path(folder) for folder, _, names in os.walk(path) if 'config.json' in names]
  if not found:
    raise InputError(f'There is no run in {path}: check the folder.')
  found.sort(key=lambda folder: (folder / 'config.json').stat().st_mtime)
  return '\n'.join([*_stages(path), *(f'{_name(folder, path)}: {_run(folder)}' for folder in found)])


def _name(folder: pathlib.Path, top: pathlib.Path) -> str:
  return str(folder.relative_to(top)) if folder != top else str(folder)


def _stages(path: pathlib.Path) -> list[str]:
  timing = files.read_json(path / 'timing.json') if (path / 'timing.json').exists() else {}
  now = timing.get('now')
  if not now:
    return []
  since = time.time() - now['since']
  left = f', about {_interval(now["seconds_left"] - since)} left for all' if now.get('seconds_left') else ''
  return [f'stage {now["number"]} of {now["of"]}, {now["stage"]}, since {_interval(since)}{left}']


def _run(path: pathlib.Path) -> str:
  config = files.read_json(path / 'config.json')
  if exported.is_model(path):
    return f'{_what(config)}, a model of step {exported.step(path)}'
  done, words = _pairs(path, config) if config.get('kind') == 'pairs' else _training(path, config)
  state = 'done' if done else 'running' if _is_held(path) else 'stopped'
  return ', '.join([f'{_what(config)}, {state}', *words])


def _what(config: Mapping[str, Any]) -> str:
  """The kind of run, with its network and objective."""
  kind = config.get('kind', 'run')
  network = config[kind]['name'] if kind in ('teacher', 'student') and kind in config else ''
  by = f'by {config["loss"]["name"]}' if kind == 'student' and 'loss' in config else ''
  return ' '.join(filter(None, [kind, network, by]))


def _pairs(path: pathlib.Path, config: Mapping[str, Any]) -> tuple[bool, list[str]]:
  total = -(-config['num'] // config['shard_size'])
  times = sorted(shard.stat().st_mtime for shard in path.glob('pairs-*'))
  words = [f'{len(times)} of {total} shards']
  if pairs.is_finished(path):
    return True, words
  if len(times) > 1 and times[-1] > times[0]:
    rate = (len(times) - 1) / (times[-1] - times[0])
    words += [f'{rate * config["shard_size"]:.3g} pairs/s', f'{_interval((total - len(times)) / rate)} left']
  return False, words


def _training(path: pathlib.Path, config: Mapping[str, Any]) -> tuple[bool, list[str]]:
  rows = _rows(path / 'metrics.jsonl')
  logged = [row for row in rows if row.get('epoch')]
  held_out = [row['held_out_loss'] for row in rows if row.get('held_out_loss') is not None]
  saved = checkpoint.steps(path)
  kept = f'last checkpoint at step {saved[-1]}' if saved else 'no checkpoint yet'
  if not logged:
    return False, ['no step logged', kept]
  last, epochs = logged[-1], config['train']['num_epochs']
  total = round(last['step'] / last['epoch'] * epochs)
  words = [f'step {last["step"]} of {total} ({100 * last["step"] // total}%)', f'epoch {last["epoch"]:.3g} of {epochs}']
  words += [f'{name} {value:.5g}' for name, value in (('loss', last['loss']), *(('held-out loss', h) for h in held_out[-1:]))
            if value is not None]
  words += [f'peak memory {last["peak_host_bytes"] / 1e9:.2g} GB']
  if saved and saved[-1] >= total:
    return True, words
  rate = last['examples_per_second']
  left = (total - last['step']) * config['train']['batch_size'] / rate
  return False, [*words, kept, f'{rate:.3g} examples/s', f'{_interval(left)} left',
                 f'last sign of life {_interval(time.time() - last["wall_time"])} ago']


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the rows of metrics.jsonl, whose last line may be about to be written."""
  rows = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      rows.append(json.loads(line))
    except ValueError:
      continue
  return rows


def _is_held(path: pathlib.Path) -> bool:
  """Returns whether a process holds the lock of workdir.open_run."""
  try:
    with open(path / '.lock') as lock:
      fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except BlockingIOError:
    return True
  except OSError:
    return False
  return False


def _interval(seconds: float) -> str:
  return tqdm.tqdm.format_interval(max(seconds, 0))
