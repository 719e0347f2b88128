"""Configs are made of tables: a whole one, and overlays that change some of its fields."""
from typing import Any, Mapping


def merge(config: Mapping[str, Any], *overlays: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the config with overlays on it, one after the other; none of them is changed.

  A section of an overlay that has a `name` takes the place of the whole section there, since another teacher or loss has other
  settings; the fields of other sections take the place of those of the same name.

  Args:
    config: section -> fields.
    *overlays: the same, of some sections of the config.

  Raises:
    KeyError: fields for a section that is not there.
  """
  merged = dict(config)
  for overlay in overlays:
    merged |= {name: fields if 'name' in fields else {**merged[name], **fields} for name, fields in overlay.items()}
  return merged
