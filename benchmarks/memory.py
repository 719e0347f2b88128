"""What a training step of each config takes in memory, and the largest batch that fits. Compiled, not run.

    nice python -m benchmarks.memory --output=results/speed/memory.json

The bytes are those that XLA assigns to the program for a CPU, on one device, at two small batches, from which a line goes to
any other; an accelerator's compiler fuses and lays out otherwise. A batch fits if state, teacher, examples and working memory
take no more than three quarters of the device, which is what JAX takes of a GPU by default.

About half an hour on a busy CPU core; --configs chooses. The scale `gpu` of the images has the networks of `paper`.
"""
import importlib
import math
from typing import Any, Mapping, Sequence

from absl import app, flags
import jax

from benchmarks import steps
from inverse_matching.evaluation import tables
from inverse_matching.runtime import files
from launch import wording

FLAGS = flags.FLAGS
GIGABYTES = (16, 24, 80)  # of a device
SHARE = 0.75
BATCHES = (4, 8)
IMAGES = ('teacher', 'flow/x_reconstruction', 'flow/reverse_kl', 'resnet/x_reconstruction_l1')
MODELS = {
    'digits:default': IMAGES, 'mnist:paper': IMAGES, 'mnist:paper,transformer': ('teacher',),
    'cifar10:paper': ('teacher', 'resnet/x_reconstruction_l1_noise'),
    'vocoder:demo': ('teacher', 'flow/oracle_prediction'), 'vocoder:gpu': ('teacher', 'flow/oracle_prediction'),
    'vocoder:paper': ('teacher', 'flow/oracle_prediction', 'flow/regularized_kl_spectral')}


def _bytes(tree: Any) -> int:
  return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def largest(fixed: float, per_example: float, gigabytes: int) -> int:
  """The largest power of two that fits as a batch, 0 if none does."""
  count = (SHARE * gigabytes * 1e9 - fixed) / per_example
  return 2**math.floor(math.log2(count)) if count >= 1 else 0


def measure(name: str, model: str) -> dict[str, Any]:
  """A row {"config", "model", "parameters", "state_bytes" (parameters, optimiser, average), "teacher_bytes", "batch" (of the
  config), "working_bytes" (at that batch), "fixed_bytes", "example_bytes" (of all memory), "batch_16_gb", ...}.

  Args:
    name: file:variant of a config.
    model: 'teacher', or the arm of a student.
  """
  file, variant = name.split(':')
  of_teacher = model == 'teacher'
  module = importlib.import_module(f'configs.{file}')
  config = module.get_config(variant if of_teacher else f'{variant},{model}').to_dict()
  found = []
  for batch in BATCHES:
    step, arguments = steps.training_step(config, of_teacher, batch)
    memory = jax.jit(step, donate_argnums=0).lower(*arguments).compile().memory_analysis()
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    found.append((memory.temp_size_in_bytes, memory.temp_size_in_bytes + kept))
  slope = lambda i: (found[1][i] - found[0][i]) / (BATCHES[1] - BATCHES[0])
  at = lambda i, batch: found[0][i] + (batch - BATCHES[0]) * slope(i)
  state, constants, _ = arguments
  batch = steps.trained_by(config, of_teacher)['train']['batch_size']
  return {'config': name, 'model': model, 'parameters': _bytes(state.params) // 4, 'state_bytes': _bytes(state),
          'teacher_bytes': _bytes(constants), 'batch': batch, 'working_bytes': round(at(0, batch)),
          'fixed_bytes': round(at(1, 0)), 'example_bytes': round(slope(1)),
          **{f'batch_{size}_gb': largest(at(1, 0), slope(1), size) for size in GIGABYTES}}


def _size(count: float) -> str:
  return f'{count / 1e6:.3g} MB' if count < 999.5e6 else f'{count / 1e9:.3g} GB'


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
  """A header and a line for each row."""
  head = ['config', 'trained', 'parameters', 'state', 'working memory, at batch', *(f'{size} GB' for size in GIGABYTES)]
  return [head, *([f'`{row["config"]}`', row['model'], f'{row["parameters"]:,}', _size(row['state_bytes']),
                   f'{_size(row["working_bytes"])}, {row["batch"]}', *(str(row[f'batch_{size}_gb']) for size in GIGABYTES)]
                  for row in rows)]


def main(argv) -> None:
  del argv
  jax.config.update('jax_disable_most_optimizations', True)  # of the machine code: the buffers are the same, in half the time
  rows = []
  for name in FLAGS.configs:
    for model in MODELS[name]:
      rows.append(measure(name, model))
      print(tables.plain(table(rows[-1:])[1:]), flush=True)
      if FLAGS.output:
        settings = {'batches': BATCHES, 'share': SHARE, 'platform': jax.default_backend(), 'jax': jax.__version__}
        files.write_json(FLAGS.output, {'command': wording.command(), 'settings': settings, 'rows': rows})
  print(tables.markdown(table(rows)))


if __name__ == '__main__':
  flags.DEFINE_multi_enum('configs', list(MODELS), list(MODELS), 'What to compile.')
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
