# The two commands: `make up` starts the venue, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= ./data
# A path, and not a finder: each process of a venue starts 25 ms sooner.
EDITABLE := --config-settings editable_mode=compat -e

.DEFAULT_GOAL := help
.PHONY: help install up down test test-compose check audit sbom acceptance simulate zoo soak fuzz bench clean
SEEDS ?= 1000
FAILOVERS ?= 200
FRAMES ?= 1000000

help:
	@echo "make up          install what is needed and start the venue in the foreground (Ctrl-C stops it)"
	@echo "make down        stop a venue that runs in the background"
	@echo "make test        install what is needed and pass every test and check"
	@echo "make test-compose  build the image, bring compose.yaml up, and hurt it in every way (needs Docker)"
	@echo "make audit       whether a dependency is known to be vulnerable, where the data can be had"
	@echo "make sbom        build/sbom.cdx.json: what is deployed, with hashes and licences (CycloneDX)"
	@echo "make acceptance  the whole real flow against the naive model, and to readers in a browser (some minutes)"
	@echo "make simulate    whole groups on a virtual clock, network and disk: SEEDS=n, START=n"
	@echo "make zoo         what catches each of the known bugs, and in how many seeds"
	@echo "make soak        real nodes under kill -9 until FAILOVERS=n"
	@echo "make fuzz        hostile frames at every door of a real venue: FRAMES=n"
	@echo "make bench       measure; the figures of the README come from here"
	@echo "make install     only prepare .venv"

install: .venv/.installed

# uv takes a third of pip's time. Where it does not get through (an index of pip.conf's, a platform of its own), pip does.
.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "preparing .venv"
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || \
		{ rm -rf .venv && $(PYTHON) -m venv --without-pip .venv && \
		  $(PYTHON) -m pip --version >/dev/null 2>&1; } || \
		{ echo "this Python has neither venv with ensurepip nor pip: install python3-venv" >&2; exit 1; }
	@pip="$(BIN)/python -m pip"; $$pip --version >/dev/null 2>&1 || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
		{ $$pip install -q --disable-pip-version-check uv && \
		  $(BIN)/uv pip install -q --native-tls --compile-bytecode --python $(BIN)/python $(EDITABLE) '.[dev]'; } || \
		{ echo "uv did not get through: pip installs" >&2; \
		  $$pip install -q --disable-pip-version-check $(EDITABLE) '.[dev]'; }
	@touch $@

up: install
	@$(BIN)/sequencer flow fetch || true
	@$(BIN)/sequencer up --data $(DATA) --flow

down: install
	@$(BIN)/sequencer down --data $(DATA)

# On all processors. Whole venues go by file: tests of one file may share a venue. Containers come last, and are skipped
# where there is no Docker engine.
PROCESSES := tests/integration tests/faults
CONTAINERS := tests/compose
test: check
	@$(BIN)/python -m pytest -n auto $(PROCESSES:%=--ignore=%) $(CONTAINERS:%=--ignore=%)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PROCESSES)
	@$(BIN)/python -m pytest $(CONTAINERS)

# Needs a Docker engine with compose. Builds the image, and sets fire to the venue of compose.yaml.
test-compose: install
	@ISLAND_COMPOSE=all $(BIN)/python -m pytest $(CONTAINERS)

acceptance: install
	@ISLAND_FLOW_LINES=314173 $(BIN)/python -m pytest tests/integration/test_real_flow.py
	@ISLAND_FLOW_LINES=314173 $(BIN)/python -m pytest tests/integration/test_web_flow.py
	@ISLAND_THOROUGH=1 $(BIN)/python -m pytest -n auto tests/zoo
	@ISLAND_THOROUGH=1 $(BIN)/python -m pytest tests/integration/test_operations.py tests/integration/test_reshard.py tests/sequencer/journal/test_journal_salvage.py tests/engines/test_sharding.py

simulate: install
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --start $(or $(START),0)

zoo: install
	@$(BIN)/python -m tests.zoo

soak: install
	@$(BIN)/python -m tests.faults.soak --failovers $(FAILOVERS)

fuzz: install
	@$(BIN)/python -m tests.faults.fuzz --frames $(FRAMES)

check: install
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >.importlinter.log 2>&1 || { cat .importlinter.log; exit 1; }
	@rm -f .importlinter.log
	@$(BIN)/sequencer lint engines/matching >/dev/null
	@$(BIN)/sequencer lint engines/credit >/dev/null

# Bounded in time; what could not be asked is one line, and no failure.
audit: install
	@$(BIN)/python deploy/audit.py

# A part of each release. Installs what is locked, by hash, into a venv that is thrown away.
sbom: install
	@$(BIN)/python deploy/sbom.py build/sbom.cdx.json

bench: install
	@$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
