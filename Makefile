# Two commands matter: `make run` and `make test`. Both set up .venv themselves and are quick the second time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What to run: make run ARGS="provider=lmstudio task=extract"
ARGS ?=
# The server that `make compat` asks; without one, lmroute's emulator in every release that it imitates.
COMPAT = $(if $(ENDPOINT),--endpoint "$(ENDPOINT)") $(if $(ALLOW),--allow "$(ALLOW)") $(if $(TOKEN_ENV),--token-env "$(TOKEN_ENV)")

# A worker for each core, a file to one worker: what its tests share is made once. In the order of the files, so that
# the few long tests do not come last.
WORKERS = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# The tests start some hundred Pythons, each of which would compile lmroute anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-fast compat lint format schemas bench clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: $(VENV)/.installed ## the main job: classify example sentences, by LM Studio if it is there, else by the embedded model
	@$(BIN)/python run.py $(ARGS)

test: $(VENV)/.installed-dev ## every test; with COVERAGE=1 also the lines they cover, in half as much time again
	@echo "== tests"
	@$(BIN)/python -m pytest $(WORKERS) $(if $(COVERAGE),--cov --cov-report=term)

test-fast: $(VENV)/.installed-dev ## the tests that need neither the model nor seconds
	@$(BIN)/python -m pytest $(WORKERS) -m "not slow"

compat: $(VENV)/.installed-dev ## LM Studio's contract against a server: ENDPOINT=http://127.0.0.1:1234 [ALLOW=generate,load] [TOKEN_ENV=LM_API_TOKEN]
	@$(BIN)/python -m pytest tests/compat -q -rN --no-header -m "not slow" $(COMPAT)

lint: $(VENV)/.installed-dev ## ruff and mypy --strict
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/mypy

format: $(VENV)/.installed-dev ## put the code into its format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schemas: $(VENV)/.installed-dev ## schemas/v1/authoring made anew; refused when v1 got stricter than what was promised
	@$(BIN)/python tests/schemas/strictness.py
	@$(BIN)/python -m lmroute.config.authoring

bench: $(VENV)/.installed-dev ## what routing, its decisions and records cost beside their peers, and a check beside an import of Hydra
	@$(BIN)/python benchmarks/overhead.py
	@$(BIN)/python benchmarks/decide.py
	@$(BIN)/python benchmarks/verify.py
	@$(BIN)/python benchmarks/validate.py
	@$(BIN)/python benchmarks/telemetry.py

clean: ## remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* dist

$(VENV)/bin/python:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt --upgrade pip

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/bin/python
	@echo "== installing lmroute with pinned dependencies (about a minute, once)"
	@$(PIP) install --constraint constraints.txt --editable '.[embedded,ui]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "== installing what the tests need"
	@$(PIP) install --constraint constraints.txt --editable '.[dev,sweep]'
	@touch $@
