# The two commands are `make demo` and `make test`; `make` alone lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0

.PHONY: help test demo picture bench docs docs-check format clean

help:
	@echo "make demo     align a photograph, plain and under occluders; pictures and JSON in out/"
	@echo "make test     the whole gate: formatting, lint, types, imports, tests"
	@echo "make bench    cold start, time a face and peak memory on this machine"
	@echo "make docs     build the documentation site in build/site, offline"
	@echo "make docs-check  run every command in the documents, on drawn data; some minutes"
	@echo "make format   format the code and mend what the linter can mend"
	@echo "make picture  run the demo and take its picture into the README"
	@echo "make clean    remove caches, builds and out/; .venv, packs and runs stay"

# One step of the gate: its name, its command, how to mend what it finds.
step = printf '\n== %s\n' "$(1)"; $(2) || { printf '\nmake: the gate stops at "%s". %s\n' "$(1)" "$(3)" >&2; exit 1; }

test: $(VENV)/.dev
	@$(call step,format,$(BIN)/ruff format --check .,Run: make format)
	@$(call step,lint,$(BIN)/ruff check .,Mend the lines above; make format mends some of them.)
	@$(call step,types,$(BIN)/mypy,Mend the lines above.)
	@$(call step,imports,$(BIN)/lint-imports,The layers are in pyproject.toml.)
	@$(call step,tests,OMP_NUM_THREADS=1 $(BIN)/pytest -n 2,One test alone: $(BIN)/pytest PATH::NAME)
	@printf '\nThe gate is passed.\n'

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

picture: demo
	mkdir -p docs/images
	cp out/demo.png docs/images/demo.png

bench: $(VENV)/.demo
	$(BIN)/python benchmarks/speed.py

docs: $(VENV)/.dev
	$(BIN)/python docs/build.py

docs-check: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/test_docs_check.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than pyproject.toml when an installation is due. The demo needs no torch.
$(VENV)/.demo: pyproject.toml | $(BIN)/pip
	@echo "== installing unveil and scikit-image"
	$(BIN)/pip install --quiet -e . 'scikit-image>=0.25'
	@touch $@

# torch comes first and by its exact pin: a looser request may bring gigabytes of CUDA packages.
$(VENV)/.dev: pyproject.toml | $(BIN)/pip
	@echo "== installing torch, then unveil with the development extras (some minutes)"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $(VENV)/.demo $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "make: $(PYTHON) is not Python 3.11, the one version that unveil is run on; try: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
