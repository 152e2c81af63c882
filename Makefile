# make demo: set-up, then the main job on the toy dataset; make test: set-up, lint and tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# LOCKED=0, no and false ask for no set-up by hash.
override LOCKED := $(filter-out 0 no false,$(LOCKED))
# A set-up by hash counts for both, another only for itself.
STAMP := $(VENV)/.installed$(if $(LOCKED),-locked)
TEST_STAMP := $(VENV)/.installed-test
DOCS_STAMP := $(VENV)/.installed-docs
# Threads of the demo: the figures in the docs are for two cores.
export OMP_NUM_THREADS ?= 2

.PHONY: setup lock demo demo-tla test docs stress lint clean

setup: $(STAMP)

# make setup LOCKED=1: only files with the hashes of requirements.lock, which include what packages are built with.
$(STAMP): requirements.txt $(if $(LOCKED),requirements.lock) setup.py scripts/install_detectron2.py
	@test -e $(VENV) || test -L $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
		{ echo "error: $(VENV) is there, but its Python or pip does not run; remove it (rm -rf $(VENV)) and run make again" >&2; exit 2; }
ifdef LOCKED
	sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock > $(VENV)/setuptools.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/setuptools.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r requirements.lock
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
endif
	$(BIN)/python scripts/install_detectron2.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/.installed $@

$(TEST_STAMP): $(STAMP) requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-test.txt
	@touch $@

$(DOCS_STAMP): $(STAMP) requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

# After a change of requirements.txt.
lock: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" requirements.txt -o requirements.lock

demo: setup
	$(BIN)/python scripts/run_demo.py --output output/demo

# What pseudo labels add to the same burnt-in network, beside twice the labelled clips: a table of one seed (docs/tla.md
# says what that can show): 16 minutes of CPU, of which two free cores should make a quarter of an hour at most.
demo-tla: export OMP_NUM_THREADS := 1
demo-tla: setup
	$(BIN)/python tools/reproduce.py --table 5 --strict --seeds 1 --jobs 2 --burn-in 240 --iterations 160 --curves \
		--rows none none_x2 tla dense --output output/demo_tla

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Pages and API reference in output/site; a warning is an error.
docs: $(DOCS_STAMP)
	$(BIN)/mkdocs build --quiet --strict

# One thread a process: pytest runs one process a core.
test: export OMP_NUM_THREADS := 1
test: lint docs
	$(BIN)/python -m pytest -n auto

# Kill test, broken videos, fuzzers and leaks in their long forms, and a table; at most half an hour.
stress: $(TEST_STAMP)
	$(BIN)/python scripts/stress.py

clean:
	rm -rf output datasets/toy build *.egg-info
