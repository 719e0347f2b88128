"""How the variant of a config is read: overlays by name."""
import copy
from typing import Any, Mapping

import ml_collections

from inverse_matching import registry
from inverse_matching.runtime.overlays import merge


def build(file: str, variant: str, base: Mapping[str, Any], scales: Mapping[str, Mapping[str, Any]],
          words: Mapping[str, Mapping[str, Any]] | None = None) -> ml_collections.ConfigDict:
  """The config of a variant: words with commas between them, each of which names an overlay.

  Args:
    file: of the config, for messages.
    variant: at most one scale; other words; kinds of teachers and arms, which have their overlays in the config itself.
    base: the table that overlays change.
    scales: name -> overlay; the first one is what a variant without a scale means.
    words: name -> overlay, which comes after that of the scale.

  Raises:
    ValueError: an unknown word, or several scales.
  """
  parts = variant.split(',')
  named = [part for part in parts if part in scales] or list(scales)[:1]
  if len(named) > 1:
    raise ValueError(f'{file} takes one of {", ".join(scales)}, not {" and ".join(named)}.')
  config = merge(base, scales[named[0]])
  words = {**(words or {}), **config.get('teacher_kinds', {}), **config.get('arms', {})}
  for part in parts:
    if part in words:
      config = merge(config, words[part])
    elif part not in scales:
      *others, last = *scales, *words
      raise ValueError(f'{file} has no variant {part!r}{registry.nearest(part, [*others, last])}: it has {", ".join(others)} '
                       f'and {last}.')
  return ml_collections.ConfigDict(copy.deepcopy(config))  # a placeholder would hold its value for the next config too
