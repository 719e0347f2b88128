"""A training step here against the same one of another checkout: seconds, compile time and memory, as ratios.

    git worktree add ../other REVISION && make -C ../other install
    taskset -c 0 python -m benchmarks.against --other=../other --both=--num_blocks=1 --own=--precision=bfloat16

Each side runs benchmarks.train_step in processes of its own, in turns. Here they have huge pages, as all commands have
(launch/huge_pages.py); there they have what that checkout gave them, which --pages=both changes. A ratio above 1 says that this
side takes less.
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
from launch import common, huge_pages

FLAGS = flags.FLAGS
MEASURED = ('seconds', 'compile_seconds', 'peak_host_bytes')


def _run(folder: pathlib.Path, python: str, given: list[str], pages: bool) -> list[dict]:
  """The rows of benchmarks.train_step in a checkout."""
  with tempfile.TemporaryDirectory() as scratch:
    output = pathlib.Path(scratch) / 'rows.json'
    environment = {**os.environ, 'PYTHONPATH': str(folder), 'GLIBC_TUNABLES': f'{huge_pages.SETTING}={int(pages)}'}
    subprocess.run([python, '-m', 'benchmarks.train_step', *given, f'--output={output}'], cwd=folder, env=environment,
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(output.read_text())['rows']


def main(argv) -> None:
  del argv
  here = pathlib.Path(__file__).resolve().parents[1]
  sides = {'here': (here, FLAGS.python, [*FLAGS.both, *FLAGS.own], True),
           'there': (pathlib.Path(FLAGS.other).resolve(), FLAGS.python, FLAGS.both, FLAGS.pages == 'both')}
  rounds = [{name: _run(*side) for name, side in sides.items()} for _ in range(FLAGS.rounds)]
  rows = []
  for i, row in enumerate(rounds[0]['here']):
    values = {name: {key: np.array([of[name][i][key] for of in rounds]) for key in MEASURED} for name in sides}
    by = {key: interleaved.ratio(values['there'][key], values['here'][key]) for key in MEASURED}
    rows.append({'step': row['step'], **by['seconds'], 'compile_ratio': by['compile_seconds']['ratio'],
                 'memory_ratio': by['peak_host_bytes']['ratio'], 'seconds': float(np.median(values['here']['seconds'])),
                 'seconds_there': float(np.median(values['there']['seconds']))})
  cell = lambda value: f'{value:.3g}' if isinstance(value, float) else str(value)
  print(tables.plain([list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]))
  if FLAGS.output:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    settings = {'both': FLAGS.both, 'own': FLAGS.own, 'rounds': FLAGS.rounds, 'cores': cores,
                'python': platform.python_version(), 'pages': FLAGS.pages}
    files.write_json(FLAGS.output, {'command': common.command(), 'settings': settings, 'rows': rows})


if __name__ == '__main__':
  flags.DEFINE_string('other', None, 'The other checkout.', required=True)
  flags.DEFINE_string('python', sys.executable, 'Of both sides.')
  flags.DEFINE_multi_string('both', [], 'A flag of benchmarks.train_step, on both sides.')
  flags.DEFINE_multi_string('own', [], 'The same, on this side alone.')
  flags.DEFINE_enum('pages', 'own', ['own', 'both'], 'Who has huge pages.')
  flags.DEFINE_integer('rounds', 3, 'Turns.', lower_bound=1)
  flags.DEFINE_string('output', None, 'JSON to write.')
  app.run(main)
