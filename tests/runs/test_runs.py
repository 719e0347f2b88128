"""Training, distillation and loading, on a teacher without a network."""
import json

import jax
import numpy as np
import pytest
from small_run import CONFIG, EVENT, LEVELS, RUN, make_pairs, make_run

from inverse_matching import runs
from inverse_matching.data import catalogue, pairs
from inverse_matching.data.images import dataset as images
from inverse_matching.errors import InputError
from inverse_matching.evaluation import export
from inverse_matching.runs import samples as sample_runs
from inverse_matching.runtime import files
from inverse_matching.solvers import batched
from inverse_matching.training import checkpoint, loop


@pytest.mark.parametrize('loss', ['reverse_kl', 'z_reconstruction', 'oracle_prediction', 'mixture', 'energy_oracle'])
def test_encodings_of_data_are_no_prior_draws(tmp_path, loss):
  """Objectives whose z is that of the prior refuse them."""
  stored = make_pairs(tmp_path, pairs_from='data')
  config = {**CONFIG, 'loss': {'name': loss}}
  with pytest.raises(InputError, match=f'{loss} takes z from the prior, and the z of these pairs are encodings of data'):
    runs.distill(config, tmp_path / 'student', RUN, stored)


def test_x_reconstruction_on_pairs_of_the_prior_is_another_objective(tmp_path):
  """It would be oracle prediction by another name."""
  stored = make_pairs(tmp_path)
  with pytest.raises(InputError, match='x_reconstruction on pairs .* is oracle_prediction'):
    runs.distill({**CONFIG, 'loss': {'name': 'x_reconstruction'}}, tmp_path / 'student', RUN, stored)


def test_an_unfinished_run_is_told(tmp_path, caplog):
  """How far it is; not where a step is asked for, and not at its end."""
  whole = {**CONFIG, 'loss': {'name': 'x_reconstruction'}}
  runs.distill(whole, tmp_path, RUN)
  caplog.clear()
  student = runs.load_student(tmp_path, RUN)
  assert 'not done' not in caplog.text
  longer = {**files.read_json(tmp_path / 'config.json')}
  longer['train']['num_epochs'] += 3
  files.write_json(tmp_path / 'config.json', longer)
  last = runs.last_step(tmp_path)
  runs.load_student(tmp_path, RUN, last)
  assert 'not done' not in caplog.text
  again = runs.load_student(tmp_path, RUN)
  assert f'at step {last} of {last + 9}: its training is not done' in caplog.text
  jax.tree.map(np.testing.assert_array_equal, student.params, again.params)
  with pytest.raises(InputError, match=f'at step {last} of {last + 9}: .*--step={last}'):
    export.export(tmp_path, tmp_path / 'model')
  export.export(tmp_path, tmp_path / 'model', step=last)
  assert f'{last} of {last + 9} updates' in (tmp_path / 'model' / 'card.md').read_text()


TEACHER_CONFIG = {
    'data': dict(name='tiny', levels=LEVELS), 'teacher': dict(name='constructors:categorical_teacher', levels=LEVELS),
    'optimizer': CONFIG['optimizer'], 'train': CONFIG['train']}


@pytest.fixture
def tiny_data(monkeypatch):
  """The images of RUN as a data set by name."""
  monkeypatch.setitem(catalogue.SOURCES, 'tiny', lambda **settings: images.source(RUN.source.data, name='tiny', **settings))


@pytest.mark.slow
def test_a_discrete_teacher_from_training_to_a_student(tmp_path, tiny_data):
  """Without logit_lambda x is pixel + u; pairs from samples, an x-reconstruction; gradients through T are refused."""
  trained = runs.train_teacher(TEACHER_CONFIG, tmp_path / 'teacher')
  run = runs.load_teacher(tmp_path / 'teacher')
  assert run.hash == trained.hash
  source = make_pairs(tmp_path / 'pairs', run, pairs_from='sample')
  x = pairs.load(source, run.hash)['x']
  assert set(np.unique(run.space.codec.to_data(x))) <= set(range(LEVELS)) and np.abs(x % 1 - 0.5).max() > 0.3
  distill(tmp_path / 'student', run, source)
  for name in ('reverse_kl', 'z_reconstruction'):
    with pytest.raises(InputError, match=f'{name} needs the gradient of the teacher in x.*discrete head'):
      distill(tmp_path / name, run, loss={'name': name})


