# Every target makes .venv itself when it is missing. `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help book test test-site test-backends test-oldest test-colab lint full bench clean repository
export KERAS_BACKEND ?= tensorflow
# An exported one is for notebooks. Another for make: make test MIXLIB_PROFILE=quick
export MIXLIB_PROFILE = smoke
export TF_CPP_MIN_LOG_LEVEL ?= 3
USABLE = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(shell for p in python3 python3.12 python3.13 python3.11; do \
	$$p -c "$(USABLE)" 2>/dev/null && echo $$p; done))
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Up to four processes at a time, each with files of its own. Plain `pytest` runs one after the other.
TESTS := -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile
BACKENDS ?= jax torch
# What is about layers, models and training; not the notebooks, the campaign and the project's files.
PACKAGE_TESTS := tests $(patsubst %,--ignore=tests/test_%.py, \
	campaign notebooks environment repository house project)
SITE := _build/html/index.html
SOURCES := _config.yml $(shell find book mixlib notebooks benchmarks -name '.*' -prune -o \
	-type f -not -name '*.pyc' -print)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: .venv/ready  ## build the site into _build/html
	$(BIN)/jupyter-book build . --config _config.yml --toc book/_toc.yml --warningiserror --quiet
	@touch $(SITE)
	@echo "The book: $(CURDIR)/$(SITE)"

$(SITE): $(SOURCES)
	$(MAKE) book

test: .venv/ready  ## run the whole test suite, notebooks included
	$(BIN)/python $(TESTS) --nbval-lax

test-site: .venv/site $(SITE)  ## build the site if it is not up to date, and check every page in Chromium
	$(BIN)/python $(TESTS) --dist=load tests/site

test-backends: .venv/ready  ## run the package's tests on other backends (BACKENDS="jax torch")
	$(INSTALL) -c constraints.txt $(BACKENDS)
	for backend in $(BACKENDS); do \
		KERAS_BACKEND=$$backend $(BIN)/python $(TESTS) $(PACKAGE_TESTS) || exit 1; done

test-oldest: .venv/oldest  ## run the package's tests with the oldest supported versions (not on Python 3.13)
	.venv/oldest/bin/python $(TESTS) $(PACKAGE_TESTS)

test-colab: .venv/ready  ## run every notebook as in Colab: fresh environments, mixlib from its wheel
	$(BIN)/python -m pytest tests/colab.py --durations=0 --durations-min=1

lint: .venv/ready  ## check style and spelling, of the notebooks too
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/codespell

full: .venv/ready  ## run the trainings that are missing (ONLY MODELS EPOCHS SEEDS PROFILE OUT=… for a part)
	$(BIN)/python notebooks/campaign.py $(if $(ONLY),--only $(foreach name,$(ONLY),'$(name)')) $(if $(MODELS),--models $(MODELS)) \
		$(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(PROFILE),--profile $(PROFILE)) $(if $(JOBS),--jobs $(JOBS)) $(if $(OUT),--out "$(OUT)")

bench: .venv/ready  ## measure speed side by side, 40 minutes, into _build/benchmarks (OUT TIMM_PYTHON=…)
	$(INSTALL) -c constraints.txt jax torch onnxscript onnxruntime
	for name in limits training against_timm inference growth; do \
		$(BIN)/python -m benchmarks.$$name $(if $(OUT),--out "$(OUT)") || exit 1; done
	for name in training loop; do \
		KERAS_BACKEND=jax $(BIN)/python -m benchmarks.$$name $(if $(OUT),--out "$(OUT)") || exit 1; done
	$(BIN)/python -m benchmarks.waiting --long $(if $(OUT),--out "$(OUT)")

repository: .venv/ready  ## set the project's public address everywhere: make repository URL=https://…
	$(if $(filter undefined,$(origin URL)),$(error Give URL=https://github.com/owner/name; URL= unsets it))
	$(BIN)/python book/set_repository.py "$(URL)"

clean:  ## remove what was built and installed
	rm -rf .venv _build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: pyproject.toml constraints.txt constraints-book.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed and was not found." \
		"Install one (on Debian, python3-venv too)," \
		"or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) -c constraints.txt -c constraints-book.txt --editable '.[test,lint,book]'
	@touch $@

.venv/site: .venv/ready
	$(INSTALL) -c constraints.txt -c constraints-book.txt --editable '.[site]'
	@touch $@

.venv/oldest: .venv/ready constraints-oldest.txt
	$(BIN)/python -m venv --clear $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints-oldest.txt --editable '.[test]'
	@touch $@
