"""launch/*.sh and kubernetes.yaml: what can be seen without a cluster, and simulated ones that really train."""
import os
import re
import shlex
import shutil
import subprocess
import sys

from commands import CONFIG, ROOT, assert_close, environment, finish, free_port, metrics, run, start, wait_for
import pytest
import yaml

from inverse_matching import experiments
from inverse_matching.errors import InputError
from inverse_matching.runtime import processes
from inverse_matching.training import checkpoint

SCRIPTS = sorted((ROOT / 'launch').glob('*.sh'))
FLAGS = [CONFIG, '--config.optimizer.name=sgd', '--config.optimizer.learning_rate=0.001', '--devices=2']


def stub(folder, name, text):
  """A program of that name, for the front of PATH."""
  (folder / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
  (folder / name).chmod(0o755)


def call(script, *args, **env):
  """A script, with stubs in the folder of PATH given; it must succeed."""
  return subprocess.run(['bash', ROOT / 'launch' / script, *args], env={**environment(), **env}, cwd=ROOT, capture_output=True,
                        text=True, timeout=60, check=True)


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(path):
  """They parse, and shellcheck, where it is, has nothing to say."""
  subprocess.run(['bash', '-n', path], check=True)
  if shutil.which('shellcheck'):
    subprocess.run(['shellcheck', path], check=True)


def test_paper(tmp_path):
  """Every figure of the paper once, each with a config that has its variant and its figure."""
  stub(tmp_path, 'python', f'printf "%s\\n" "$*" >> {tmp_path}/calls')
  (tmp_path / 'archives' / 'ljspeech').mkdir(parents=True)
  call('paper.sh', str(tmp_path / 'runs'), PYTHON=str(tmp_path / 'python'), ARCHIVES=str(tmp_path / 'archives'))
  lines = (tmp_path / 'calls').read_text().splitlines()
  prepared = {re.search(r'--dataset=(\w+)', line)[1] for line in lines if 'prepare_data' in line}
  assert prepared == {'mnist', 'fashion_mnist', 'cifar10', 'ljspeech'}
  figures = []
  for line in (line for line in lines if 'launch.reproduce' in line):
    named = re.search('--figure=(\\S+)', line)[1].split(',')
    figures += named
    assert set(named) <= set(experiments.FIGURES)
    if config := re.search(r'--config=configs/(\w+).py:(\w+)', line):
      module = __import__(f'configs.{config[1]}', fromlist=['get_config'])
      settings = module.get_config(config[2])
      assert config[2] == 'paper'
      assert all(experiments.SECTIONS[figure] in settings for figure in named)
      assert all(figure in settings.figures for figure in named if experiments.SECTIONS[figure] == 'figures')
    assert f'--workdir={tmp_path}/runs/' in line
  assert set(figures) >= {'1', '2', '3', '4', '5', '6', 'appendix_a', 'vocoder'}
  without = call('paper.sh', str(tmp_path / 'runs'), PYTHON=str(tmp_path / 'python'), ARCHIVES=str(tmp_path / 'none'))
  assert 'every figure but that of the vocoder is made' in without.stderr
  assert 'vocoder' not in (tmp_path / 'calls').read_text().partition('\n'.join(lines))[2]


def test_tpu_vm(tmp_path):
  """All workers run the same command, whose arguments arrive as they were given."""
  stub(tmp_path, 'gcloud', f'printf "%s\\n" "$@" > {tmp_path}/calls')
  stub(tmp_path, 'git', '')
  env = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'TPU': 'name', 'ZONE': 'zone'}
  call('tpu_vm.sh', 'train_teacher', '--config=configs/mnist.py:paper', '--workdir=/a folder/run', **env)
  arguments = (tmp_path / 'calls').read_text().splitlines()
  assert arguments[:7] == ['compute', 'tpus', 'tpu-vm', 'ssh', '--zone=zone', '--worker=all', 'name']
  words = shlex.split(arguments[7].removeprefix('--command='))
  assert words[words.index('-m'):] == ['-m', 'launch.train_teacher', '--config=configs/mnist.py:paper',
                                       '--workdir=/a folder/run', '--distributed']
  call('tpu_vm.sh', 'install', **env)
  assert 'make -C inverse_matching install' in (tmp_path / 'calls').read_text()


@pytest.fixture(scope='module')
def manifest():
  """(service, job) of kubernetes.yaml."""
  return tuple(yaml.safe_load_all((ROOT / 'launch' / 'kubernetes.yaml').read_text()))


def pod(manifest, index):
  """The environment and the command line of the pod with that completion index."""
  container, = manifest[1]['spec']['template']['spec']['containers']
  annotations = {"metadata.annotations['batch.kubernetes.io/job-completion-index']": str(index)}
  value = lambda e: e['value'] if 'value' in e else annotations[e['valueFrom']['fieldRef']['fieldPath']]
  return {e['name']: value(e) for e in container['env']}, [*container['command'], *container['args']]


