# The whole developer interface. On a fresh machine: make demo, then make test.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# One thread per test process: the two processes of the test run share two cores.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench docs

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Create the virtual environment

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV); the first time this takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo,dev,qlora,vision,audio,tune,track]"
	@touch $(READY)

demo: $(READY) ## Fine-tune the embedded MiniLM on the bundled support messages
	$(BIN)/whet train examples/support.yaml

test: $(READY) lint ## Lint, types, layers, then all tests
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 -m "not slow and not laws"
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 -m "laws and not slow"
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: $(READY) ## Style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY) ## Accuracy and speed beside transformers.Trainer; DATA=folder with sst2/, trec/ and ag_news/
	$(BIN)/python bench/accuracy.py --data "$(DATA)"
	$(BIN)/python bench/speed.py --data "$(DATA)"

docs: $(READY) ## Write the reference pages from the code
	PYTHONPATH=. $(BIN)/python docs/generate.py
