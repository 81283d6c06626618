# Two commands are enough: `make serve` and `make test`. Both set up .venv from the locked, hashed
# dependencies first. PYTHON picks another interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PURE := events,errors,phrases,dialects,ack,speech/*,trace,listener,guard,identity,actions,ledger,checkup,patience,unsaid,wire/*

.DEFAULT_GOAL := help
.PHONY: help serve test test-agents lint types pytest bench lock clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(VENV)/serve.stamp  ## Serve the demo agent on 127.0.0.1:8080
	@$(BIN)/voicegw serve $(ARGS)

test: lint types pytest  ## Run every check

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy --strict voicegw

pytest: $(VENV)/dev.stamp
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --show-missing --fail-under=100 \
	  --include='$(shell echo $(PURE) | sed -E 's#([^,]+)#voicegw/\1.py#g')'

test-agents: $(VENV)/dev.stamp  ## Run real agents behind the gateway (sets them up first, once; takes minutes)
	$(BIN)/python -m tests.real.setup
	$(BIN)/python -m pytest tests/real

bench: $(VENV)/dev.stamp  ## Measure latency against the naive baseline
	$(BIN)/python -m loadtests.bench $(ARGS)

lock: $(VENV)/dev.stamp  ## Lock the dependencies again, with hashes
	$(PIP) install uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --upgrade --extra build -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --upgrade --extra build --extra load --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voicegw needs Python 3.11 or newer")'
	@echo "setting up $(VENV), once; this takes a moment"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/serve.stamp: $(BIN)/python requirements.lock pyproject.toml
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python requirements-dev.lock pyproject.toml
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/serve.stamp

clean:  ## Remove everything that was set up or measured
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage loadtests/results
