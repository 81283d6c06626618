# `make serve` and `make test` set up .venv from the locked, hashed dependencies first. `make test` also sets up
# an environment with the frameworks that agents and clients may use: the gateway needs none of them, and some need
# older versions of its dependencies. PYTHON picks another interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRAMEWORKS := .venv-frameworks
AUDIT := .venv-audit
LOCKS := requirements.lock requirements-dev.lock requirements-frameworks.lock
IMAGE := build/image
AI_SDK := tests/clients/ai_sdk
PIP := python -m pip --disable-pip-version-check --quiet
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade

.DEFAULT_GOAL := help
.PHONY: help serve test ci-full test-agents test-frameworks test-clients lint types pytest bench load chaos budget compare audit sbom base-digest lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

serve: $(VENV)/serve.stamp  ## Serve the demo agent on 127.0.0.1:8080
	@$(BIN)/voicegw serve $(ARGS)

test: lint types pytest budget test-frameworks test-clients audit  ## Run every check

ci-full: test test-agents sbom chaos  ## Run every check, the slow ones too (real agents; takes an hour)

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

test-clients: $(FRAMEWORKS)/stamp $(AI_SDK)/node_modules/stamp  ## Run SDKs and frameworks as clients
	$(FRAMEWORKS)/bin/python -m pytest tests/clients

test-agents: $(VENV)/dev.stamp  ## Run real agents behind the gateway (the set-up takes minutes, once)
	$(BIN)/python -m tests.real.setup
	$(BIN)/python -m pytest tests/real

bench: $(VENV)/dev.stamp  ## Measure latency against the naive baseline
	$(BIN)/python -m loadtests.bench $(ARGS)

load: $(VENV)/dev.stamp  ## Put two minutes of load on the gateway, and check for leaks
	@$(BIN)/python -m loadtests.load $(ARGS)

chaos: $(VENV)/dev.stamp  ## Break things around the gateway, and count what callers notice (5 minutes)
	@$(BIN)/python -m loadtests.chaos $(ARGS)

budget: $(VENV)/dev.stamp  ## Compare the instructions of a turn with their budget (needs valgrind)
	@$(BIN)/python -m loadtests.micro.instructions $(ARGS)

compare: $(VENV)/dev.stamp  ## Measure voicegw beside other gateways (set-up, then 15 minutes)
	-$(BIN)/python -m loadtests.servers.peers
	$(BIN)/python -m loadtests.bench --targets direct,nginx,naive,voicegw,litellm,portkey --seconds 3 \
	  --out loadtests/out/compare-$(shell date +%Y%m%d-%H%M%S) $(ARGS)

audit: $(VENV)/dev.stamp $(FRAMEWORKS)/stamp $(AUDIT)/stamp  ## Check vulnerabilities and licences of the locked packages
	$(AUDIT)/bin/hadolint Dockerfile
	$(BIN)/python -m tests.supply.vulnerabilities $(AUDIT)/bin/pip-audit $(LOCKS)
	$(BIN)/python tests/supply/licences.py
	$(FRAMEWORKS)/bin/python tests/supply/licences.py

# The environment is that of the image: the locked wheels, without the build tools.
sbom: $(VENV)/serve.stamp $(AUDIT)/stamp  ## Write the image's bill of materials to dist/voicegw.cdx.json
	@rm -rf $(IMAGE) && mkdir -p dist
	@$(BIN)/$(PIP) download --require-hashes --only-binary :all: --dest $(IMAGE)/wheels -r requirements.lock
	@$(BIN)/$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(IMAGE)/wheels .
	@$(PYTHON) -m venv --without-pip $(IMAGE)/venv
	@$(BIN)/$(PIP) --python $(IMAGE)/venv install --no-index --find-links $(IMAGE)/wheels voicegw
	@$(AUDIT)/bin/cyclonedx-py environment $(IMAGE)/venv/bin/python --of JSON -o dist/voicegw.cdx.json

base-digest:  ## Pin the image's base by its digest now (needs docker and its registry)
	@command -v docker >/dev/null || { echo "base-digest needs docker buildx and a registry; no docker is installed"; exit 1; }
	@image=$$(sed -n 's/^FROM \([^ @]*\).*/\1/p' Dockerfile | sort -u) && \
	  digest=$$(docker buildx imagetools inspect "$$image" --format '{{.Manifest.Digest}}') && \
	  sed -i "s|^FROM $$image[^ ]*|FROM $$image@$$digest|" Dockerfile && grep ^FROM Dockerfile

lock: $(VENV)/dev.stamp  ## Lock the dependencies again, with hashes
	$(BIN)/$(PIP) install uv
	$(BIN)/$(COMPILE) --extra build -o requirements.lock pyproject.toml
	$(BIN)/$(COMPILE) --extra build --extra load --extra spell --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	printf 'hypothesis\nlangchain-openai\npytest\n' | $(BIN)/$(COMPILE) --extra build --extra langchain --extra langgraph \
	  --extra openai-agents --extra pydantic-ai -o requirements-frameworks.lock pyproject.toml -
	printf 'cyclonedx-bom\nhadolint-bin\npip-audit\n' | $(BIN)/$(COMPILE) -c requirements-dev.lock \
	  -o requirements-audit.lock -
	cd $(AI_SDK) && npm update --package-lock-only --no-audit --no-fund

$(BIN)/python $(FRAMEWORKS)/bin/python $(AUDIT)/bin/python:
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
	@$(FRAMEWORKS)/bin/python -c 'import agents, langchain_core, langchain_openai, langgraph, pydantic_ai'
	@touch $@

$(AUDIT)/stamp: $(AUDIT)/bin/python requirements-audit.lock
	@$(AUDIT)/bin/$(PIP) install --require-hashes -r requirements-audit.lock
	@touch $@

# npm comes with Node.js, which the gateway does not need.
$(AI_SDK)/node_modules/stamp: $(AI_SDK)/package-lock.json
	@if command -v npm >/dev/null; then cd $(AI_SDK) && npm ci --no-audit --no-fund && touch node_modules/stamp; \
	  else echo "npm is not installed: the tests with the AI SDK are skipped"; fi

clean:  ## Remove everything that was set up or measured
	rm -rf $(VENV) $(FRAMEWORKS) $(AUDIT) $(AI_SDK)/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage loadtests/out .peers
