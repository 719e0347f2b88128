"""What every teacher, student and loss must satisfy, over tables of constructors and over the registries."""
import inspect

import chex
import constructors
from constructors import BATCH, STUDENTS, TEACHERS
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from inverse_matching import losses, random, solvers, students, teachers, types
from inverse_matching.errors import InputError
from inverse_matching.types import Batch, sum_event

SLOW = {'pixelcnn_mixture'}  # to compile; its parts are in the table by themselves
teacher_names = pytest.mark.parametrize('name', [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
                                                 for name in TEACHERS])
student_names = pytest.mark.parametrize('name', STUDENTS)
NOISY_TEACHERS = ['pixelcnn', 'pixelcnn_permuted', 'transformer']
NOISY_STUDENTS = ['flow', 'resnet', 'few_step']
EVENT = (4, 4, 1)


def assert_causal(jacobian, order, is_dense=True):
  """Entry [output, input], in the order of generation: zero above the diagonal, exactly; if dense, nowhere zero below it."""
  ordered = jacobian[:, order][:, :, order]
  num_dims = ordered.shape[-1]
  above, below = np.triu_indices(num_dims, 1), np.tril_indices(num_dims, -1)
  np.testing.assert_array_equal(ordered[:, above[0], above[1]], 0.0)
  assert not is_dense or np.all(np.abs(ordered[:, below[0], below[1]]) > 0), 'some earlier dimension is not seen'
  return np.diagonal(ordered, axis1=1, axis2=2)


# Teachers.


@teacher_names
def test_x_to_z_to_x(name):
  """z_to_x undoes x_to_z."""
  case = constructors.teacher_case(name)
  z, _, _ = constructors.encode(name)(case.params, case.events)
  assert constructors.relative_error(constructors.decode(name)(case.params, z), case.events) < 2e-4


@teacher_names
def test_z_to_x_to_z(name):
  """x_to_z undoes z_to_x, from prior draws."""
  case = constructors.teacher_case(name)
  z = case.model.prior.sample(jax.random.split(jax.random.key(5), BATCH))
  x = constructors.decode(name)(case.params, z)
  assert constructors.relative_error(constructors.encode(name)(case.params, x)[0], z) < 2e-3
  assert float(jnp.max(jnp.abs(x - z))) > 0.1, 'the teacher is the identity'


@teacher_names
def test_log_det_is_that_of_the_jacobian(name):
  """log_det = log |det dz/dx| by autodiff, and the Jacobian is strictly causal in the teacher's order."""
  case = constructors.teacher_case(name)
  jacobian = constructors.teacher_jacobians(name)['z']
  _, log_det, _ = constructors.encode(name)(case.params, case.events)
  np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian.astype(np.float64))[1], rtol=1e-4, atol=1e-4)
  if case.order is not None:
    diagonal = assert_causal(jacobian, case.order, is_dense=case.model.differentiable)
    np.testing.assert_allclose(log_det, np.log(diagonal).sum(-1), rtol=1e-4, atol=1e-4)


@teacher_names
def test_conditional_is_strictly_causal(name):
  """theta_t does not see x_t: its own Jacobian is zero on the diagonal too."""
  case = constructors.teacher_case(name)
  if case.order is None:
    assert case.model.conditional is None
    return
  if case.model.levels is not None:
    reads = constructors.teacher_reads(name)[case.order, :][:, case.order]
    assert not np.triu(reads).any() and reads[-1, :-1].all(), 'the last dimension does not see all before it'
    return
  jacobians = constructors.teacher_jacobians(name)
  location = 'mean' if 'mean' in jacobians else 'logits'
  for part in set(jacobians) - {'z'}:
    ordered = jacobians[part][:, case.order][:, :, case.order]
    np.testing.assert_array_equal(np.triu(ordered), 0.0)
    channels = case.events.shape[-1] if case.events.ndim == 4 and part != location else 1  # these see earlier pixels only
    assert np.all(np.any(ordered[:, -1, :-channels] != 0, axis=0)), 'the last dimension does not see all before it'


