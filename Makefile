# The commands for development and CI. Run `make` for the list.

PYTHON ?= python3
BIN := .venv/bin
# One more than there are processors: many tests wait for other processes.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# The folders with npm packages.
NODE_FOLDERS := local bench/node tests/sdk tests/contract tests/infra tests/browser examples/web
# Installs what is missing, after a check of this machine: tools/setup/.
INSTALL := $(PYTHON) -m tools.setup
# Runs in its own environment: it would double the number of packages in .venv.
AUDIT := $(BIN)/uv tool run --quiet pip-audit==2.10.1
PIN := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help python setup runnable run programs test check fuzz openapi docs bench faults soak explore package pins audit

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1	/' | expand -t 10

python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) tools/check_python.py

setup: python  ## Install everything into .venv and node_modules, and build the example page
	@$(INSTALL) all

runnable: python  ## Install only what `make run` needs
	@$(INSTALL) run $(ARGS)

run: runnable  ## Start the local Azure and the app, run the quickstart, serve until Ctrl-C; ARGS="--app-port 0" passes options
	@$(BIN)/python -m local $(ARGS)

programs: setup  ## Install the browser, curl and jq for the tests, if they are missing
	@$(BIN)/python -m tools.setup.programs

test: programs  ## Run all tests, or TESTS=...
	@$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal $(TESTS)

check: setup  ## Check lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

fuzz: setup  ## Send the app thousands of random requests, different ones each time
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-500} $(BIN)/python -m pytest tests/contract/test_fuzz.py

openapi: setup  ## Generate openapi.json from the code
	@$(BIN)/python -m tools.openapi

docs: setup  ## Generate the tables in docs/ from the code
	@$(BIN)/python -m tools.docs

bench: setup  ## Compare speed with an earlier commit and two quickstarts; measure a sweep
	@$(BIN)/python -m bench speed
	@$(BIN)/python -m bench sweep

faults: setup  ## Measure what callers see of each upstream fault; write docs/faults.md
	@$(BIN)/python -m bench faults

soak: setup  ## Run steady load with changing faults for ten minutes or SECONDS=...
	@$(BIN)/python -m bench soak --seconds $(or $(SECONDS),600) --seed $(or $(SEED),0)

explore: setup  ## Explore random interleavings and faults for an hour or SECONDS=...
	@$(BIN)/python -m tests.exploration --seconds $(or $(SECONDS),3600)

package: setup  ## Build and check dist/*.zip for Python 3.13 and 3.11, or PACKAGE_PYTHON=...; measure cold starts
	@$(BIN)/python -m tools.package --python "$(PACKAGE_PYTHON)"

pins: setup  ## Pin the dependencies in pyproject.toml with hashes; generate docs/licences.md
	@$(PIN) pyproject.toml --output-file requirements.txt
	@$(PIN) --group dev pyproject.toml cli/pyproject.toml --output-file requirements-dev.txt
	@$(PIN) --group telemetry --constraint requirements-dev.txt --output-file requirements-telemetry.txt
	@$(PIN) --group run pyproject.toml cli/pyproject.toml --constraint requirements-dev.txt --output-file requirements-run.txt
	@$(BIN)/python -m tools.package.licences

audit: setup  ## Check the dependencies for known vulnerabilities
	@failed=0; \
	$(AUDIT) --strict --disable-pip --require-hashes --requirement requirements-dev.txt || failed=1; \
	for folder in $(NODE_FOLDERS); do \
		echo "npm audit: $$folder"; npm audit --prefix $$folder || failed=1; done; \
	exit $$failed
