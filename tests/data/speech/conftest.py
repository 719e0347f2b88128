"""What tests of recordings begin with."""
import pytest
from recorded import write_wavs


@pytest.fixture
def few(tmp_path):
  """A folder of one's own with three recordings."""
  write_wavs(tmp_path / 'mine', ['a', 'b', 'c'])
  return tmp_path
