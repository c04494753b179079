# The verbs of this repository. `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
# Each worker and what it starts computes with one thread: two would wait for one another.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test soak test-cluster check format lint clean

help:  ## List the verbs.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: $(STAMP)  ## Run the whole chain on phantom scans, from raw data to a rollback under a running server.
	@$(BIN)/spineline demo

test: $(STAMP)  ## Run all tests, WORKERS at a time.
	@$(PYTEST)

soak: $(STAMP)  ## Repeat for an hour what the tests do a few times: kills, promotions under load.
	@$(BIN)/python -m pytest -m soak

test-cluster: $(STAMP)  ## Test the cluster that KUBECONFIG names, in half an hour (tests/cluster/README.md).
	@$(BIN)/python -m tests.cluster.configuration
	@$(BIN)/python -m pytest tests/cluster -m cluster

check: $(STAMP)  ## Lint, types, import rules and the fast tests; run it before every commit.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PYTEST) -m "not slow and not soak"

format: $(STAMP)  ## Format the code and mend what ruff can.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## Remove the environment and all local state, trained models included.
	@if [ -x $(BIN)/spineline ]; then $(BIN)/spineline serve --stop; fi
	rm -rf $(VENV) .spineline

$(STAMP): pyproject.toml constraints.txt
	@echo "making the environment in $(VENV)/ (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
		|| { echo "error: $(PYTHON) is not Python 3.11 or 3.12; expected one of them: make PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[local,dev]'
	@touch $@
