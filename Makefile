# `make demo` and `make test` set up everything they need in .venv with venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS ?=
LINKS := featune/engine featune/export featune/bench

.PHONY: demo test test-gpu test-wide test-tensorrt zoo check bench freeze clean

demo: $(VENV)/installed
	$(BIN)/featune demo

test: $(VENV)/tested
	$(BIN)/pytest -n 2 $(TESTS)

test-gpu: $(VENV)/tested
	$(BIN)/pytest -m gpu $(TESTS)

# More architectures than the default run has time for.
test-wide: $(VENV)/tested
	$(BIN)/pytest -m wide $(TESTS)

# On a machine with an NVIDIA GPU and TensorRT.
test-tensorrt: $(VENV)/tested
	$(BIN)/pip install --quiet -e '.[tensorrt]'
	$(BIN)/pytest -m tensorrt $(TESTS)

zoo: $(VENV)/installed
	$(BIN)/python benchmarks/zoo.py

check: $(VENV)/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile.gpu; else echo "hadolint has no wheel here: Dockerfile.gpu is not linted"; fi

bench: $(VENV)/tested
	$(BIN)/python benchmarks/help.py
	$(BIN)/python benchmarks/probe.py

# featune/ holds links to the three folders; an unpacked sdist has none.
$(LINKS):
	ln -s ../$(@F) $@

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/pip $(LINKS)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# The versions of this environment as the ones that the tests passed with.
freeze: test
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .ruff_cache .mypy_cache
