# make repro   the whole lifecycle: environment, data, grid, report, registry
# make test    the whole default test suite
# make chaos   kill, crowd, damage and cut off everything, with figures (minutes)
# make bench   what the documents say of speed, measured beside peers (15 minutes; their own environment)
# make ui      MLflow with runs, model versions and aliases
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help env repro test test-slow chaos bench lint ui docs clean javascript

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found; name another with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(PIP) -e '.[test,dev]'
	@touch $@

env: $(VENV)/.installed

repro: env
	@git rev-parse --git-dir >/dev/null 2>&1 || \
	  { echo "DVC needs a git repository here; run: git init && git add -A && git commit -m start" >&2; exit 1; }
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/sgm init
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/dvc repro
	@$(BIN)/sgm leaderboard

# Two processes, a file of tests each: what a file's tests share is made once. The longest files go first
# (tests/conftest.py).
test: $(VENV)/.installed-test javascript
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m slow

chaos: $(VENV)/.installed-test
	PATH="$(abspath $(BIN)):$$PATH" SGM_CHAOS=full $(BIN)/python -m pytest -m slow -s tests/chaos

.venv-bench/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -e . -r benchmarks/requirements.txt
	@touch $@

bench: .venv-bench/.installed
	.venv-bench/bin/python benchmarks/run.py

lint: $(VENV)/.installed-dev javascript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml
	@if command -v npm >/dev/null; then npm --prefix studio/web run --silent lint; fi

# What builds and checks the studio's JavaScript. Users need none of it: studio/static is committed.
javascript:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory studio/web/node_modules/.installed; \
	  else echo "npm is not there: what needs the studio's JavaScript tools is skipped"; fi

studio/web/node_modules/.installed: studio/web/package-lock.json
	npm --prefix studio/web ci --ignore-scripts --no-audit --no-fund
	@touch $@

ui: env
	@$(BIN)/sgm ui

docs: $(VENV)/.installed-test
	$(BIN)/python docs/make_params.py
	$(BIN)/python docs/make_control.py
	$(BIN)/python docs/make_processes.py
	$(BIN)/python docs/make_evaluation.py

clean:
	rm -rf .sgm reports/* data/prepared data/reference .pytest_cache .ruff_cache .mypy_cache
