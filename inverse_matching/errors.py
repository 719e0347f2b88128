"""The one exception that means: the input is wrong, and here is what to do about it."""


class InputError(ValueError):
  """Wrong input, told in one sentence: what was given, what is allowed, what to do.

  The command lines print the sentence without a traceback and exit with status 1.
  """


def check_at_least(least: int, **settings: int) -> None:
  """Raises InputError unless all settings, given by name, are that or more."""
  for name, value in settings.items():
    if value < least:
      raise InputError(f'{name} must be at least {least}, got {value}.')
