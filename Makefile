# make demo   train and test a Mask R-CNN with a MambaVision backbone on made-up data (CPU, minutes)
# make test   the test suite
# make lint   format, rules of reading and types, checked; `make format` mends what a program can
# make docs   the documentation as a site, in site/ (an environment of its own: .venv-docs)
# The first three make .venv if there is none and install the versions of requirements/tested.txt
# into it.

PYTHON ?= python3
VENV ?= .venv
DOCS_VENV ?= .venv-docs
JOBS ?= 2
DEMO_CONFIG ?= configs/mask_rcnn/mambavision_t_1x_coco.py
DEMO_DIR ?= work_dirs/demo

PY := $(VENV)/bin/python
STAMP := $(VENV)/.mmmamba-installed
DOCS_STAMP := $(DOCS_VENV)/.installed
HEADLESS := $(shell sed -n 's/^\(opencv-python-headless==[^ ;]*\).*/\1/p' requirements/tested.txt)

# Every worker of a parallel run gets one thread: more only fight for the same cores.
test test-slow test-gpu: export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-gpu lint format docs clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(STAMP)

demo: $(STAMP)
	$(PY) tools/train.py $(DEMO_CONFIG) --demo --work-dir $(DEMO_DIR)
	$(PY) tools/test.py $(DEMO_CONFIG) --demo --work-dir $(DEMO_DIR)

test: $(STAMP)
	$(PY) -m pytest -q -m "not slow and not gpu" -n $(JOBS)

test-slow: $(STAMP)
	$(PY) -m pytest -q -m "slow and not gpu"

test-gpu: $(STAMP)
	$(PY) -m pytest -q -m gpu
	MMMAMBA_PARITY_DEVICE=cuda $(PY) -m pytest -q tests/parity

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# mkdocs-material prints an advertisement for its successor unless it is told not to.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

$(DOCS_STAMP): requirements/tested-docs.txt
	@test -x $(DOCS_VENV)/bin/pip || $(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements/tested-docs.txt
	@touch $@

# PIP_CONSTRAINT (PIP_BUILD_CONSTRAINT from pip 25.3 on) holds the versions inside pip's build
# environments too: the onedl packages come as source archives.
# opencv-python and opencv-python-headless write into one folder, and mmcv and imaug ask for one
# each. The headless one goes in last, because the other needs libGL.so.1, which servers lack.
$(STAMP): export PIP_CONSTRAINT := requirements/tested.txt
$(STAMP): export PIP_BUILD_CONSTRAINT := requirements/tested.txt
REQUIREMENTS := $(patsubst %,requirements/%.txt,tested runtime export pretrain timm hub test lint)
$(STAMP): $(REQUIREMENTS) setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "mmmamba needs Python 3.10 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing requirements/tested.txt into $(VENV); the first time this downloads some 3 GB."
	$(PY) -m pip install --disable-pip-version-check -r requirements/tested.txt
	$(PY) -m pip install --quiet --disable-pip-version-check \
	  --force-reinstall --no-deps $(HEADLESS)
	$(PY) -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .
	$(PY) -c "import cv2, mmmamba"
	@touch $@

clean:
	rm -rf $(VENV) $(DOCS_VENV) site build *.egg-info
	rm -rf .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
