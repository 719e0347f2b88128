"""What config.optimizer and config.train may hold."""
from typing import Any, Callable, Mapping

from inverse_matching.errors import InputError

# section, field -> (whether a value is allowed, how the allowed ones are told).
_AT_LEAST_1 = (lambda value: value >= 1, 'at least 1')
_RULES = {
    ('optimizer', 'learning_rate'): (lambda value: 0 < value < float('inf'), 'above 0'),
    ('optimizer', 'decay_rate'): (lambda value: 0 < value <= 1, 'above 0 and at most 1'),
    ('optimizer', 'warmup_epochs'): (lambda value: value is None or 0 <= value < float('inf'), 'at least 0, or None'),
    ('optimizer', 'cooldown_epochs'): (lambda value: value is None or 0 <= value < float('inf'), 'at least 0, or None'),
    ('train', 'grad_clip'): (lambda value: value is None or value > 0, 'above 0, or None'),
    ('train', 'ema_decay'): (lambda value: 0 <= value < 1, 'at least 0 and below 1'),
    ('train', 'seed'): (lambda value: 0 <= value < 2**32, 'at least 0 and below 2^32'),
    ('train', 'batch_size'): _AT_LEAST_1,
    ('train', 'microbatch'): (lambda value: value is None or value >= 1, 'at least 1, or None'),
    ('train', 'num_epochs'): _AT_LEAST_1,
    ('train', 'epoch_updates'): (lambda value: value is None or value >= 1, 'at least 1, or None'),
    ('train', 'log_every_steps'): _AT_LEAST_1,
    ('train', 'evaluate_every_epochs'): _AT_LEAST_1,
    ('train', 'checkpoint_every_epochs'): _AT_LEAST_1,
    ('train', 'keep_checkpoints'): _AT_LEAST_1,
}
_OPTIONAL = ('decay_rate', 'warmup_epochs', 'cooldown_epochs', 'microbatch', 'epoch_updates')  # those have a default


def check(config: Mapping[str, Any]) -> None:
  """Raises InputError unless the sections optimizer and train hold numbers that can be trained with."""
  for (section, field), (allowed, text) in _RULES.items():
    if field not in config[section] and field not in _OPTIONAL:
      raise InputError(f'config.{section} has no field {field!r}, which must be {text}: give it one.')
    if field in config[section] and not _holds(allowed, config[section][field]):
      raise InputError(f'config.{section}.{field} must be {text}, got {config[section][field]}.')


def _holds(allowed: Callable[[Any], bool], value: Any) -> bool:
  try:
    return allowed(value)
  except TypeError:  # None, or text
    return False


def sections(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
  """Those sections of a config; InputError if it lacks one."""
  missing = [name for name in names if name not in config]
  if missing:
    raise InputError(f'The config has no section {missing[0]!r}: it needs {", ".join(names)}.')
  return {name: config[name] for name in names}
