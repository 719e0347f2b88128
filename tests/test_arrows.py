"""The direction of the imports between the folders of the package, which docs/architecture.md draws; and no circle."""
import ast
import graphlib
import pathlib

import inverse_matching

PACKAGE = pathlib.Path(inverse_matching.__file__).parent
ROOT = {'types', 'errors', 'exactness', 'random', 'registry'}
# folder -> the folders that it may import beside itself and the files of the root.
ARROWS = {
    'elementwise': set(),
    'solvers': set(),
    'nets': {'elementwise'},
    'losses': {'elementwise', 'solvers'},
    'teachers': {'elementwise', 'solvers', 'nets'},
    'students': {'elementwise', 'nets', 'teachers'},
    'analysis': set(),
    'runtime': set(),
    'recipes': {'runtime'},
    'data': {'elementwise', 'runtime'},
    'training': {'data', 'runtime'},
    'runs': {'elementwise', 'solvers', 'nets', 'losses', 'teachers', 'students', 'data', 'runtime', 'training'},
    'evaluation': {'elementwise', 'solvers', 'nets', 'losses', 'data', 'runtime', 'training', 'runs'},
    'experiments': {'elementwise', 'solvers', 'losses', 'teachers', 'students', 'analysis', 'data', 'runtime', 'training',
                    'runs', 'evaluation'},
}
EXCEPTIONS = {('solvers.batched', 'runtime')}  # which spreads work over devices


def modules():
  """name relative to the package -> its syntax tree."""
  found = {}
  for path in PACKAGE.rglob('*.py'):
    name = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)
    found[name.removesuffix('.__init__').removesuffix('__init__')] = ast.parse(path.read_text())
  return found


MODULES = modules()


def imported(tree):
  """Modules of the package, and names of the first part of other modules, that a tree imports at any depth of the code."""
  ours, others = set(), set()
  for node in ast.walk(tree):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [f'{node.module}.{alias.name}' for alias in node.names]
    for name in names:
      if not name.startswith('inverse_matching.'):
        others.add(name.partition('.')[0])
        continue
      name = name.removeprefix('inverse_matching.')
      ours.add(name if name in MODULES else name.rpartition('.')[0])
  return ours, others


def test_arrows():
  """Every import goes to a folder that its own may see; nothing in the package knows the commands or the configs."""
  folders = {name.partition('.')[0] for name in MODULES if name} - ROOT
  assert folders == set(ARROWS)
  wrong = []
  for name, tree in MODULES.items():
    here = name.partition('.')[0]
    ours, others = imported(tree)
    wrong += [f'{name} imports {other}' for other in others & {'launch', 'configs', 'tests'}]
    allowed = ROOT if here in ROOT else ROOT | {here} | ARROWS.get(here, set())
    wrong += [f'{name} imports {other}' for other in ours
              if other.partition('.')[0] not in allowed and (name, other.partition('.')[0]) not in EXCEPTIONS]
  assert not wrong


def test_no_circles():
  """The modules can be put in an order in which each imports earlier ones alone."""
  graph = {name: imported(tree)[0] - {name} for name, tree in MODULES.items()}
  order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
  assert len(order) == len(MODULES)


def test_libraries_have_their_places():
  """Flax modules stand in nets, orbax behind the checkpoints; no machinery of TensorFlow but where data are prepared."""
  places = {'orbax': {'training.checkpoint'}, 'tensorflow_datasets': {'data'}, 'pyworld': {'data'}, 'soundfile': {'data'}}
  for name, tree in MODULES.items():
    for library in imported(tree)[1] & set(places):
      assert name in places[library] or name.partition('.')[0] in places[library], (name, library)
    linen = any(isinstance(node, ast.ImportFrom) and node.module == 'flax' and node.names[0].name == 'linen'
                for node in ast.walk(tree))
    assert not linen or name.startswith('nets.')