def test_kubernetes(manifest):
  """The parts fit each other: pods find the first one by the service, and their number is the same everywhere."""
  service, job = manifest
  spec, template = job['spec'], job['spec']['template']['spec']
  assert (service['apiVersion'], service['kind'], job['apiVersion'], job['kind']) == ('v1', 'Service', 'batch/v1', 'Job')
  assert service['spec']['clusterIP'] == 'None' and service['spec']['selector'] == {'job-name': job['metadata']['name']}
  assert template['subdomain'] == service['metadata']['name'] and spec['completionMode'] == 'Indexed'
  container, = template['containers']
  assert template['restartPolicy'] == 'Never'  # which podFailurePolicy wants
  on_exit = spec['podFailurePolicy']['rules'][1]['onExitCodes']
  assert on_exit['containerName'] == container['name'] and on_exit['values'] == [75]
  assert {m['name'] for m in container['volumeMounts']} == {v['name'] for v in template['volumes']}
  for index in range(spec['parallelism']):
    env, words = pod(manifest, index)
    assert env['JAX_NUM_PROCESSES'] == str(spec['completions']) and env['JAX_PROCESS_ID'] == str(index)
    assert set(processes.VARIABLES) <= set(env)
    host, port = env['JAX_COORDINATOR_ADDRESS'].split(':')
    assert host == f'{job["metadata"]["name"]}-0.{service["metadata"]["name"]}'
    assert int(port) == container['ports'][0]['containerPort']
    assert (ROOT / 'launch' / f'{words[2].removeprefix("launch.")}.py').exists() and '--distributed' in words


FIRST = {'JAX_COORDINATOR_ADDRESS': 'localhost:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '0'}


@pytest.mark.parametrize('values,words', [({**FIRST, 'JAX_PROCESS_ID': '2'}, "JAX_PROCESS_ID '2'"),
                                          ({**FIRST, 'JAX_NUM_PROCESSES': 'two'}, "JAX_NUM_PROCESSES is 'two'"),
                                          ({'JAX_NUM_PROCESSES': '2'}, 'finds no other processes')])
def test_wrong_environment(monkeypatch, values, words):
  """One sentence."""

  def initialize():
    raise ValueError('coordinator_address should be defined.')  # as JAX does where it finds no cluster

  monkeypatch.setattr(processes.jax.distributed, 'initialize', initialize)
  for name in processes.VARIABLES:
    monkeypatch.delenv(name, raising=False)
  for name, value in values.items():
    monkeypatch.setenv(name, value)
  with pytest.raises(InputError, match=words):
    processes.initialize()


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
  """Metrics of one process."""
  workdir = tmp_path_factory.mktemp('one') / 'run'
  run('train_teacher', *FLAGS, f'--workdir={workdir}')
  return metrics(workdir)


@pytest.mark.slow
@pytest.mark.survival
def test_simulated_kubernetes(manifest, expected, tmp_path):
  """The environment of the pods, with this machine as the first: two processes that train together."""
  address, pods = f'localhost:{free_port()}', []
  for index in range(2):
    env, words = pod(manifest, index)
    assert words[:3] == ['python', '-m', 'launch.train_teacher'] and words[-1] == '--distributed'
    pods.append(start('train_teacher', *FLAGS, f'--workdir={tmp_path}/run', words[-1], env=environment(
        **{**env, 'JAX_COORDINATOR_ADDRESS': address, 'KUBERNETES_SERVICE_HOST': 'localhost'})))
  for process in pods:
    finish(process)
  assert_close(expected, metrics(tmp_path / 'run'), rtol=1e-5)


SRUN = """
# As srun: the tasks of the job step, each told who it is; signals are passed on.
while [[ $1 == --* ]]; do shift; done
pids=()
for i in 0 1; do
  SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost SLURM_STEP_NUM_NODES=1 "$@" &
  pids+=($!)
done
trap 'kill -TERM "${pids[@]}"' TERM
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || { wait "$pid" || status=$?; }
done
exit $status
"""


def slurm(folder, *flags):
  """Starts slurm.sh with the stubs in the folder."""
  stub(folder, 'srun', SRUN)
  stub(folder, 'scontrol', f'echo "$@" > {folder}/requeued')
  env = environment(PATH=f'{folder}:{os.environ["PATH"]}', PYTHON=sys.executable, SLURM_JOB_ID=free_port())
  return subprocess.Popen(['bash', ROOT / 'launch' / 'slurm.sh', 'train_teacher', *flags], cwd=ROOT, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.survival
def test_simulated_slurm(expected, tmp_path):
  """slurm.sh with tasks on this machine, who find each other by what Slurm says: the numbers of one process."""
  finish(slurm(tmp_path, *FLAGS, f'--workdir={tmp_path}/run'))
  assert_close(expected, metrics(tmp_path / 'run'), rtol=1e-5)
  assert not (tmp_path / 'requeued').exists()


@pytest.mark.slow
@pytest.mark.survival
def test_slurm_asks_to_be_queued_again(tmp_path):
  """Told to stop before its time is up: every task saves, and the job goes back into the queue."""
  workdir = tmp_path / 'run'
  process = slurm(tmp_path, *FLAGS, '--config.train.num_epochs=300', f'--workdir={workdir}')
  wait_for(lambda: len(metrics(workdir)) > 20, process)
  process.terminate()
  assert 'Run the same command again to go on.' in finish(process)
  assert (tmp_path / 'requeued').read_text().startswith('requeue ')
  assert 20 < checkpoint.latest(workdir) < 300 * 13
