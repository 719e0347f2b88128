"""The README, docs/ and results/ say what is so: commands, flags, configs, links, numbers, and code that runs."""
import ast
import functools
import importlib
import json
import re
import shlex

from commands import ROOT
import jax
import numpy as np
from PIL import Image
import pytest

from inverse_matching import runs, students
from inverse_matching.data import catalogue
from inverse_matching.evaluation import tables
from launch import console

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md')),
         *sorted((ROOT / 'results').glob('**/README.md'))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MODULES = set(console.COMMANDS)
COMMAND = re.compile(r'python -m (launch|benchmarks)\.(\w+)([^\n`|]*)|launch/(?:slurm|tpu_vm)\.sh (\w+)([^\n`|]*)|'
                     rf'{console.NAME} ([a-z][a-z-]*)([^\n`|]*)')
COLUMNS = {'kernel distance': 'kernel_distance', 'coverage': 'coverage', 'label entropy': 'label_entropy',
           'reverse KL': 'reverse_kl'}  # head of a column of the README -> metric


def text(page):
  """Of a page, with continued lines in one."""
  return page.read_text().replace('\\\n', ' ')


def calls(tree, name):
  """Calls of a function of that name, with or without its module, and of those whose name begins so."""
  called = lambda node: getattr(node.func, 'attr', getattr(node.func, 'id', ''))
  return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node).startswith(name)]


def defined(tree):
  """Names of the flags that a tree defines."""
  return {node.args[0].value for node in calls(tree, 'DEFINE_') if isinstance(node.args[0], ast.Constant)}


def in_effect(body, values):
  """The statements of a function's body that run with those parameters: of an `if`, the branch that is taken."""
  for node in body:
    if isinstance(node, ast.If):
      taken = eval(compile(ast.Expression(node.test), 'test', 'eval'), {}, values)
      yield from in_effect(node.body if taken else node.orelse, values)
    elif isinstance(node, (ast.With, ast.Expr)):
      yield node


@functools.cache
def flags_of(module):
  """The flags of a command, from its source: nothing is run."""
  tree = ast.parse((ROOT / f'{module.replace(".", "/")}.py').read_text())
  flags = defined(tree)
  common = ast.parse((ROOT / 'launch' / 'common.py').read_text())
  define = next(node for node in common.body if getattr(node, 'name', '') == 'define_flags')
  defaults = {a.arg: default.value for a, default in zip(define.args.args, define.args.defaults, strict=True)}
  for call in calls(tree, 'define_flags'):
    given = {keyword.arg: getattr(keyword.value, 'value', 'some value') for keyword in call.keywords}
    for node in in_effect(define.body, {**defaults, **given}):
      flags |= defined(node)
    if 'config' in given:
      flags |= defined(ast.parse((ROOT / 'launch' / 'config_flag.py').read_text()))
  return flags


def commands(page):
  """(module, words after it) of every command on a page."""
  for match in COMMAND.finditer(text(page)):
    package, name, rest, script, more, command, after = match.groups()
    words = shlex.split((rest or more or after or '').partition(' #')[0].rstrip(' &'))
    name = name or script or command.replace('-', '_')
    yield f'{package or "launch"}.{name}', words + (['--distributed'] if script else [])


def has(config, path):
  """Whether the config has the field: 'a.b' is config.a.b."""
  for field in path.split('.'):
    if not hasattr(config, 'keys') or field not in config:
      return False
    config = config[field]
  return True


def config_of(value):
  """What --config=VALUE loads."""
  path, _, variant = value.partition(':')
  module = importlib.import_module(path.removesuffix('.py').replace('/', '.') if '/' in path else f'configs.{path}')
  return module.get_config(*([variant] if variant else []))


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_commands(page):
  """Each names a command that there is, flags that it has, a config that builds with the fields that are set, and figures."""
  from inverse_matching import experiments  # slow to import
  for module, words in commands(page):
    assert (ROOT / f'{module.replace(".", "/")}.py').exists(), module
    flags, given = flags_of(module), {}
    for word in words:
      if word.startswith('--'):
        name, _, given[name] = word.removeprefix('--').partition('=')
        assert name.partition('.')[0] in flags, f'{module} has no flag --{name}'
    config = config_of(given['config']) if 'config' in given else None
    for name in given:
      if name.startswith('config.'):
        assert has(config, name.removeprefix('config.')), f'{given["config"]} has no {name}'
    for figure in given.get('figure', '').split(',') if 'figure' in given else []:
      assert figure in experiments.FIGURES
      section = experiments.SECTIONS.get(figure)
      assert not config or not section or section in config and (section != 'figures' or figure in config.figures), figure


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_flags_named_in_the_text(page):
  """Any --flag between backticks is one of some command, or of the tests."""
  known = {'help', 'kills', 'reliability', 'nodes'}
  for module in [*(ROOT / 'launch').glob('[a-z]*.py'), *(ROOT / 'benchmarks').glob('[a-z]*.py')]:
    known |= flags_of(f'{module.parent.name}.{module.stem}')
  for code in re.findall(r'`([^`\n]+)`', page.read_text()):
    for name in re.findall(r'--([a-z_]+)', code):
      assert name in known, f'--{name}'


