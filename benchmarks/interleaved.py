"""Timing of several functions side by side, so that a busy moment of the machine hits all alike."""
import time
from typing import Any, Callable, Mapping

import numpy as np


def seconds(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
  """Returns the seconds of each function [rounds]. Every one waits for its result, and has been called before."""
  found = {name: [] for name in functions}
  for _ in range(rounds):
    for name, function in functions.items():
      start = time.perf_counter()
      function()
      found[name].append(time.perf_counter() - start)
  return {name: np.array(values) for name, values in found.items()}


def ratio(over: np.ndarray, under: np.ndarray) -> dict[str, float]:
  """Returns {"ratio", "low", "high"}: the median and the quartiles over the rounds of a ratio of seconds [rounds]."""
  low, value, high = np.quantile(over / under, (0.25, 0.5, 0.75))
  return {'ratio': float(value), 'low': float(low), 'high': float(high)}