def test_a_teacher_that_cannot_be_is_refused_before_it_is_trained(tmp_path, tiny_data):
  """Other levels, the logit of discrete data, a conditional that is not causal."""
  for section, changed, words in (
      ('teacher', {'levels': LEVELS + 1}, f'The teacher has {LEVELS + 1} levels, but the data {LEVELS}'),
      ('data', {'logit_lambda': 0.01}, 'set config.data.logit_lambda to None'),
      ('teacher', {'name': 'constructors:leaky_teacher'}, 'not causal: theta at .* reads x there')):
    with pytest.raises(InputError, match=words):
      runs.train_teacher({**TEACHER_CONFIG, section: {**TEACHER_CONFIG[section], **changed}}, tmp_path / 'teacher')
  assert checkpoint.latest(tmp_path / 'teacher') is None


def distill(workdir, run=RUN, source=None, **sections):
  config = {**CONFIG, **{name: {**CONFIG[name], **section} for name, section in sections.items()}}
  return runs.distill(config, workdir, run, source)


def test_distill_and_load(tmp_path):
  """The student that comes back is the one that was trained, and belongs to its teacher."""
  student_run = distill(tmp_path / 'student')
  loaded = runs.load_student(tmp_path / 'student', RUN)
  jax.tree.map(np.testing.assert_array_equal, loaded.params, student_run.params)
  initial = student_run.student.init(jax.random.key(0))
  assert all(np.any(a != b) for a, b in zip(jax.tree.leaves(initial), jax.tree.leaves(loaded.params)))
  with pytest.raises(InputError, match='was distilled from another teacher'):
    runs.load_student(tmp_path / 'student', make_run(1))
  with pytest.raises(InputError, match='loss.distance is .l2. there and .l1. now'):
    distill(tmp_path / 'student', loss={'distance': 'l1'})
  with pytest.raises(InputError, match='teacher_hash is'):
    distill(tmp_path / 'student', run=make_run(1))


class Killed(Exception):
  """Stands for kill -9: nothing is saved."""


@pytest.mark.slow
def test_bfloat16_goes_on_to_the_bit(tmp_path, monkeypatch):
  """A killed run ends with the bits of one that was not; they are not those of float32; parameters and reports are float32."""
  train = lambda path, **train: runs.distill({**CONFIG, 'student': dict(name='resnet', num_blocks=1, num_filters=4),
                                              'train': {**CONFIG['train'], **train}}, path, RUN, devices=2).params
  expected = train(tmp_path / 'whole', precision='bfloat16')
  with monkeypatch.context() as patch:
    update = loop.Progress.update

    def killing(self, count=1, **numbers):
      update(self, count, **numbers)
      if self._done == 4:
        raise Killed

    patch.setattr(loop.Progress, 'update', killing)
    with pytest.raises(Killed):
      train(tmp_path / 'killed', precision='bfloat16')
  got = train(tmp_path / 'killed', precision='bfloat16')
  jax.tree.map(np.testing.assert_array_equal, got, expected)
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(got))
  full = train(tmp_path / 'full')
  assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(full)))
  student = runs.load_student(tmp_path / 'whole', RUN).student
  assert 'bf16' not in str(jax.make_jaxpr(lambda z: student.z_to_x(got, z).x)(np.zeros((2, *EVENT), np.float32)))


@pytest.mark.parametrize('sections,words', [
    ({'train': {'precision': 'float16'}}, "config.train.precision is 'float16': set it to float32 or bfloat16"),
    ({'train': {'precision': 'bfloat16'}}, 'takes no dtype'),
    ({'train': {'precision': 'bfloat16'}, 'loss': {'name': 'reverse_kl', 'estimator': 'path'}}, 'The path estimator needs')])
def test_precisions_that_are_refused(tmp_path, sections, words):
  """Another one, a student that has none, an objective that it would spoil; nothing is left behind."""
  with pytest.raises(InputError, match=words):
    distill(tmp_path / 'student', **sections)
  assert not (tmp_path / 'student').exists()


