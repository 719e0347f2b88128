"""A folder that somebody sent: the commands run nothing that it names, unless they are told to."""
import json
import shutil

from commands import CONFIG, ROOT, environment, finish, run, start
import pytest

MARK = 'mark'  # a file in the folder of the call, which code of the sender's would make
FLAGS = {  # command -> its flags, with the folder as runs/evil
    'sample': ['--workdir=runs/evil', '--num_samples=2', '--output=out'],
    'evaluate': ['--workdir=runs/evil', '--num_samples=2'],
    'make_pairs': ['--teacher=runs/evil', '--num=2', '--workdir=out'],
    'distill': [f'--config={ROOT}/configs/digits.py:smoke', '--teacher=runs/evil', '--workdir=out'],
}


@pytest.fixture
def here(tmp_path):
  """A folder to call from, with runs/evil: its data are a shell command, its teacher a function in a file of its own."""
  evil = tmp_path / 'runs' / 'evil'
  evil.mkdir(parents=True)
  (evil / 'helper.py').write_text(f'open({MARK!r}, "w").close()\ndef teacher(event_shape): raise SystemExit(0)\n')
  (evil / 'config.json').write_text(json.dumps({
      'kind': 'teacher', 'data': {'name': 'os:system', 'command': f'touch {MARK}', 'levels': 17},
      'teacher': {'name': 'runs.evil.helper:teacher'}, 'optimizer': {}, 'train': {'num_epochs': 1, 'batch_size': 1}}))
  return tmp_path


def call(here, module, *flags, status=0):
  """Called from there, as a user would who keeps runs in the folder; stderr."""
  return finish(start(module, *flags, cwd=here), status)


@pytest.mark.parametrize('module', ['sample', *(pytest.param(name, marks=pytest.mark.slow) for name in FLAGS
                                                if name != 'sample')])
def test_a_strange_folder_is_refused(here, module):
  """One sentence with the names, status 1, and nothing has run."""
  error, = call(here, module, *FLAGS[module], status=1).splitlines()
  assert error.startswith("error: The config in runs/evil names 'os:system' and 'runs.evil.helper:teacher', which is code to ")
  assert '--trust_workdir' in error
  assert sorted(path.name for path in here.iterdir()) == ['runs']


@pytest.mark.slow
def test_status_and_what_trust_means(here):
  """status follows no names; with the flag, the helper is imported, and os.system is still not called, being no factory."""
  assert call(here, 'status', '--workdir=runs/evil') == ''
  assert not (here / MARK).exists()
  assert "'os:system' does not say that it returns a Source" in call(
      here, 'sample', *FLAGS['sample'], '--trust_workdir', status=1)
  assert not (here / MARK).exists()
  config = json.loads((here / 'runs' / 'evil' / 'config.json').read_text())
  (here / 'runs' / 'evil' / 'config.json').write_text(json.dumps({**config, 'data': {'name': 'digits', 'levels': 17}}))
  call(here, 'sample', *FLAGS['sample'], '--trust_workdir')  # the factory ends it
  assert (here / MARK).exists()


@pytest.mark.slow
def test_ones_own_run_here_and_elsewhere(tmp_path):
  """No flag on the machine where it was made; elsewhere the flag, or the same name in the config that is given."""
  run('train_teacher', CONFIG, '--config.train.num_epochs=1', f'--workdir={tmp_path}/teacher')
  assert not (tmp_path / 'teacher' / '.cache').exists()
  shutil.move(tmp_path / 'teacher', tmp_path / 'moved')
  sample = ['sample', f'--workdir={tmp_path}/moved', '--num_samples=2']
  run(*sample)
  elsewhere = environment(INVERSE_MATCHING_STATE=tmp_path / 'elsewhere')
  assert f"The config in {tmp_path}/moved names 'constructors:dense_teacher', which" in run(*sample, env=elsewhere, status=1)
  run(*sample, '--trust_workdir', env=elsewhere)
  assert 'which is code' in run(*sample, '--notrust_workdir', env=elsewhere, status=1)
  distill = ['distill', CONFIG, '--config.train.num_epochs=1', f'--teacher={tmp_path}/moved']
  run(*distill, f'--workdir={tmp_path}/student', env=elsewhere)
  assert 'which is code' in run(*distill, '--config.teacher.name=pixelcnn', f'--workdir={tmp_path}/another', env=elsewhere,
                                status=1)
  both = ['sample', f'--workdir={tmp_path}/student', f'--teacher={tmp_path}/moved', '--num_samples=2']
  assert f"The config in {tmp_path}/moved names" in run(*both, env=elsewhere, status=1)  # only the student was made there
  assert f"The config in {tmp_path}/student names 'constructors:dense_flow'" in run(*both, status=1)
  run(*both, '--trust_workdir', env=elsewhere)
