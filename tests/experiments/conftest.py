"""What tests of studies begin with: their trainings are not run, but tell how they were called."""
import inspect
import types

import jax
import pytest


@pytest.fixture
def record(monkeypatch):
  """(module, name, answer) -> the calls of a function that is not run, a list that grows: each has its arguments by name.

  `answer` of a call is what that one returns.
  """
  monkeypatch.setattr(jax, 'clear_caches', lambda: None)  # nothing is compiled here, and other tests go on with theirs

  def put(module, name, answer=lambda call: None):
    signature, calls = inspect.signature(getattr(module, name)), []

    def instead(*args, **kwargs):
      given = signature.bind(*args, **kwargs)
      given.apply_defaults()
      calls.append(types.SimpleNamespace(**given.arguments))
      return answer(calls[-1])

    monkeypatch.setattr(module, name, instead)
    return calls

  return put
