# `make` lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0

.PHONY: help test test-all test-base test-lowest demo picture bench docs docs-check format clean

help:
	@echo "make demo     align a photograph without and with occluders; images and JSON in out/"
	@echo "make test     check formatting, lint, types and imports, and run the tests"
	@echo "make test-base    base installation and inference tests on every Python 3.11 to 3.13 of this machine"
	@echo "make test-lowest  the same with the lowest declared versions"
	@echo "make test-all     all tests on every Python 3.11 to 3.13 of this machine; slow"
	@echo "make bench    measure cold start, time per face and peak memory on this machine"
	@echo "make docs     build the documentation site in build/site, offline"
	@echo "make docs-check  run every command in the documents on synthetic data; takes some minutes"
	@echo "make format   format the code and apply lint fixes"
	@echo "make picture  run the demo and copy its sheet into docs/images for the README"
	@echo "make clean    remove caches, builds and out/, but not .venv, packs and runs"

# One step of `make test`. Arguments: name, command, how to fix a failure.
step = printf '\n== %s\n' "$(1)"; $(2) || { printf '\nmake: step "%s" failed. %s\n' "$(1)" "$(3)" >&2; exit 1; }

test: $(VENV)/.dev
	@$(call step,format,$(BIN)/ruff format --check .,Run: make format)
	@$(call step,lint,$(BIN)/ruff check .,Fix the errors above; make format fixes some of them.)
	@$(call step,types,$(BIN)/mypy,Fix the errors above.)
	@$(call step,imports,$(BIN)/lint-imports,The layers are listed in pyproject.toml.)
	@$(call step,tests,OMP_NUM_THREADS=1 $(BIN)/pytest -n 2,To run one test: $(BIN)/pytest PATH::NAME)
	@printf '\nAll checks passed.\n'

# One interpreter of each version from 3.11 to 3.13, from PATH or pyenv.
PYTHONS = $(shell for v in 3.11 3.12 3.13; do \
	for p in "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$v.*/bin/python "$$(command -v python$$v)"; do \
	[ -x "$$p" ] && "$$p" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')" 2>/dev/null && { echo "$$p"; break; }; \
	done; done)
# The base installation has no torch; tests that need it are skipped.
INFERENCE_TESTS = tests/inference/test_align_command.py tests/inference/test_command_line.py \
  tests/inference/test_pipeline.py tests/inference/test_detector.py \
  tests/io/test_images.py tests/schemes tests/test_doctor.py tests/test_installation.py
RUN_INFERENCE = OMP_NUM_THREADS=1 build/venv/bin/python -m pytest -q -n 2 -o addopts= -p no:cacheprovider $(INFERENCE_TESTS)
TEST_TOOLS = pytest pytest-xdist hypothesis scikit-image psutil onnx

test-base:
	@[ -n "$(PYTHONS)" ] || { echo "make: no Python 3.11 to 3.13 on PATH or under pyenv" >&2; exit 1; }
	@for python in $(PYTHONS); do printf '\n== base installation, %s\n' "$$python"; \
	"$$python" -m venv --clear build/venv && build/venv/bin/pip install --quiet . $(TEST_TOOLS) && $(RUN_INFERENCE) || exit 1; done

test-lowest:
	$(PYTHON) -m venv --clear build/venv
	build/venv/bin/python .ci/lowest.py > build/lowest.txt
	build/venv/bin/pip install --quiet -c build/lowest.txt . $(TEST_TOOLS)
	$(RUN_INFERENCE)

test-all: test-base test-lowest
	@for python in $(PYTHONS); do printf '\n== all tests, %s\n' "$$python"; \
	"$$python" -m venv --clear build/venv && build/venv/bin/pip install --quiet $(TORCH) && \
	build/venv/bin/pip install --quiet -e '.[dev]' && OMP_NUM_THREADS=1 build/venv/bin/pytest -n 2 || exit 1; done

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

picture: demo
	mkdir -p docs/images
	cp out/demo.png docs/images/demo.png

bench: $(VENV)/.demo
	$(BIN)/python -m benchmarks.speed

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

# A stamp that is older than pyproject.toml triggers an installation. The demo needs no torch.
$(VENV)/.demo: pyproject.toml | $(BIN)/pip
	@echo "== installing unveil and scikit-image"
	$(BIN)/pip install --quiet -e . 'scikit-image>=0.25'
	@touch $@

# torch is installed first, with an exact version: otherwise pip may install gigabytes of CUDA packages.
$(VENV)/.dev: pyproject.toml | $(BIN)/pip
	@echo "== installing torch, then unveil with the development extras (some minutes)"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $(VENV)/.demo $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than Python 3.11; try: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
