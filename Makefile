PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHARACTER ?= A
PROFILE ?= demo
# empty to do without: on Python 3.11 counting costs about a fifth of the time in the tests' own process
COVERAGE ?= --cov --cov-report=

.PHONY: env demo test lint lab bench bench-walk bench-times bench-resume bench-reconstruction bench-lips bench-renderer bench-talk bench-judging bench-real bench-fairness bench-lab gallery results media clean

env: $(STAMP)

# torch goes first, with its own dependencies, so that a machine with an accelerator may choose its own build.
$(STAMP): requirements.lock pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint requirements.lock torch==2.13.0 setuptools
	$(BIN)/pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/metatalk run --character $(CHARACTER) --profile $(PROFILE)

# two processes share the files of tests; threads that spin while they wait would take the other's core; without
# bytecode on the disk, every notebook and command that a test starts would compile all modules anew
test: lint
	PYTHONDONTWRITEBYTECODE= OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(COVERAGE)
	$(if $(COVERAGE),@total=$$($(BIN)/coverage report --format=total) && echo "metatalk_lib: $$total % of lines and branches covered")

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --extra-keys "metadata.papermill cell.metadata.papermill metadata.widgets" notebooks/*.ipynb
	$(BIN)/mypy

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: bench-walk bench-times bench-resume bench-reconstruction bench-lips bench-renderer bench-talk bench-judging bench-real bench-fairness

bench-walk: $(STAMP)
	$(BIN)/python -m benchmarks.walk

bench-times: $(STAMP)
	$(BIN)/python -m benchmarks.times

bench-resume: $(STAMP)
	$(BIN)/python -m benchmarks.resume

bench-reconstruction: $(STAMP)
	$(BIN)/python -m benchmarks.reconstruction

bench-lips: $(STAMP)
	$(BIN)/python -m benchmarks.lips

bench-renderer: $(STAMP)
	$(BIN)/python -m benchmarks.renderer

bench-talk: $(STAMP)
	$(BIN)/python -m benchmarks.talking

bench-judging: $(STAMP)
	$(BIN)/python -m benchmarks.judging

bench-real: $(STAMP)
	$(BIN)/python -m benchmarks.real

bench-fairness: $(STAMP)
	$(BIN)/python -m benchmarks.fairness

gallery: $(STAMP)
	$(BIN)/python -m benchmarks.gallery

# docs/results.md and the README's table, from docs/results and what benchmarks and the demo left in outputs
results: $(STAMP)
	$(BIN)/python -m benchmarks.results

media: $(STAMP)
	$(BIN)/python -m benchmarks.media

# needs a Chromium; playwright drives it and belongs to no other target
bench-lab: $(STAMP)
	$(BIN)/pip install --quiet playwright==1.65.2
	$(BIN)/python -m benchmarks.lab

clean:
	rm -rf $(VENV) outputs/*/
