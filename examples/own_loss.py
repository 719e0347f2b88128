"""An objective, a distance and an optimiser of one's own. With T, P and S the workdirs of a teacher, pairs and a student:

    python -m launch.train_teacher --config=configs/digits.py --config.optimizer.name=examples.own_loss:lion --workdir=T
    python -m launch.distill --config=configs/digits.py --config.loss.name=examples.own_loss:pseudo_huber --teacher=T \\
      --pairs=P --workdir=S
    python -m launch.distill --config=configs/digits.py --config.loss.distance=examples.own_loss:log_cosh --teacher=T \\
      --workdir=S
"""
import jax.numpy as jnp
import optax


def pseudo_huber(teacher, student, delta=0.1):
  """Oracle prediction under a distance that is quadratic below delta and linear above; on pairs (z, x = T^-1(z))."""

  def loss(student_params, teacher_params, batch):
    error = student.z_to_x(student_params, batch.z, batch.cond, batch.key).x - batch.x
    value = delta**2 * (jnp.sqrt(1 + (error / delta) ** 2) - 1)
    return jnp.mean(value.reshape(len(value), -1), axis=1), {'largest': jnp.max(jnp.abs(error), axis=(1, 2, 3))}

  return loss


def log_cosh(a, b, mask=None):
  """A distance [B] between events a and b [B, *event]."""
  error = a - b
  return jnp.mean((jnp.logaddexp(error, -error) - jnp.log(2)).reshape(len(a), -1), axis=1)


def lion(learning_rate, weight_decay=0.01):
  """An optimiser; learning_rate is a schedule, updates made -> rate."""
  return optax.lion(learning_rate, weight_decay=weight_decay)
