# The commands for development and CI. Run `make` for the list.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Folders with npm packages: Azurite and the page to try the API; for the tests Microsoft's JavaScript
# SDK, the tools that check the API contract, an analyser for the queries in infra/, and axe for the pages.
NODE_FOLDERS := local tests/sdk tests/contract tests/infra tests/browser
EXAMPLE := examples/web
PAGE := $(EXAMPLE)/dist/index.html
# Runs in its own environment: it would double the number of packages in .venv.
AUDIT := $(BIN)/uv tool run --quiet pip-audit==2.10.1
PIN := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup run test check fuzz openapi docs bench faults soak explore package pins audit

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1	/' | expand -t 10

setup: $(READY) $(PAGE)  ## Install everything into .venv and node_modules, and build the example page

$(READY): requirements-dev.txt cli/pyproject.toml $(NODE_FOLDERS:%=%/package-lock.json)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is missing: install it, or choose one: make setup PYTHON=python3.12"; exit 1; }
	@command -v npm >/dev/null || { echo "Node is missing: install Node 20.19 or newer."; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "The venv module is missing: install python3-venv."; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt \
		&& $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable ./cli \
		|| { echo "The Python packages could not be installed: is this machine online?"; exit 1; }
	@for folder in $(NODE_FOLDERS); do \
		npm ci --prefix $$folder --no-audit --no-fund --loglevel=error \
		|| { echo "The npm packages could not be installed: is this machine online?"; exit 1; }; done
	@touch $(READY)

$(EXAMPLE)/node_modules/.ready: $(EXAMPLE)/package-lock.json | $(READY)
	@npm ci --prefix $(EXAMPLE) --no-audit --no-fund --loglevel=error \
		|| { echo "The npm packages could not be installed: is this machine online?"; exit 1; }
	@touch $@

$(PAGE): $(EXAMPLE)/node_modules/.ready $(wildcard $(EXAMPLE)/*.* $(EXAMPLE)/public/* $(EXAMPLE)/src/*)
	@npm run build --prefix $(EXAMPLE) --silent

run: setup  ## Start the local Azure and the app, run the quickstart, serve until Ctrl-C
	@$(BIN)/python -m local

test: setup  ## Run all tests, or TESTS=...
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(TESTS)

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

bench: setup  ## Compare speed and cost with the bare SDKs
	@$(BIN)/python -m bench speed
	@$(BIN)/python -m bench sweep

faults: setup  ## Measure what callers see of each upstream fault; write docs/faults.md
	@$(BIN)/python -m bench faults

soak: setup  ## Run steady load with changing faults for ten minutes or SECONDS=...
	@$(BIN)/python -m bench soak --seconds $(or $(SECONDS),600) --seed $(or $(SEED),0)

explore: setup  ## Explore random interleavings and faults for an hour or SECONDS=...
	@$(BIN)/python -m tests.exploration --seconds $(or $(SECONDS),3600)

package: setup  ## Build and check dist/*.zip and measure its cold start; PACKAGE_PYTHON=... selects the Python
	@$(BIN)/python -m tools.package --python "$(PACKAGE_PYTHON)"

pins: setup  ## Pin the dependencies in pyproject.toml with hashes; generate docs/licences.md
	@$(PIN) pyproject.toml --output-file requirements.txt
	@$(PIN) --group dev pyproject.toml cli/pyproject.toml --output-file requirements-dev.txt
	@$(BIN)/python -m tools.package.licences

audit: setup  ## Check the dependencies for known vulnerabilities
	@failed=0; \
	$(AUDIT) --strict --disable-pip --require-hashes --requirement requirements-dev.txt || failed=1; \
	for folder in $(NODE_FOLDERS) $(EXAMPLE); do \
		echo "npm audit: $$folder"; npm audit --prefix $$folder || failed=1; done; \
	exit $$failed
