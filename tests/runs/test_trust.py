"""Whose code may be run: names of functions in the config of a folder."""
import json
import pathlib
import subprocess
import sys

from commands import ROOT
import pytest
from small_run import CONFIG, LEVELS, RUN

from inverse_matching import losses, registry, runs
from inverse_matching.data import catalogue
from inverse_matching.data.source import Source
from inverse_matching.errors import InputError
from inverse_matching.runs import status, trust
from inverse_matching.runs import workdir as workdirs
from inverse_matching.runtime import files

STRANGE = {'kind': 'teacher', 'data': {'name': 'os:system', 'command': 'true'}, 'teacher': {'name': 'pixelcnn'}}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
  """A machine on which nothing was run."""
  return move(tmp_path, monkeypatch, 'here')


def move(tmp_path, monkeypatch, machine):
  monkeypatch.setenv(files.STATE, str(tmp_path / machine))
  return tmp_path / machine


def written(folder, config):
  files.write_json(folder / 'config.json', config)
  return folder


def is_followed(config):
  try:
    trust.check('folder', config)
  except InputError:
    return False
  return True


@pytest.mark.parametrize('name,own', [
    ('os:system', True), ('package.module:factory', True), ('a_1.b_2:c_3', True), ('pixelcnn', False), ('a.b', False),
    ('gs://bucket/data', False), ('runs/evil:teacher', False), ('.evil:teacher', False), ('a:b.c', False), ('a:', False),
    (':b', False), ('a:b\n', False), ('a b:c', False), (3, False), (None, False), (['os:system'], False),
])
def test_what_a_name_of_ones_own_is(name, own):
  """The form that the registry follows, and no other."""
  assert registry.is_own(name) == own
  assert trust.own_names({'a': [{'b': ('x', name)}]}) == ({name} if own else {'os:system'} if name == ['os:system'] else set())


def test_what_a_folder_names_is_refused(tmp_path):
  """In one sentence with the name, before anything else of the folder is looked at; the loss of a student is not followed."""
  with pytest.raises(InputError, match="^The config in .*/run names 'os:system', which is code to import and call, and neither "
                     "did you name it nor was this run made here: .* add --trust_workdir, or in Python .*$"):
    runs.load_teacher(written(tmp_path / 'run', STRANGE))
  student = {'kind': 'student', 'teacher_hash': RUN.hash, 'student': {'name': 'flow'}, 'loss': {'name': 'os:system'}}
  assert workdirs.read_config(written(tmp_path / 'student', student), 'student')['loss'] == {'name': 'os:system'}
  with pytest.raises(InputError, match="'a.b:c' and 'd:e'"):
    strange = {**student, 'student': {'name': 'd:e', 'deep': [{'elementwise': 'a.b:c'}]}}
    runs.load_student(written(tmp_path / 'student', strange), RUN)


def test_status_follows_no_names(tmp_path):
  """It tells of a strange folder as of any other."""
  written(tmp_path / 'run', {**STRANGE, 'data': {'name': 'os:system', 'command': f'touch {tmp_path}/mark'}})
  assert status.describe(tmp_path).endswith(', stopped, no step logged, no checkpoint yet')
  assert not (tmp_path / 'mark').exists()


def test_allow():
  """The names that were given, in every folder, until the block ends; every name, if that is said."""
  with trust.allow('os:path', 'os:system'):
    assert is_followed(STRANGE)
    assert not is_followed({**STRANGE, 'teacher': {'name': 'evil:teacher'}})
    with trust.allow('evil:teacher'):
      assert is_followed({**STRANGE, 'teacher': {'name': 'evil:teacher'}})
  with trust.allow(trust.ANY):
    assert is_followed(STRANGE)
  with trust.allow():
    assert not is_followed(STRANGE)
  with trust.allow('os:system'), pytest.raises(InputError, match="'os:system' does not say that it returns a Source"):
    catalogue.load(STRANGE['data'])  # and still it is not called


