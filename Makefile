# fmnist: `make` lists what can be made. On a fresh machine `make report` and `make test` do everything.
PYTHON ?= python3
BUDGET ?= quick
SEED ?= 0
CONSTRAINTS ?= .ci/constraints.txt
bin := .venv/bin
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help venv data report test quick docs gpu lab clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r target what; do printf 'make %-8s %s\n' "$$target" "$$what"; done

# pip compiles on one core, which takes 28 s; two cores take 20.
.venv/ready: settings.ini setup.py pyproject.toml $(CONSTRAINTS)
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.10 or newer (Debian, Ubuntu: apt-get install python3 python3-venv) or name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$$($(PYTHON) --version) is too old; 3.10 or newer is needed. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. Debian, Ubuntu: apt-get install python3-venv, or python3.12-venv for python3.12" >&2; exit 1; }
	@echo "Making .venv and installing fmnist with its development tools: a few minutes."
	@$(PYTHON) -m venv .venv
	@$(bin)/python -m pip install --quiet --no-compile --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	@$(bin)/python -m compileall -qq -j 0 .venv/lib || : # what is written for other Pythons stays
	@touch $@

venv: .venv/ready ## make .venv with everything installed

data: .venv/ready ## find or fetch Fashion-MNIST
	@$(bin)/fmnist_data --debian

report: data ## train both networks on the data and write report/index.html (BUDGET=quick or full)
	@$(bin)/fmnist_report --check
	@$(bin)/fmnist_run --budget $(BUDGET) --seed $(SEED)
	@$(bin)/fmnist_report --budget $(BUDGET) --seed $(SEED)

# One thread each: two workers with two threads each on two cores would wait for one another.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: .venv/ready ## run every test: the notebooks' cells and tests/
	$(bin)/nbdev_test --n_workers 2 --timing
	$(bin)/python -m pytest -q -n 2 --dist worksteal tests

quick: export OMP_NUM_THREADS = 1
quick: export OPENBLAS_NUM_THREADS = 1
quick: .venv/ready ## check and test what changed since origin/main, in two minutes
	@.ci/quick

docs: .venv/ready ## render the site into _docs/, and README.md
	@$(bin)/python .ci/docs.py

gpu: .venv/ready ## use a GPU that is lent for nine minutes: results go to gpu/
	@PYTHON=$(bin)/python .ci/gpu gpu

lab: .venv/ready ## open the notebooks in JupyterLab
	cd nbs && ../$(bin)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root)

clean: ## remove what was made, except results (runs/) and the downloaded data
	rm -rf .venv _docs _proc report build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
