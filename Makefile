# Everything a person or CI does with this work tree; `make` alone lists it. Needs only a POSIX shell, make and Python >= 3.11.
# pip and go fetch from wherever their own configuration says: no address of any index stands in this repository.

.DEFAULT_GOAL := help
PYTHON = $$(tools/find-python)
BIN := .venv/bin
ARGS ?=
KILLS ?= 12
SEED ?= 1
COUNT ?= 1000

.PHONY: help setup setup-run setup-cluster cluster cluster-down demo check test test-cluster nightly conformance faults lint format bench docs lock clean

help:
	@echo "make demo     show the main job end to end (ARGS=--keep leaves it running)"
	@echo "make check    lint, types, unit, contracts, invariants and one end-to-end test"
	@echo "make test     every test; builds the tools they need in the background, a Kubernetes among them"
	@echo "make faults   death at every step, cut lines, full disks (KILLS=200 SEED=7 for a long random part)"
	@echo "make conformance  the MCP project's conformance suite against the front door; prints the score"
	@echo "make bench    measure, write build/bench.json, and fail on a missed ratio (ARGS=--soak)"
	@echo "make cluster  a single-node Kubernetes on this machine, as root (make cluster-down ends it); make test-cluster runs its tests"
	@echo "make nightly  a thousand attempts on nodes that only pretend: nothing is left (COUNT=50 for fewer), as root"
	@echo "make setup    only make .venv, with everything the tests need"
	@echo "make lint     formatter, linter, types, layers     make format  let the formatter write"
	@echo "make docs     generate docs/reference              make lock    recompile requirements/*.txt (ARGS=--upgrade)"
	@echo "make clean    remove .venv, caches and build/"

setup:
	@python=$(PYTHON) && "$$python" tools/setup dev

setup-run:
	@python=$(PYTHON) && "$$python" tools/setup run

setup-cluster: setup
	@$(BIN)/python tools/setup cluster

# The programs are built once per machine: about ten minutes on two quiet cores.
cluster: setup-cluster
	@$(BIN)/python -m tests.cluster up

cluster-down: setup-cluster
	@$(BIN)/python -m tests.cluster down

demo: setup-run
	@$(BIN)/lockgate demo $(ARGS)

check: setup
	@$(BIN)/python tools/suite check

test: setup-cluster
	@$(BIN)/python tools/suite test

test-cluster: setup-cluster
	@$(BIN)/python tools/suite cluster

# On a cluster of its own beside any other, which it ends.
nightly: setup-cluster
	@$(BIN)/python -m tests.cluster.nightly $(COUNT)

faults: setup
	@LOCKGATE_FAULTS_KILLS=$(KILLS) LOCKGATE_FAULTS_SEED=$(SEED) $(BIN)/python -m pytest -q tests/faults $(ARGS)

conformance: setup
	@$(BIN)/python -m tests.conformance

lint: setup
	@$(BIN)/python tools/suite lint

format: setup
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: setup-cluster
	@mkdir -p build && $(BIN)/python -m tests.bench $(ARGS)

# With CI set the pages must already be what the sources say.
docs: setup
	@rm -rf build/reference && mkdir -p build docs/reference && cp -R docs/reference build/reference
	@$(BIN)/python -m lockgate.cli.reference
	@if [ -n "$(CI)" ] && ! diff -r build/reference docs/reference; then \
	    echo "docs/reference was out of date: run make docs and commit what it writes" >&2; exit 1; \
	fi

lock:
	@python=$(PYTHON) && "$$python" tools/lock $(ARGS)

clean:
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