def test_a_run_is_known_by_its_names_and_their_settings(state):
  """Not by its training, nor by settings without a value, which a later version may have; one file for each."""
  trust.record('run', STRANGE)
  assert is_followed({**STRANGE, 'train': {'seed': 1}, 'data': {**STRANGE['data'], 'new': None}})
  assert not is_followed({**STRANGE, 'data': {**STRANGE['data'], 'command': 'false'}})
  assert not is_followed({**STRANGE, 'kind': 'student', 'student': {'name': 'os:system'}})
  for config in (STRANGE, {**STRANGE, 'data': {'name': 'digits'}}):
    trust.record('another', config)
  note, = (state / 'trusted').iterdir()
  assert json.loads(note.read_text()) == {'names': ['os:system'], 'workdir': str(pathlib.Path.cwd() / 'run')}


def test_a_run_that_cannot_be_noted_goes_on(tmp_path, monkeypatch, caplog):
  """Said, and then refused like any other."""
  (tmp_path / 'file').write_text('')
  move(tmp_path, monkeypatch, 'file')
  with workdirs.open_run(tmp_path / 'run', STRANGE):
    assert 'loading it will need --trust_workdir. Cannot write' in caplog.text
  assert not is_followed(STRANGE)
  monkeypatch.setenv(files.STATE, 'relative')
  trust.record('run', STRANGE)
  assert not is_followed(STRANGE) and 'is not absolute' in caplog.text


@pytest.mark.slow
def test_writers_at_once(state):
  """Several processes note runs, some of them the same; all are known after."""
  script = ('import sys; from inverse_matching.runs import trust\n'
            'for i in range(40): trust.record("run", {"kind": "student", "student": {"name": "a:b", "seed": i % 20}})')
  writers = [subprocess.Popen([sys.executable, '-c', script], cwd=ROOT) for _ in range(3)]
  assert [writer.wait(120) for writer in writers] == [0, 0, 0]
  notes = list((state / 'trusted').iterdir())
  assert len(notes) == 20 and all(json.loads(note.read_text())['names'] == ['a:b'] for note in notes)
  assert all(is_followed({'kind': 'student', 'student': {'name': 'a:b', 'seed': i}}) for i in range(20))


def tiny_data(levels: int) -> Source:
  assert levels == LEVELS
  return RUN.source


def own_loss(teacher, student):
  return losses.x_reconstruction(teacher, student)


def test_ones_own_run_and_its_move(tmp_path, monkeypatch):
  """Data, teacher, student and loss of one's own: trained, loaded without a word, refused elsewhere, and loaded if trusted."""
  own = {'data': {'name': f'{__name__}:tiny_data', 'levels': LEVELS}, 'teacher': {'name': 'constructors:dense_teacher'}}
  config = {**CONFIG, **own, 'loss': {'name': f'{__name__}:own_loss'}, 'train': {**CONFIG['train'], 'num_epochs': 1}}
  trained = runs.train_teacher(config, tmp_path / 'teacher', 1)
  runs.distill(config, tmp_path / 'student', trained, devices=1)

  def load(folder):
    run = runs.load_teacher(folder / 'teacher')
    assert run.hash == trained.hash and run.source is RUN.source
    return runs.load_student(folder / 'student', run)

  load(tmp_path)
  (tmp_path / 'teacher').rename(tmp_path / 'copy')
  assert runs.load_teacher(tmp_path / 'copy').hash == trained.hash
  (tmp_path / 'copy').rename(tmp_path / 'teacher')
  move(tmp_path, monkeypatch, 'elsewhere')
  with pytest.raises(InputError, match=f"names 'constructors:dense_teacher' and '{__name__}:tiny_data', which is code"):
    load(tmp_path)
  with trust.allow(*trust.own_names(own)), pytest.raises(InputError, match="student names 'constructors:dense_flow'"):
    load(tmp_path)
  with trust.allow(trust.ANY):
    load(tmp_path)
  assert not (tmp_path / 'elsewhere').exists()  # nothing was noted
  runs.train_teacher(config, tmp_path / 'teacher', 1)  # the same again, by somebody who gives the config
  assert runs.load_teacher(tmp_path / 'teacher').hash == trained.hash