@teacher_names
def test_log_prob_is_prior_plus_log_det(name):
  """log p(x) = log p(z) + log |det dz/dx|; of one number per example."""
  case = constructors.teacher_case(name)
  z, log_det, log_prob = constructors.encode(name)(case.params, case.events)
  chex.assert_shape([log_det, log_prob], (BATCH,))
  np.testing.assert_allclose(log_prob, sum_event(case.model.prior.log_density(z)) + log_det, rtol=1e-5)


@teacher_names
def test_teacher_batched_is_looped(name):
  """An example's result does not depend on the rest of its batch."""
  case = constructors.teacher_case(name)
  batched = constructors.encode(name)(case.params, case.events)
  looped = [constructors.encode(name)(case.params, case.events[i:i + 1]) for i in range(BATCH)]
  for whole, parts in zip(batched, zip(*looped)):
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-4, atol=1e-5)


@teacher_names
def test_sample_is_z_to_x_of_prior_draws(name):
  """sample(keys) = z_to_x(prior.sample(stream of keys)), or the same in law: one key per example."""
  case = constructors.teacher_case(name)
  law = 'mixture' in name  # these draw the component first
  keys = jax.random.split(jax.random.key(2), 2000 if law else BATCH)
  z = case.model.prior.sample(random.stream(keys, 'prior'))
  sample = np.asarray(jax.jit(case.model.sample)(case.params, keys))
  expected = constructors.decode(name)(case.params, z)
  if law:
    for a, b in zip(sample.reshape(len(keys), -1).T, expected.reshape(len(keys), -1).T):
      assert scipy.stats.ks_2samp(a, b).pvalue > 1e-3
  else:
    np.testing.assert_allclose(sample, expected, rtol=1e-4, atol=1e-4)
  assert len(np.unique(sample.reshape(len(keys), -1)[:, 0])) > 0.99 * len(keys)


@teacher_names
def test_teacher_refuses_wrong_shapes(name):
  """The sentence names the shape that came and the one expected, before any computation."""
  case = constructors.teacher_case(name)
  model, event = case.model, case.events.shape[1:]
  wants = '[B, ' + ', '.join(map(str, event)) + ']'
  functions = {'x': [model.x_to_z, model.log_prob] + ([model.conditional] if model.conditional else []),
               'z': [model.z_to_x, lambda p, z: solvers.solve(model, p, z).x]}
  for argument, group in functions.items():
    for function in group:
      for wrong in ((*event,), (BATCH, *event[:-1], event[-1] + 1), (BATCH, 1, *event)):
        with pytest.raises(InputError) as error:
          jax.eval_shape(function, case.params, jax.ShapeDtypeStruct(wrong, jnp.float32))
        assert str(list(wrong)) in str(error.value) and wants in str(error.value)
        assert str(error.value).startswith(f'{argument} has shape')
      with pytest.raises(InputError, match='int32'):
        jax.eval_shape(function, case.params, jax.ShapeDtypeStruct((BATCH, *event), jnp.int32))


@pytest.mark.parametrize('name', NOISY_TEACHERS)
def test_teacher_dropout_is_per_example(name):
  """Dropout changes the output; that of example i depends on key i alone, bit for bit."""
  case = constructors.teacher_case(name)
  log_prob = constructors.noisy_log_prob(name)
  assert_dropout(lambda key: log_prob(case.params, case.events, key), constructors.encode(name)(case.params, case.events)[2])


def assert_dropout(function, without):
  keys = jax.random.split(jax.random.key(0), BATCH)
  changed = keys.at[1].set(jax.random.key(99))
  first, again, other = (np.asarray(function(k)) for k in (keys, keys, changed))
  np.testing.assert_array_equal(first, again)
  assert np.all(first != np.asarray(without)), 'a key changes nothing'
  np.testing.assert_array_equal(first[[0, 2]], other[[0, 2]])
  assert first[1] != other[1], 'key 1 does not reach example 1'


# Students.


@student_names
def test_student_log_det_is_that_of_the_jacobian(name):
  """log_det = log |det dx/dz| by autodiff; a flow is strictly causal in z, other students see all of z."""
  case = constructors.student_case(name)
  jacobian = constructors.student_jacobians(name)
  output = constructors.generate(name)(case.params, case.events)
  if case.order is None:
    assert np.all(jacobian != 0)
  assert (output.log_det is not None) == case.model.has_log_det == (name not in ('resnet', 'few_step'))
  if not case.model.has_log_det:
    return
  np.testing.assert_allclose(output.log_det, np.linalg.slogdet(jacobian.astype(np.float64))[1], rtol=1e-4, atol=1e-4)
  if case.order is not None:
    assert_causal(jacobian, case.order)


