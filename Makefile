# setup: .venv and the Debian packages; demo: the tutorial, for real; test: everything.
SHELL := /bin/bash
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint bench soak fuzz lab bugs api-docs clean

setup: $(VENV)/.done
	@scripts/system-packages

$(VENV)/.done: pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "holdfast needs Python 3.11 or newer; $(PY) is $$($(PY) --version)"; exit 1; }
	$(PY) -m venv $(VENV) || { echo "python3 -m venv failed: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/holdfast demo

lint: $(VENV)/.done
	$(BIN)/ruff check holdfast tests bench scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup
	@scripts/system-packages test
	scripts/run-tests

bench: setup
	$(BIN)/python -m bench

soak: setup
	scripts/soak

# Crooked input for as long as asked; a seed is printed where something breaks (FUZZ_SEED=n does it again).
FUZZ_MINUTES ?= 10
fuzz: setup
	FUZZ_MINUTES=$(FUZZ_MINUTES) $(BIN)/python -m pytest tests/fuzz --timeout=0

# StatefulSets in simulation: every plan, and so many seeds (FIRST: from which).
SEEDS ?= 10000
FIRST ?= 1
lab: setup
	PYTHONHASHSEED=0 LAB_PLANS=1000000 LAB_SEEDS=$(SEEDS) LAB_FIRST=$(FIRST) $(BIN)/python -m pytest tests/lab/test_worlds.py tests/lab/test_act_worlds.py --timeout=0 -s

# The bug bank: which ordinary world notices each historic bug (WORLDS: plans, and as many seeds, at most).
WORLDS ?= 300
bugs: setup
	$(BIN)/python -m tests.lab.bank --worlds $(WORLDS)

# docs/api.md, from the results of the conformance tests.
api-docs: setup
	-$(BIN)/python -m pytest tests/conformance --junitxml .pytest_cache/conformance.xml
	$(BIN)/python scripts/api-docs .pytest_cache/conformance.xml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
