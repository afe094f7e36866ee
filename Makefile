# Everything a laptop and CI do. Run `make` for the list.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# What comes from npm: Azurite, and Microsoft's JavaScript SDK for the tests.
NODE_FOLDERS := local tests/sdk

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench faults explore pins

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1	/' | expand -t 10

setup: $(READY)  ## Install everything into .venv and local/node_modules

$(READY): requirements-dev.txt $(NODE_FOLDERS:%=%/package-lock.json)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is missing: install it, or name one: make setup PYTHON=python3.12"; exit 1; }
	@command -v npm >/dev/null || { echo "Node is missing: install Node 20 or newer."; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "The venv module is missing: install python3-venv."; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt \
		|| { echo "The Python packages could not be installed: is this machine online?"; exit 1; }
	@for folder in $(NODE_FOLDERS); do \
		npm ci --prefix $$folder --no-audit --no-fund --loglevel=error \
		|| { echo "The npm packages could not be installed: is this machine online?"; exit 1; }; done
	@touch $(READY)

run: setup  ## Start the local Azure and the app, walk through the quickstart, serve until Ctrl-C
	@$(BIN)/python -m local

test: setup  ## Run all tests
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

check: setup  ## Lint, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup  ## Measure speed and cost beside the bare SDKs
	@$(BIN)/python -m bench

faults: setup  ## See what each fault of ACS costs a caller, and write docs/faults.md
	@$(BIN)/python -m bench faults

explore: setup  ## Explore interleavings and faults at random, for an hour or SECONDS=...
	@$(BIN)/python -m tests.exploration --seconds $(or $(SECONDS),3600)

pins: setup  ## Pin anew what pyproject.toml asks for
	@$(BIN)/uv pip compile --quiet --universal --no-header --python-version 3.11 \
		pyproject.toml --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --no-header --python-version 3.11 --group dev \
		pyproject.toml --output-file requirements-dev.txt