@student_names
def test_student_conditional_gives_its_sample(name):
  """x = mean + exp(log_scale) z where the student has a conditional."""
  case = constructors.student_case(name)
  output = constructors.generate(name)(case.params, case.events)
  theta = output.conditional
  assert (theta is None) == (name in ('linear', 'resnet', 'few_step'))
  if theta is not None:
    np.testing.assert_allclose(output.x, theta.mean + np.exp(theta.log_scale) * case.events, rtol=1e-5, atol=1e-6)


@student_names
def test_student_batched_is_looped(name):
  """An example's sample does not depend on the rest of its batch."""
  case = constructors.student_case(name)
  function = constructors.generate(name)
  whole = function(case.params, case.events)
  parts = [function(case.params, case.events[i:i + 1]) for i in range(BATCH)]
  np.testing.assert_allclose(whole.x, np.concatenate([part.x for part in parts]), rtol=1e-4, atol=1e-5)
  if case.model.has_log_det:
    np.testing.assert_allclose(whole.log_det, np.concatenate([part.log_det for part in parts]), rtol=1e-4, atol=1e-5)


@student_names
def test_student_refuses_wrong_shapes(name):
  """The sentence names the shape that came and the one expected."""
  case = constructors.student_case(name)
  event = case.events.shape[1:]
  for wrong in ((*event,), (BATCH, *event[:-1], event[-1] + 1)):
    with pytest.raises(InputError) as error:
      jax.eval_shape(case.model.z_to_x, case.params, jax.ShapeDtypeStruct(wrong, jnp.float32))
    assert str(list(wrong)) in str(error.value) and ', '.join(map(str, event)) in str(error.value)


@pytest.mark.parametrize('name', NOISY_STUDENTS)
def test_student_dropout_is_per_example(name):
  """Dropout changes the sample; that of example i depends on key i alone, bit for bit."""
  case = constructors.student_case(name)
  function = constructors.generate(name)
  last = lambda key: np.asarray(function(case.params, case.events, key).x).reshape(BATCH, -1)[:, -1]
  assert_dropout(last, last(None))


# Registries and protocols.


def parameters(function) -> list[str]:
  return list(inspect.signature(function).parameters)


def spec(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct((BATCH, *shape), dtype)


def keys_spec():
  return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), BATCH))


def test_every_registered_factory_is_in_a_table():
  """Registering a teacher or a student enrols it: without a line here its contract is not tested."""
  assert set(teachers.TEACHERS) == set(constructors.TINY_TEACHERS) <= set(TEACHERS)
  assert set(students.STUDENTS) == set(constructors.TINY_STUDENTS) <= set(STUDENTS)


@pytest.mark.parametrize('name', teachers.TEACHERS)
def test_registered_teacher_protocol(name):
  """Documented parameter names, shapes and types, without computing."""
  event = constructors.EVENTS.get(name, EVENT)
  teacher = teachers.make(name, event, **constructors.TINY_TEACHERS[name])
  assert isinstance(teacher, types.Teacher) and teacher.event_shape == event
  assert_teacher_protocol(teacher)


@teacher_names
def test_table_teacher_protocol(name):
  """The same for teachers made by autoregressive, chain and from_transform, and with dropout off."""
  model = constructors.teacher_case(name).model
  assert_teacher_protocol(model)
  assert_teacher_protocol(types.deterministic(model))


