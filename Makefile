# Every target installs what it needs into .venv first. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow faults lint format bench bench-long docs constraints clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(DEMO) ## Run the main job on real photos
	$(BIN)/ames-ray demo output=demo/

test: $(DEV) ## Run the tests, two files at a time (a quarter of an hour on two cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(DEV) ## Run the long tests: files past 2 GB, full-size networks
	$(BIN)/python -m pytest -m slow

faults: $(DEV) ## Kill runs at random places and compare what they resume to
	$(BIN)/python -m pytest -m faults

lint: $(DEV) ## Check style and types, and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

format: $(DEV) ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## Measure, and write benchmarks/results/: an hour and a half on two cores
	mkdir -p build/bench
	$(BIN)/python -m benchmarks.extraction
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.search --folder build/bench
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.tuning
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.tuning_overhead
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.training --scaling
	$(BIN)/python -m benchmarks.page --results 1000 10000
	$(BIN)/python -m benchmarks.service
	$(BIN)/python -m benchmarks.first_hour --clone

bench-long: $(DEV) ## Measure what takes hours: kills, a million rows, 55 GB of descriptors
	mkdir -p build/bench
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.loader --folder build/bench

docs: $(DEV) ## Rewrite the reference from the code, and build the pages
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

constraints: $(DEV) ## Write the installed versions to constraints.txt
	(head -1 constraints.txt; $(PIP) freeze --exclude-editable | sed "s,+cpu$$,,") > constraints.new && mv constraints.new constraints.txt

clean: ## Remove what the targets made
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ames-ray needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(DEMO): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[samples,serve]'
	touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev,samples]'
	touch $@
