# Everything runs in $(VENV), made from requirements.lock on first use and made anew when that file or setup.py changes.
PYTHON ?=
VENV ?= .venv
TESTS ?=
LOCK_FLAGS ?=

# What makes the environment: PYTHON, or the first of these that runs and can make one. A pyenv shim may be there and not run.
PYENV = $$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[23].*[0-9]/bin/python 2>/dev/null | sort -V | tail -n 1)
FIND_PYTHON = for p in $(or $(PYTHON),python3.13 python3.12 $(PYENV) python3.11 python3); do \
  "$$p" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$p" && exit; done; \
  echo 'error: no Python 3.11 or newer with venv runs$(if $(PYTHON), as $(PYTHON)): name one, as PYTHON=python3.12 does.' >&2; exit 1

BIN := $(VENV)/bin
READY := $(VENV)/.ready
REPRODUCE := $(BIN)/python -m launch.reproduce --figure=4,5
GAUSSIAN := 1,2,3,proposition1,norms,spectra,modes,stiffness,mechanism,claims
UV := build/uv

.PHONY: help install python digits figures gaussian smoke test test-slow test-survival lint lock clean

help:
	@echo 'make install    the environment alone, in $(VENV)'
	@echo 'make python     names the Python that would make it'
	@echo 'make digits     figures 4 and 5 of the paper on handwritten digits, with the main students, into runs/digits'
	@echo 'make figures    the same with all students'
	@echo 'make gaussian   figures 1 to 3 and the studies of Gaussian teachers, into runs/gaussian'
	@echo 'make smoke      the path of make figures, tiny, into runs/smoke'
	@echo 'make test       the tests, or those in TESTS="tests/solvers tests/losses"'
	@echo 'make test-slow  the tests that take long'
	@echo 'make test-survival  kills, full disks, damaged files, several processes; SURVIVAL=--kills=200 for more'
	@echo 'make lint       the style checks'
	@echo 'make lock       requirements.lock from setup.py; LOCK_FLAGS=--upgrade takes the newest versions'
	@echo 'make clean      removes the environment, builds and caches; runs/ stays'
	@echo
	@echo 'PYTHON=... names the Python (3.11 or newer; else the newest from 3.13 down) that makes the environment,'
	@echo 'VENV=... where it is made.'

$(READY): requirements.lock setup.py
	@test ! -e $(VENV) -o -f $(VENV)/pyvenv.cfg || { \
	  echo 'error: $(VENV) exists and is no environment of Python: remove it, or name another VENV.' >&2; exit 1; }
	@python=$$($(FIND_PYTHON)) && echo "$(VENV): $$("$$python" --version), $$python" && "$$python" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: $(READY)

python:
	@$(FIND_PYTHON)

digits: $(READY)
	$(REPRODUCE) --config=configs/digits.py:main --workdir=runs/digits

figures: $(READY)
	$(REPRODUCE) --config=configs/digits.py --workdir=runs/digits

gaussian: $(READY)
	$(BIN)/python -m launch.reproduce --figure=$(GAUSSIAN) --workdir=runs/gaussian

smoke: $(READY)
	$(REPRODUCE) --config=configs/digits.py:smoke --workdir=runs/smoke

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" $(TESTS)

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m "slow and not survival"

test-survival: $(READY)
	$(BIN)/python -m pytest -q -m survival $(SURVIVAL)

lint: $(READY)
	$(BIN)/ruff check .

# uv is needed here alone, and comes into a folder of its own.
lock:
	python=$$($(FIND_PYTHON)) && "$$python" -m venv $(UV)
	$(UV)/bin/python -m pip install --disable-pip-version-check --quiet uv
	$(UV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command 'make lock' $(LOCK_FLAGS) --extra test --extra tensorboard setup.py -o requirements.lock

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +
