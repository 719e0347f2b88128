"""The folder of a run: one config, one kind, one process at a time."""
from commands import execute
import ml_collections
import pytest

from inverse_matching.errors import InputError
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runtime import files

CONFIG = {'kind': 'teacher', 'data': {'levels': 17, 'shape': (8, 8)}, 'train': {'batch_size': 64}}


def test_config_is_written_and_the_same_one_goes_on(tmp_path):
  """JSON has no tuples, which must not look like a change; the file is written once."""
  for _ in range(2):
    with workdirs.open_run(tmp_path / 'run', CONFIG) as path:
      written = (path / 'config.json').read_bytes()
  assert files.read_json(tmp_path / 'run' / 'config.json')['train'] == {'batch_size': 64}
  assert (tmp_path / 'run' / 'config.json').read_bytes() == written
  assert workdirs.read_config(tmp_path / 'run', 'teacher')['data']['shape'] == [8, 8]


def test_a_config_dict_is_written_like_a_dict(tmp_path):
  """With its placeholders, and within a dict; a run begun with either goes on with the other."""
  fields = ml_collections.ConfigDict({'levels': 17, 'order': ml_collections.config_dict.placeholder(str)})
  for data in (fields, fields.to_dict()):
    with workdirs.open_run(tmp_path, {'kind': 'teacher', 'data': data}):
      pass
  assert workdirs.read_config(tmp_path, 'teacher') == {'kind': 'teacher', 'data': {'levels': 17, 'order': None}}


@pytest.mark.parametrize('change,words', [
    ({'train': {'batch_size': 32}}, ['train.batch_size is 64 there and 32 now']),
    ({'data': {'levels': 17, 'shape': (8, 9)}}, ['data.shape']),
    ({'train': {'batch_size': 64, 'seed': 1}}, ['train.seed is None there and 1 now']),
    ({'kind': 'student'}, ["kind is 'teacher' there and 'student' now"]),
    ({'a': 1, 'b': 2, 'c': 3, 'd': 4, 'e': 5}, ['(and 2 more)']),
])
def test_another_config_is_refused(tmp_path, change, words):
  """The field is named with both values; nothing is overwritten."""
  with workdirs.open_run(tmp_path, CONFIG):
    (tmp_path / 'metrics.jsonl').touch()
  written = (tmp_path / 'config.json').read_bytes()
  with pytest.raises(InputError, match='holds a run of another config') as error:
    with workdirs.open_run(tmp_path, {**CONFIG, **change}):
      pytest.fail('opened')
  for word in words:
    assert word in str(error.value)
  assert (tmp_path / 'config.json').read_bytes() == written


def test_other_files_are_left_alone(tmp_path):
  """A folder with hidden files is as an empty one; with others it is refused, whatever they are."""
  (tmp_path / '.config.json.1.tmp').touch()
  with workdirs.open_run(tmp_path, CONFIG):
    pass
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'log.txt').touch()
  with pytest.raises(InputError, match=r'holds no run, and other files \(log.txt\): name an empty folder'):
    with workdirs.open_run(other, CONFIG):
      pytest.fail('opened')
  assert {file.name for file in other.iterdir()} <= {'log.txt', '.lock'}


def test_a_run_that_has_not_begun_may_become_another(tmp_path):
  """An error on the way to the first step does not block the folder."""
  with workdirs.open_run(tmp_path, CONFIG, {'kind': 'images', 'levels': 17}):
    pass
  other = {**CONFIG, 'train': {'batch_size': 32}}
  with workdirs.open_run(tmp_path, other, {'kind': 'images', 'levels': 2}):
    pass
  assert workdirs.read_config(tmp_path, 'teacher')['train'] == {'batch_size': 32}
  assert files.read_json(tmp_path / 'space.json')['levels'] == 2


def test_other_data_behind_the_same_config_are_refused(tmp_path):
  """Facts that an earlier version did not have do not count."""
  with workdirs.open_run(tmp_path, CONFIG, {'kind': 'table', 'mean': [0.1], 'std': (1.0, 2.0)}):
    (tmp_path / 'metrics.jsonl').touch()
  with workdirs.open_run(tmp_path, CONFIG, {'kind': 'table', 'mean': (0.1,), 'std': [1.0, 2.0], 'epoch_size': 3}):
    pass
  with pytest.raises(InputError, match=r'of other data: their std was \[1.0, 2.0\] and is \[1.0, 3.0\] now'):
    with workdirs.open_run(tmp_path, CONFIG, {'kind': 'table', 'mean': [0.1], 'std': [1.0, 3.0]}):
      pytest.fail('opened')


def test_a_second_process_is_refused(tmp_path):
  """While a run holds the folder; not after."""
  second = lambda: execute('import sys; from inverse_matching.runs import workdir\n'
                           'with workdir.open_run(sys.argv[1], {"kind": "teacher"}): print("opened")', tmp_path)
  with workdirs.open_run(tmp_path, {'kind': 'teacher'}):
    held = second()
    with pytest.raises(InputError, match='Another process is running'):
      with workdirs.open_run(tmp_path, {'kind': 'teacher'}):
        pytest.fail('opened twice')
  assert 'Another process is running' in held.stderr and 'opened' not in held.stdout
  assert second().stdout == 'opened\n'


def test_the_lock_does_not_empty_what_it_is_a_link_to(tmp_path):
  """A folder may come with links in it."""
  (tmp_path / 'mine').write_text('kept')
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / '.lock').symlink_to(tmp_path / 'mine')
  with workdirs.open_run(tmp_path / 'run', CONFIG):
    pass
  assert (tmp_path / 'mine').read_text() == 'kept'


def test_a_folder_that_cannot_be_made(tmp_path):
  """A file in its place: one sentence."""
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match='cannot be written .*choose another --workdir'):
    with workdirs.open_run(tmp_path / 'file' / 'run', CONFIG):
      pytest.fail('opened')


def test_read_config_says_what_is_there_instead(tmp_path):
  """No run (with the nearest name), a run of another kind, a damaged file."""
  with workdirs.open_run(tmp_path / 'teacher', CONFIG):
    pass
  with pytest.raises(InputError, match='holds no run .is it .*/teacher.*finished teacher'):
    workdirs.read_config(tmp_path / 'techer', 'teacher')
  with pytest.raises(InputError, match="kind 'teacher', but a student is needed"):
    workdirs.read_config(tmp_path / 'teacher', 'student')
  (tmp_path / 'teacher' / 'config.json').write_text('{"kind": "tea')
  with pytest.raises(InputError, match='not what was written there'):
    workdirs.read_config(tmp_path / 'teacher', 'teacher')