@pytest.mark.slow
def test_oracle_prediction_learns_from_pairs(tmp_path):
  """On pairs alone; more epochs come closer to T^-1 on new noise."""
  source = make_pairs(tmp_path / 'pairs', num=200)
  z = runs.prior_draws(RUN.teacher, 9, np.arange(200))
  x = batched.solver_fn(RUN.teacher, 'auto')(RUN.params, z).x
  errors = []
  for epochs in (1, 12):
    student_run = distill(tmp_path / str(epochs), source=source, loss={'name': 'oracle_prediction'},
                          train={'num_epochs': epochs})
    errors.append(float(np.mean(np.square(student_run.student.z_to_x(student_run.params, z).x - x))))
  assert errors[1] < 0.8 * errors[0]
  assert errors[1] < 0.8 * float(np.mean(np.square(z - x)))


def test_distillation_reads_pairs_with_a_condition(tmp_path):
  """From a store with cond: the student sees it, in training and on the held-out pairs."""
  z = runs.prior_draws(RUN.teacher, 3, np.arange(40))
  losses = []
  for cond in (np.zeros(40, np.float32), np.linspace(-2, 2, 40, dtype=np.float32)):
    source = tmp_path / f'pairs{len(losses)}'
    pairs.write_shard(source, 0, {'z': z, 'x': z, 'cond': cond})
    pairs.finish(source, 1, {'teacher': RUN.hash})
    workdir = tmp_path / f'student{len(losses)}'
    distill(workdir, source=source, loss={'name': 'oracle_prediction'}, train={'num_epochs': 1})
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    losses.append([[row[name] for row in rows if name in row] for name in ('loss', 'held_out_loss')])
  assert all(np.all(np.array(with_cond) > without) for without, with_cond in zip(*losses))


def test_one_pair_is_too_few(tmp_path):
  """It is held out, and nothing is left to train on."""
  with pytest.raises(InputError, match='There is one pair.*make more with launch.make_pairs --num'):
    distill(tmp_path / 'student', source=make_pairs(tmp_path / 'pairs', num=1), loss={'name': 'oracle_prediction'})


def test_oracle_prediction_needs_pairs(tmp_path):
  """One sentence, before anything is written; pairs of another teacher are refused."""
  with pytest.raises(InputError, match='run launch.make_pairs and give --pairs'):
    distill(tmp_path / 'student', loss={'name': 'oracle_prediction'})
  source = make_pairs(tmp_path / 'pairs', run=make_run(1))
  with pytest.raises(InputError, match='made by another teacher'):
    distill(tmp_path / 'student', source=source, loss={'name': 'oracle_prediction'})
  assert not (tmp_path / 'student').exists()


@pytest.fixture
def dense_run(tmp_path, tiny_data):
  """The folder of a teacher without a network, trained on tiny images."""
  config = {**TEACHER_CONFIG, 'data': dict(name='tiny', levels=LEVELS, logit_lambda=0.01),
            'teacher': dict(name='constructors:dense_teacher', scale=0.1)}
  return runs.train_teacher(config, tmp_path / 'teacher'), tmp_path / 'teacher'


def test_a_model_works_without_its_data(tmp_path, dense_run, monkeypatch):
  """space.json is enough to solve, sample, score and to distil from pairs; who wants the data is told which are missing."""
  trained, folder = dense_run
  monkeypatch.delitem(catalogue.SOURCES, 'tiny')
  run = runs.load_teacher(folder)
  assert run.hash == trained.hash and run.space.facts == trained.space.facts and run.space.event_shape == EVENT
  made = make_pairs(tmp_path / 'pairs', run)
  stored = pairs.load(made, run.hash)
  np.testing.assert_allclose(run.teacher.x_to_z(run.params, stored['x'])[0], stored['z'], atol=1e-4)
  sample_runs.sample(folder, tmp_path / 'out', teacher_workdir=None, num=4, seed=0)
  assert np.load(tmp_path / 'out' / 'samples.npz')['x'].shape == (4, *EVENT)
  distill(tmp_path / 'student', run, made, loss={'name': 'oracle_prediction'})
  assert files.read_json(tmp_path / 'student' / 'space.json') == run.space.facts
  with pytest.raises(InputError, match="Unknown data set 'tiny'"):
    distill(tmp_path / 'other', run)


def test_a_run_of_an_earlier_version_reads_its_data(dense_run):
  """It has no space.json; what that would say follows from the data."""
  trained, folder = dense_run
  (folder / 'space.json').unlink()
  assert runs.load_teacher(folder).space.facts == trained.space.facts
