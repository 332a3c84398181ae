# Everything lives in .venv, made on first use. The stamps in it make the second time quick.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check
ARGS   ?=

.PHONY: help install run test test-training test-pipelines check bench embedded clean
help:
	@echo "make run      set up and open the studio with the embedded model (ARGS='--port 9000' passes options)"
	@echo "make test     set up and run every test (ARGS='-k canny' passes options)"
	@echo "make check    ruff and mypy"
	@echo "make bench    the figures of the README, measured on this machine"
	@echo "make embedded train the embedded model again; goes on where it was (ARGS='--minutes 10' for a piece of it)"
	@echo "make install  set up only;   make clean  remove .venv"

install: $(VENV)/.installed

run: $(VENV)/.installed
	$(VENV)/bin/sdxs-live serve --model embedded --open $(ARGS)

# What only computes runs as two processes of a thread each; what has clocks, sockets or a browser in it runs alone.
TRAINING := tests/test_training_chain.py tests/pipelines/training
test: $(VENV)/.browser
ifeq ($(strip $(ARGS)),)
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target --keep-going test-training test-pipelines
	$(PY) -m pytest --ignore=tests/test_training_chain.py --ignore=tests/pipelines
else
	$(PY) -m pytest $(ARGS)
endif

test-training: $(VENV)/.browser
	@OMP_NUM_THREADS=1 $(PY) -m pytest $(TRAINING)

test-pipelines: $(VENV)/.browser
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests/pipelines --ignore=tests/pipelines/training

check: $(VENV)/.tested
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/.browser
	$(PY) benchmarks/run.py $(ARGS)

embedded: $(VENV)/.trained
	$(PY) -m pipelines.training embedded $(ARGS)

clean:
	rm -rf $(VENV)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "sdxs-live needs Python 3.10 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python can't make a virtual environment; on Debian or Ubuntu: apt install python3-venv"; exit 2; }
	$(PIP) install --quiet --upgrade pip

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(PY)
	@echo "Installing sdxs-live and what it needs into $(VENV) (several GB with CUDA builds; minutes)..."
	$(PIP) install --quiet --editable . --constraint constraints.txt
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install --quiet --editable '.[test,train]' --constraint constraints.txt
	@touch $@

$(VENV)/.trained: $(VENV)/.installed
	$(PIP) install --quiet --editable '.[train,quantise]' --constraint constraints.txt
	@touch $@

$(VENV)/.browser: $(VENV)/.tested
	$(PY) -m tests.browser.install
	@touch $@