def test_flags_of_each_command():
  """The table of the page on commands has them all, apart from those that are shared."""
  section = (ROOT / 'docs' / 'commands.md').read_text().partition('## Flags')[2].partition('## ')[0]
  shared = {'workdir', 'devices', 'distributed', 'profile', 'trust_workdir'}
  rows = dict(re.findall(r'^\| `(\w+)` \| (.*) *\|$', section, re.M))
  assert set(rows) == MODULES
  for module, row in rows.items():
    assert set(re.findall(r'`--(\w+)`', row)) - shared == flags_of(f'launch.{module}') - shared, module


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_links(page):
  """Every relative link and picture is there."""
  for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
    if not re.match(r'[a-z]+:', link):
      path, _, anchor = link.partition('#')
      target = page.parent / path
      assert target.exists(), link
      if anchor:
        headings = re.findall(r'^#+ (.*)$', target.read_text(), re.M)
        assert anchor in [heading.lower().replace(' ', '-') for heading in headings], link


def test_architecture():
  """Every folder of the package has its line, and every file that is named is there."""
  page, package = (ROOT / 'docs' / 'architecture.md').read_text(), ROOT / 'inverse_matching'
  folders = {path.name for path in package.iterdir() if (path / '__init__.py').exists()}
  assert set(re.findall(r'^\| `(\w+)/` \|', page, re.M)) == folders
  for name in re.findall(r'`((?:\w+/)*\w+\.py)`', page):
    assert (ROOT / name).exists() or (package / name).exists(), name


def test_every_command_is_in_the_readme():
  """As a line of its table."""
  assert set(re.findall(r'^\| `python -m launch\.(\w+)` \|', (ROOT / 'README.md').read_text(), re.M)) == MODULES


def test_the_front_page_is_one():
  """Short, and the first command is at its top."""
  lines = (ROOT / 'README.md').read_text().splitlines()
  assert len(lines) <= 140
  assert any(line.startswith('make ') for line in lines[:15])


def rounded(value, shown):
  """The value with as many decimals as are shown."""
  return f'{value:.{len(shown.partition(".")[2])}f}'


def test_numbers_of_the_readme():
  """The table has those of figure4.json, rounded as shown: of the teacher with an interval, of students for each seed."""
  rows = {}
  for row in json.loads((ROOT / 'results/digits/figure4.json').read_text())['rows']:
    if row['reference'] == 'teacher':
      rows.setdefault((row['arm'], row['metric']), []).append(row)
  lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in (ROOT / 'README.md').read_text().splitlines()
           if line.startswith('|')]
  start = next(i for i, line in enumerate(lines) if line[0] == 'arm')
  head, body, checked = lines[start], lines[start + 2:start + 8], 0
  assert [line[0] for line in body][-1] == 'floor' and set(head[1:]) == set(COLUMNS)
  for arm, *cells in body:
    for column, cell in zip(head[1:], cells):
      found = rows.get((arm.strip('`') if arm != 'floor' else 'flow/oracle_prediction', COLUMNS[column]), [])
      shown = re.findall(r'-?\d+\.\d+', cell)
      wanted = [row['value'] for row in sorted(found, key=lambda row: row.get('train_seed') or 0)]
      if arm in ('`teacher`', 'floor') and found:
        wanted = [found[0][name] for name in (['floor'] if arm == 'floor' else ['value', 'low', 'high'])]
      assert shown == [rounded(value, text) for value, text in zip(wanted, shown, strict=True)], (arm, column)
      checked += len(shown)
  assert checked == 3 * (5 * 4 - 1) + 4


