"""A training step here against the same one of another checkout: seconds, compile time and memory, as ratios.

    git worktree add ../other REVISION && make -C ../other install
    taskset -c 0 python -m benchmarks.against --other=../other --both=--num_blocks=1 --own=--precision=bfloat16
    taskset -c 0 python -m benchmarks.against --other=../other --benchmark=vocoder

Each side runs a benchmark, by default benchmarks.train_step, in processes of its own, in turns. Here they have huge pages, as
all commands have (launch/huge_pages.py); there what that checkout gave them, which --pages=both changes. Above 1, this side
takes less.
"""
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

from absl import app, flags
import numpy as np

from benchmarks import interleaved
from inverse_matching.evaluation import tables
from inverse_matching.runtime import files
from launch import huge_pages, wording

FLAGS = flags.FLAGS
NAMES = ('step', 'what', 'batch')  # fields that tell what a row is of
MEASURED = {'compile_ratio': 'compile_seconds', 'memory_ratio': 'peak_host_bytes'}  # where a benchmark has them


def _run(folder: pathlib.Path, python: str, given: list[str], pages: bool) -> list[dict]:
  """The rows of the benchmark in a checkout."""
  with tempfile.TemporaryDirectory() as scratch:
    output = pathlib.Path(scratch) / 'rows.json'
    environment = {**os.environ, 'PYTHONPATH': str(folder), 'GLIBC_TUNABLES': f'{huge_pages.SETTING}={int(pages)}'}
    subprocess.run([python, '-m', f'benchmarks.{FLAGS.benchmark}', *given, f'--output={output}'], cwd=folder, env=environment,
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(output.read_text())['rows']


def _row(about: dict, turns: dict[str, list[dict]]) -> dict:
  """The ratios of one thing that was timed, of its row in every turn of both sides."""
  times = lambda name, key: np.array([row[key] for row in turns[name]])
  ratio = lambda key: interleaved.ratio(times('there', key), times('here', key))
  return {**{name: about[name] for name in NAMES if name in about}, **ratio('seconds'),
          **{name: ratio(key)['ratio'] for name, key in MEASURED.items() if key in about},
          'seconds': float(np.median(times('here', 'seconds'))), 'seconds_there': float(np.median(times('there', 'seconds')))}


def main(argv) -> None:
  del argv
  here = pathlib.Path(__file__).resolve().parents[1]
  sides = {'here': (here, FLAGS.python, [*FLAGS.both, *FLAGS.own], True),
           'there': (pathlib.Path(FLAGS.other).resolve(), FLAGS.python, FLAGS.both, FLAGS.pages == 'both')}
  rounds = [{name: _run(*side) for name, side in sides.items()} for _ in range(FLAGS.rounds)]
  rows = [_row(row, {name: [of[name][i] for of in rounds] for name in sides}) for i, row in enumerate(rounds[0]['here'])]
  cell = lambda value: f'{value:.3g}' if isinstance(value, float) else str(value)
  print(tables.plain([list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]))
  if FLAGS.output:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    settings = {'benchmark': FLAGS.benchmark, 'both': FLAGS.both, 'own': FLAGS.own, 'rounds': FLAGS.rounds, 'cores': cores,
                'python': platform.python_version(), 'pages': FLAGS.pages}
    files.write_json(FLAGS.output, {'command': wording.command(), 'settings': settings, 'rows': rows})


if __name__ == '__main__':
  flags.DEFINE_string('other', None, 'The other checkout.', required=True)
  flags.DEFINE_string('python', sys.executable, 'Of both sides.')
  flags.DEFINE_enum('benchmark', 'train_step', ['train_step', 'vocoder'], 'Which.')
  flags.DEFINE_multi_string('both', [], 'A flag of the benchmark, on both sides.')
  flags.DEFINE_multi_string('own', [], 'The same, on this side alone.')
  flags.DEFINE_enum('pages', 'own', ['own', 'both'], 'Who has huge pages.')
  flags.DEFINE_integer('rounds', 3, 'Turns.', lower_bound=1)
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
