# Every target sets itself up: a virtual environment of its own, filled once (the stamp files say so).
# Windows: run the commands of a target by hand inside a virtual environment, or use WSL.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
PACKAGE := $(VENV)/.package-installed
DEVELOPMENT := $(VENV)/.development-installed
DOCUMENTATION := $(VENV)/.documentation-installed
PEERS := .venv-peers/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10 -rs
HAS_MEDIAPIPE := import sys; sys.exit(sys.version_info >= (3, 13))

.PHONY: help setup demo test lint format test-slow docs claims tables peers clean

help:
	@echo "make demo              a synthetic four-camera recording becomes 3D, with a report to look at"
	@echo "make test              lint, types and the plain tests (minutes)"
	@echo "make test-slow         the rest: bare wheel, fresh clone, benchmarks' smoke runs, documentation;"
	@echo "                       FUZZ=1000000: so many damaged files for the readers"
	@echo "make docs              the documentation, as docs/_build/html/index.html"
	@echo "make claims [ID=1.3]   measure what the project promises: PASS, MISS or NOT RUN"
	@echo "make tables            render the README's tables from the measured JSON"
	@echo "make peers             the environment of the programs that benchmarks compare with"

setup: $(DEVELOPMENT)

$(PACKAGE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --editable .
	@touch $@

$(DEVELOPMENT): $(PACKAGE)
	@if $(BIN)/python -c "$(HAS_MEDIAPIPE)"; then \
		$(PIP) --group test --group lint --editable ".[onnx,mediapipe,train,datasets]" && \
		{ $(PIP) --no-deps mediapipe || echo "no mediapipe wheel for this machine: its tests are skipped"; } \
	else \
		$(PIP) --group test --group lint --editable ".[onnx,train,datasets]"; \
	fi
	@touch $@

$(DOCUMENTATION): $(DEVELOPMENT)
	$(PIP) --group docs
	@touch $@

$(PEERS): benchmarks/peers/requirements.txt constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet -c constraints.txt --upgrade "pip>=25.1"
	.venv-peers/bin/python -m pip install --quiet -c constraints.txt -r benchmarks/peers/requirements.txt
	@touch $@

demo: $(PACKAGE)
	$(BIN)/marey demo --out demo

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEVELOPMENT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(PYTEST) -n 2 $(PICKED)

test-slow: $(DOCUMENTATION)
	$(if $(FUZZ),MAREY_FUZZ_INPUTS=$(FUZZ)) $(PYTEST) -m slow -n 2 --dist loadfile $(PICKED)

docs: $(DOCUMENTATION)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

claims: $(DEVELOPMENT)
	$(BIN)/python benchmarks/claims.py $(if $(ID),--id $(ID))

tables: $(DEVELOPMENT)
	$(BIN)/python benchmarks/render_tables.py

peers: $(PEERS)

clean:
	rm -rf $(VENV) .venv-peers build dist demo docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
