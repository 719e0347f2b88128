"""Whole files or none."""
import json
import os

import numpy as np
import pytest

from inverse_matching.errors import InputError
from inverse_matching.runtime import files


def test_state_folder(tmp_path, monkeypatch):
  """Ours if it is set, else that of the convention; never one that depends on where one stands."""
  monkeypatch.setenv(files.STATE, str(tmp_path))
  assert files.state_folder() == tmp_path
  monkeypatch.delenv(files.STATE)
  monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'xdg'))
  assert files.state_folder() == tmp_path / 'xdg' / 'inverse_matching'
  monkeypatch.delenv('XDG_STATE_HOME')
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  assert files.state_folder() == tmp_path / 'home' / '.local' / 'state' / 'inverse_matching'
  monkeypatch.setenv(files.STATE, 'here')
  with pytest.raises(InputError, match='is here, which is not absolute: set INVERSE_MATCHING_STATE'):
    files.state_folder()


def test_write_json_is_plain_json(tmp_path):
  """Numpy values become numbers and lists; what is not finite becomes null, which every reader takes."""
  value = {'a': np.float32(1.5), 'b': np.arange(3), 'c': [float('nan'), -np.inf, np.array([np.inf, 1.0])],
           2: (True, None, 's')}
  files.write_json(tmp_path / 'sub' / 'a.json', value)
  strict = json.loads((tmp_path / 'sub' / 'a.json').read_text(), parse_constant=lambda name: pytest.fail(name))
  assert strict == {'a': 1.5, 'b': [0, 1, 2], 'c': [None, None, [None, 1.0]], '2': [True, None, 's']}
  assert files.read_json(tmp_path / 'sub' / 'a.json') == strict


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  """A full disk in the middle: one sentence, the old content, no rubbish."""
  path = tmp_path / 'a.json'
  files.write_json(path, {'is': 'old'})

  def full(descriptor):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(InputError, match='Cannot write .*a.json.*No space left'):
    files.write_json(path, {'is': 'new'})
  assert files.read_json(path) == {'is': 'old'}
  assert os.listdir(tmp_path) == ['a.json']


def test_arrays_are_made_once(tmp_path):
  """They are read where they were made for the same thing, and made again for another or where the file is damaged."""
  calls, path = [], tmp_path / 'sub' / 'a.npz'

  def arrays(seed):
    def make():
      calls.append(seed)
      return {'z': np.arange(3) + seed, 'x': np.ones((2, 2), np.float32)}
    return files.arrays_once(path, {'seed': seed}, make)

  for seed, made in ((1, [1]), (1, [1]), (2, [1, 2]), (1, [1, 2, 1])):
    values = arrays(seed)
    np.testing.assert_array_equal(values['z'], np.arange(3) + seed)
    assert set(values) == {'z', 'x'} and values['x'].dtype == np.float32 and calls == made
  for damaged in (path.read_bytes()[:-40], b'', b'not a zip', bytes(100)):
    path.write_bytes(damaged)
    count = len(calls)
    np.testing.assert_array_equal(arrays(1)['z'], [1, 2, 3])
    np.testing.assert_array_equal(arrays(1)['z'], [1, 2, 3])
    assert len(calls) == count + 1


def test_a_folder_that_cannot_be_written(tmp_path):
  """One that would lie in a file; one that is not there yet can be made, and is not."""
  (tmp_path / 'file').write_text('')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'a' / 'b'):
    with pytest.raises(InputError, match='Cannot write into .*file'):
      files.check_folder(path)
  files.check_folder(tmp_path / 'a' / 'b')
  assert os.listdir(tmp_path) == ['file']


def test_arrays_and_hash(tmp_path):
  """.npz comes back bit for bit; the digest is that of hashlib's reference and changes with one bit."""
  x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
  files.write_arrays(tmp_path / 'a.npz', x=x)
  np.testing.assert_array_equal(np.load(tmp_path / 'a.npz')['x'], x)
  files.write_bytes(tmp_path / 'abc', b'abc')
  assert files.sha256(tmp_path / 'abc') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  files.write_bytes(tmp_path / 'abc', b'abb')
  assert not files.sha256(tmp_path / 'abc').startswith('ba7816')


def test_read_json_names_what_is_wrong(tmp_path):
  """Missing and damaged files are told apart."""
  with pytest.raises(InputError, match='missing.json does not exist'):
    files.read_json(tmp_path / 'missing.json')
  (tmp_path / 'cut.json').write_text('{"a": [1, ')
  with pytest.raises(InputError, match='cut.json is not what was written there'):
    files.read_json(tmp_path / 'cut.json')
