"""The one exception that means: the input is wrong, and here is what to do about it."""


class InputError(ValueError):
  """Wrong input, told in one sentence: what was given, what is allowed, what to do.

  The command lines print the sentence without a traceback and exit with status 1.
  """
