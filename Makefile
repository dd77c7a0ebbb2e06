PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip says what it does, but not more than a screen of it.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt
FROM := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench generate constraints clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(VENV)/.demo  ## Set up and run event_images on toy data, from pictures to a report (first time: some minutes)
	@$(BIN)/python -m pipelines run event_images

test: $(VENV)/.test  ## Set up and run the tests (those marked slow are left to test-all)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/.test  ## Run all tests, slow ones too
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.test  ## Check style, types and the direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(VENV)/.test  ## Measure against the originals' ways, side by side (hours: it fits models)
	@$(BIN)/python -m benchmarks

generate: $(VENV)/.test  ## Renew what is generated: compiled pipelines and the tables of settings
	@for domain in ecal event_images jets; do $(BIN)/python -m pipelines compile $$domain --out tests/pipelines/golden; done
	@$(BIN)/python -m tests.test_readme

constraints:  ## Renew constraints.txt: resolve pyproject.toml anew in a fresh environment
	@rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	@build/constraints/bin/python -m pip install -q "torch==2.13.*" && build/constraints/bin/python -m pip install -q -e ".[test]"
	@{ head -1 constraints.txt; build/constraints/bin/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > build/new
	@mv build/new constraints.txt

clean:  ## Remove the environment, results and caches
	rm -rf $(VENV) runs build compiled .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.venv $(FROM)
	$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/.test: $(VENV)/.venv $(FROM)
	$(PIP) -e ".[test]"
	@touch $@ $(VENV)/.demo