def test_memory_of_the_page_on_devices():
  """The table is that of memory.json, and its batches are the largest that fit."""
  from benchmarks import memory
  rows = json.loads((ROOT / 'results/speed/memory.json').read_text())['rows']
  assert tables.markdown(memory.table(rows)) in (ROOT / 'docs' / 'devices.md').read_text()
  assert [(row['config'], row['model']) for row in rows] == [(name, model) for name, models in memory.MODELS.items()
                                                             for model in models]
  for row in rows:
    for size in memory.GIGABYTES:
      batch, needed = row[f'batch_{size}_gb'], lambda batch, row=row: row['fixed_bytes'] + batch * row['example_bytes']
      assert needed(batch) <= memory.SHARE * size * 1e9 < needed(2 * batch or 1)


def code_of(*pages):
  """The names that the Python of these pages makes, run one after the other."""
  scope = {}
  for page in pages:
    for block in re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / page).read_text(), re.S):
      exec(block, scope)
  return scope


def test_a_data_set_of_ones_own():
  """The one of the page on data, in its three parts."""
  source = code_of('data.md')['load'](num_validation=100)
  assert source.space.levels == 4 and source.space.event_shape == (8, 8, 1) and source.space.codec.levels == 4
  assert [len(part['pixels']) for part in (source.train, source.validation, source.held_out)] == [300, 100, 100]


def test_images_of_a_folder(tmp_path):
  """The lines of the page on data write a file that is read as the same images."""
  pixels = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)
  for i, image in enumerate(pixels):
    Image.fromarray(image).save(tmp_path / f'{i:02d}.png')
  code_of('data.md')['write_images'](tmp_path, tmp_path / 'mine.npz')
  found = catalogue.load({'name': 'arrays', 'path': tmp_path / 'mine.npz', 'held_out': 0.25}).data
  both = np.concatenate([found.train.pixels, found.held_out.pixels])[..., 0]
  assert {image.tobytes() for image in both} == {image.tobytes() for image in pixels}


def test_the_loop_of_the_page_on_the_library():
  """The student has learnt the teacher: a small error, and the same covariance."""
  scope = code_of('library.md')
  teacher, params = scope['teacher'], scope['teacher_params']
  exact = teacher.sample(params, jax.random.split(jax.random.key(3), 1000))
  np.testing.assert_allclose(np.cov(scope['samples'].T), np.cov(exact.T), atol=0.25)
  assert scope['loss'] < 0.005


@pytest.mark.slow
def test_runs_of_the_page_on_the_library(tmp_path):
  """With a config as it is, a ConfigDict."""
  teacher_run, student_run = code_of('library.md')['train'](tmp_path)
  assert teacher_run.hash == runs.load_teacher(tmp_path / 'teacher').hash
  assert runs.load_student(tmp_path / 'student', teacher_run).config['loss']['name'] == student_run.config['loss']['name']


def test_a_teacher_from_python():
  """What the page on sampling solves is what the page on teachers drew."""
  scope = code_of('teachers.md', 'sampling.md')
  np.testing.assert_allclose(scope['solution'].x, scope['x'], atol=1e-5)
  standard_normal = -0.5 * np.sum(scope['z']**2 + np.log(2 * np.pi), axis=(1, 2, 3))
  np.testing.assert_allclose(scope['log_prob'], standard_normal + scope['log_det'], rtol=1e-5)


def test_what_a_teacher_must_have_been_trained_on():
  """The x of the config, which are the logits of its images."""
  config = {'name': 'digits', 'logit_lambda': 0.01}
  x, source = code_of('teachers.md')['training_x'](config, 3), catalogue.load(config)
  np.testing.assert_array_equal(source.space.codec.to_data(x), source.data.train.pixels[:3])


def test_a_student_of_ones_own():
  """The one of the page on students passes the check, and its log-determinant is that of its scales."""
  student = code_of('students_and_losses.md')['scaled_noise']((2, 3))
  params = jax.tree.map(lambda leaf: leaf + 0.5, student.init(jax.random.key(0)))
  students.check(student, params)
  np.testing.assert_allclose(student.z_to_x(params, np.ones((4, 2, 3))).log_det, 6 * 0.5, rtol=1e-6)