def assert_teacher_protocol(teacher):
  event = teacher.event_shape
  assert parameters(teacher.init) == ['key']
  assert parameters(teacher.x_to_z) == ['params', 'x', 'cond']
  assert parameters(teacher.log_prob) == ['params', 'x', 'cond', 'key', 'mask']
  assert parameters(teacher.z_to_x) == ['params', 'z', 'cond']
  assert parameters(teacher.sample) == ['params', 'keys', 'cond']
  params = jax.eval_shape(teacher.init, jax.random.key(0))
  z, log_det = jax.eval_shape(teacher.x_to_z, params, spec(*event))
  log_prob = jax.eval_shape(teacher.log_prob, params, spec(*event), None, keys_spec())
  outputs = {'z': z, 'x': jax.eval_shape(teacher.z_to_x, params, spec(*event)),
             'sample': jax.eval_shape(teacher.sample, params, keys_spec()),
             'prior': jax.eval_shape(teacher.prior.sample, keys_spec())}
  assert outputs == dict.fromkeys(outputs, spec(*event))
  assert [log_det, log_prob] == [spec()] * 2
  assert jax.eval_shape(teacher.prior.log_density, spec(*event)) == spec(*event)
  if teacher.conditional is not None:
    assert parameters(teacher.conditional) == ['params', 'x', 'cond', 'key']
    theta = jax.eval_shape(teacher.conditional, params, spec(*event), None, keys_spec())
    assert all(leaf.shape[:1 + len(event)] == (BATCH, *event) for leaf in jax.tree.leaves(theta))
    assert parameters(teacher.sweep) == ['params', 'z', 'x', 'cond']
    assert set(jax.eval_shape(teacher.sweep, params, spec(*event), spec(*event))) == {spec(*event)}


@pytest.mark.parametrize('name', students.STUDENTS)
def test_registered_student_protocol(name):
  """Documented parameter names, shapes and types, without computing."""
  event = constructors.EVENTS.get(name, EVENT)
  student = students.make(name, event, **constructors.TINY_STUDENTS[name])
  assert isinstance(student, types.Student) and student.event_shape == event
  for model in (student, types.deterministic(student)):
    assert parameters(model.init) == ['key'] and parameters(model.z_to_x) == ['params', 'z', 'cond', 'key']
    params = jax.eval_shape(model.init, jax.random.key(0))
    output = jax.eval_shape(model.z_to_x, params, spec(*event), None, keys_spec())
    assert isinstance(output, types.StudentOutput) and output.x == spec(*event)
    assert output.log_det == (spec() if model.has_log_det else None)


@pytest.mark.parametrize('name', losses.LOSSES)
def test_loss_protocol(name):
  """A factory (teacher, student, *, settings) of loss(student_params, teacher_params, batch) -> ([B], {name: [B]})."""
  names = list(inspect.signature(losses.LOSSES[name]).parameters.values())
  assert [p.name for p in names[:2]] == ['teacher', 'student']
  assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in names[2:]), 'settings need names and defaults'
  teacher, student = constructors.dense_teacher(EVENT), constructors.with_velocity(constructors.dense_flow(EVENT))
  loss = losses.make(name, teacher, student)
  assert parameters(loss) == ['student_params', 'teacher_params', 'batch']
  params = [jax.eval_shape(model.init, jax.random.key(0)) for model in (student, teacher)]
  for z in (spec(*EVENT),) if name in losses.ON_PAIRS else (None, spec(*EVENT)):
    value, parts = jax.eval_shape(loss, *params, Batch(x=spec(*EVENT), z=z, key=keys_spec(), progress=spec()))
    assert value == spec(), 'one number per example'
    assert parts == dict.fromkeys(parts, spec()), 'one number per example and metric'


def test_maximum_likelihood_protocol():
  """The training loss of a teacher has the same form."""
  teacher = constructors.dense_teacher(EVENT)
  params = jax.eval_shape(teacher.init, jax.random.key(0))
  batch = Batch(x=spec(*EVENT), key=keys_spec())
  assert jax.eval_shape(losses.maximum_likelihood(teacher), params, None, batch) == (spec(), {})


def test_cond_reaches_the_conditional():
  """cond is an argument of every function of a teacher, and the inverse uses the same one."""
  case = constructors.teacher_case('dense')
  encode, cond = constructors.encode('dense'), jnp.array([0.5, -1.0, 2.0])
  z, log_det, log_prob = encode(case.params, case.events, cond)
  assert np.all(np.abs(z - encode(case.params, case.events)[0]).max(-1) > 0.1)
  x = jax.jit(lambda p, z, c: case.model.z_to_x(p, z, c))(case.params, z, cond)
  np.testing.assert_allclose(x, case.events, atol=1e-4)
  np.testing.assert_allclose(log_prob, sum_event(case.model.prior.log_density(z)) + log_det, rtol=1e-5)
