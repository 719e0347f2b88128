"""The notebook of the quick start: as it stands in the repository, and run from top to bottom.

It is written anew by `jupyter execute --inplace examples/quickstart.ipynb`.
"""
import itertools
import json
import pathlib
import re
import shutil

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'examples' / 'quickstart.ipynb'
# Run after the last cell: what the notebook computed, and how far from final the first k pixels are after pass k, for all k.
MEASURE = '''
import json
flat = np.asarray(passes).reshape(65, 64, 64)
unsettled = max(np.abs(flat[k, :, :k] - flat[64, :, :k]).max() for k in range(1, 65))
print(json.dumps({'round_trip': round_trip, 'own_round_trip': own_round_trip, 'unsettled': float(unsettled),
                  'solvers': max(float(jnp.max(jnp.abs(s(params, z).x - x_teacher))) for s in solve.values()),
                  'encodings': [float(z_data.mean()), float(z_data.std())], 'bits': bits, 'own_bits': own_bits,
                  'student': student_distance, 'untrained': untrained_distance, 'unrelated': unrelated_distance,
                  'ancestral_over_student': times['T^-1, ancestral'] / times['S']}))
'''


def code_cells(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def printed(cell):
  return ''.join(output.text for output in cell.outputs if output.get('name') == 'stdout')


def kinds(cell):
  """Of the outputs, in order; what is printed may come in one piece or in several."""
  return [kind for kind, _ in itertools.groupby(output.output_type for output in cell.outputs)]


def test_the_notebook_is_stored_as_it_ran():
  """Every code cell ran once, in order, without an error or a warning; there are pictures, and they are small."""
  notebook = nbformat.read(NOTEBOOK, 4)
  nbformat.validate(notebook)
  cells = code_cells(notebook)
  assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
  outputs = [output for cell in cells for output in cell.outputs]
  assert {output.output_type for output in outputs} == {'stream', 'display_data'}
  told = ''.join(output.text for output in outputs if output.get('name') == 'stderr').splitlines()
  assert told and all(re.fullmatch(r'(teacher|student): (\d+) of \2 step, [\d.]+ step/s, 00:00 left', line) for line in told)
  assert sum('image/png' in output.get('data', {}) for output in outputs) >= 4
  assert NOTEBOOK.stat().st_size < 300_000


def test_the_notebook_names_no_path_of_a_machine():
  notebook = nbformat.read(NOTEBOOK, 4)
  for cell in code_cells(notebook):
    for output in cell.outputs:
      output.get('data', {}).pop('image/png', None)
  text = json.dumps(notebook)
  assert 'bits per pixel' in text
  assert not re.findall(r'(?<![\w.])/(?:home|root|tmp|work|Users|var|opt|usr|mnt|private)/\S*|[A-Z]:\\\\\w+', text)


@pytest.mark.slow  # 3 minutes of CPU time
def test_the_notebook_runs_and_what_it_says_holds(tmp_path, monkeypatch):
  """The bounds are several times what was measured; the stored outputs are those of the notebook as it is."""
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  stored = nbformat.read(NOTEBOOK, 4)
  notebook = nbformat.read(shutil.copy(NOTEBOOK, tmp_path), 4)
  notebook.cells.append(nbformat.v4.new_code_cell(MEASURE))
  nbclient.NotebookClient(notebook, timeout=1800, resources={'metadata': {'path': str(tmp_path)}}).execute()
  *cells, measured = code_cells(notebook)
  values = json.loads(printed(measured))

  # The fixed point stops when no pixel moves by 1e-5 of max |x|, which is below 10 for these logits.
  assert max(values['round_trip'], values['own_round_trip'], values['solvers']) < 2e-4
  assert values['unsettled'] < 1e-5
  mean, std = values['encodings']
  assert abs(mean) < 0.1 and abs(std - 1) < 0.1
  assert values['bits'] < 2.1 < values['own_bits'] < 2.6
  assert values['student'] < 0.5 * values['unrelated'] and values['student'] < 0.5 * values['untrained']
  assert values['ancestral_over_student'] > 5
  assert list(tmp_path.iterdir()) == [tmp_path / NOTEBOOK.name]

  for before, now in zip(code_cells(stored), cells, strict=True):
    assert kinds(before) == kinds(now)
  found, = [cell for cell in code_cells(stored) if cell.id == 'teacher']
  assert float(printed(found).split()[0]) == pytest.approx(values['bits'], abs=0.05)
