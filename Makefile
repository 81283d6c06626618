# `make serve` and `make test` set up .venv from the locked, hashed dependencies first. `make test` also sets up
# an environment with the frameworks that agents may use: the gateway needs none of them, and some need older
# versions of its dependencies. PYTHON picks another interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRAMEWORKS := .venv-frameworks
PIP := python -m pip --disable-pip-version-check --quiet
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade

.DEFAULT_GOAL := help
.PHONY: help serve test ci-full test-agents test-frameworks lint types pytest bench load compare lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

serve: $(VENV)/serve.stamp  ## Serve the demo agent on 127.0.0.1:8080
	@$(BIN)/voicegw serve $(ARGS)

test: lint types pytest test-frameworks  ## Run every check

ci-full: test test-agents  ## Run every check, the slow ones too (real agents; takes an hour)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy --strict voicegw

pytest: $(VENV)/dev.stamp
	$(BIN)/coverage run -m pytest
	pure=$$($(BIN)/python -m tests.layers) && \
	  $(BIN)/coverage report --show-missing --fail-under=100 --include="$$pure"

test-frameworks: $(FRAMEWORKS)/stamp  ## Run agents of Python frameworks
	$(FRAMEWORKS)/bin/python -m pytest tests/agents/python/frameworks tests/docs/test_python_agents.py

test-agents: $(VENV)/dev.stamp  ## Run real agents behind the gateway (the set-up takes minutes, once)
	$(BIN)/python -m tests.real.setup
	$(BIN)/python -m pytest tests/real

bench: $(VENV)/dev.stamp  ## Measure latency against the naive baseline
	$(BIN)/python -m loadtests.bench $(ARGS)

load: $(VENV)/dev.stamp  ## Put two minutes of load on the gateway, and check for leaks
	@$(BIN)/python -m loadtests.load $(ARGS)

compare: $(VENV)/dev.stamp  ## Measure voicegw beside other gateways (set-up, then 15 minutes)
	-$(BIN)/python -m loadtests.servers.peers
	$(BIN)/python -m loadtests.bench --targets direct,nginx,naive,voicegw,litellm,portkey --seconds 3 \
	  --out loadtests/out/compare-$(shell date +%Y%m%d-%H%M%S) $(ARGS)

lock: $(VENV)/dev.stamp  ## Lock the dependencies again, with hashes
	$(BIN)/$(PIP) install uv
	$(BIN)/$(COMPILE) --extra build -o requirements.lock pyproject.toml
	$(BIN)/$(COMPILE) --extra build --extra load --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	printf 'hypothesis\npytest\n' | $(BIN)/$(COMPILE) --extra build --extra langchain --extra langgraph \
	  --extra openai-agents --extra pydantic-ai -o requirements-frameworks.lock pyproject.toml -

$(BIN)/python $(FRAMEWORKS)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voicegw needs Python 3.11 or newer")'
	@echo "setting up $(@:/bin/python=), once; this takes a moment"
	@$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/serve.stamp: $(BIN)/python requirements.lock pyproject.toml
	@$(BIN)/$(PIP) install --require-hashes -r requirements.lock
	@$(BIN)/$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python requirements-dev.lock pyproject.toml
	@$(BIN)/$(PIP) install --require-hashes -r requirements-dev.lock
	@$(BIN)/$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/serve.stamp

# Without a framework its tests are skipped, so a missing one is an error here.
$(FRAMEWORKS)/stamp: $(FRAMEWORKS)/bin/python requirements-frameworks.lock pyproject.toml
	@$(FRAMEWORKS)/bin/$(PIP) install --require-hashes -r requirements-frameworks.lock
	@$(FRAMEWORKS)/bin/$(PIP) install --no-deps --no-build-isolation -e .
	@$(FRAMEWORKS)/bin/python -c 'import agents, langchain_core, langgraph, pydantic_ai'
	@touch $@

clean:  ## Remove everything that was set up or measured
	rm -rf $(VENV) $(FRAMEWORKS) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage loadtests/out .peers
