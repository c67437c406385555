# Every target sets up what it needs and works from any folder: `make -C /path/to/planebase demo`.

MAKEFLAGS += --no-print-directory
# In the shell, since make's own functions take a path with a space in it for two.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)
BIN := .venv/bin
CD := cd "$(ROOT)" &&
ARGS ?=
ifdef DATA_DIR
export PLANEBASE_DATA_DIR := $(DATA_DIR)
endif
ifdef PORT_BASE
export PLANEBASE_PORT_BASE := $(PORT_BASE)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test check check-format check-lint check-types check-imports check-docs bench migration fmt lock docs

help: ## this list
	@echo 'Planebase. The targets:'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' "$(ROOT)/Makefile" | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'
	@echo 'Another place for a stack: PORT_BASE=9200 DATA_DIR=/some/folder. More arguments: ARGS="...".'

setup: ## virtual environment and locked dependencies; quick when nothing is to do (every target calls it)
	@$(CD) for python in $(BIN)/python python3 python3.13 python3.12 python3.11; do \
	  if command -v $$python >/dev/null 2>&1 && $$python -c '' 2>/dev/null; then exec $$python -S -m planebase.setup; fi; \
	done; echo 'There is no python3 on PATH; Planebase needs Python 3.11 or later.' >&2; exit 1

demo: setup ## the main job on real data: uses the running stack, else starts its own and stops it at the end
	@$(CD) exec $(BIN)/planebase demo $(ARGS)

up: setup ## the whole platform; Ctrl-C stops it cleanly (in the background: ARGS=--detach)
	@$(CD) exec $(BIN)/planebase up $(ARGS)

down: setup ## stop the platform; its data stays
	@$(CD) exec $(BIN)/planebase down $(ARGS)

status: setup ## where the platform runs
	@$(CD) exec $(BIN)/planebase status $(ARGS)

test: setup ## all tests, on the real PostgreSQL and the real Temporal (some of them: ARGS=tests/planebase)
	@$(CD) $(BIN)/python -m pytest $(ARGS)

# make runs a target once in a call: `make test check` does not run the tests twice.
check: check-format check-lint check-types check-imports check-docs test ## what CI checks: format, lint, types, imports, generated docs, tests

check-format: setup
	@echo '== format'; $(CD) $(BIN)/ruff format --check .

check-lint: setup
	@echo '== lint'; $(CD) $(BIN)/ruff check .

check-types: setup
	@echo '== types'; $(CD) $(BIN)/mypy

check-imports: setup
	@echo '== imports'; $(CD) $(BIN)/lint-imports

check-docs: setup
	@echo '== generated docs'; $(CD) $(BIN)/python -m planebase.docs --check

bench: setup ## paired benchmarks; ratios are printed
	@$(CD) $(BIN)/python -m bench $(ARGS)

migration: setup ## a new empty migration: make migration DB=control NAME="add a column"
	@$(CD) $(BIN)/python -m planebase.migration '$(DB)' '$(NAME)'

fmt: setup ## format and fix what can be fixed by itself
	@$(CD) $(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: setup ## compile requirements.lock again from pyproject.toml
	@$(CD) $(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --quiet --upgrade -o requirements.lock

docs: setup ## write docs/generated: OpenAPI of the three APIs, an ERD per database
	@$(CD) $(BIN)/python -m planebase.docs
