# What people do with this project. `make` alone lists it.

PYTHON ?= python3
PORT ?= 8000
PROCESSES ?= 3
SEED ?=
MINUTES ?= 5
ARGS ?=

BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
STAMP := .venv/installed.txt
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --quiet \
	--no-emit-index-url --no-emit-find-links --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-long chaos bench soak check reference fuzz screenshots lock clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=$(PYTHON) (for setup), PORT=$(PORT) (for demo and run), PROCESSES=$(PROCESSES) (for test and test-long),"
	@echo "           SEED=… MINUTES=$(MINUTES) (for chaos and soak), ARGS=… (for demo, tests, chaos, bench, soak and lock)"

setup: $(STAMP) ## Build .venv from the pinned requirements, if they changed

# The stamp is a copy of what is installed, so that a mere new date installs nothing.
$(STAMP): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; PYTHON=$(PYTHON) is not." >&2; \
		echo "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@cmp -s $< $@ || { \
		echo "Building .venv with $$($(PYTHON) --version) …" && \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<; }
	@cp $< $@

demo: setup ## Make two sample communities, moderate them by directives, show what happened
	@$(MANAGE) demo --port "$(PORT)" $(ARGS)

run: setup ## Start the web server and a cluster; Ctrl-C stops both
	@$(MANAGE) serve --port "$(PORT)"

test: setup ## Run the tests, except the long ones (ARGS="-k word" runs some)
	@$(PYTEST) -m "not long" $(ARGS)

test-long: setup ## Run the long tests: fresh checkouts, backups, the demo, short chaos and benchmark runs
	@$(PYTEST) -m long $(ARGS)

chaos: setup ## Kill, stop and cut everything for MINUTES, then check every directive
	@$(BIN)/python -m tests.chaos.harness --minutes "$(MINUTES)" $(if $(SEED),--seed "$(SEED)") $(ARGS)

bench: setup ## Measure against pgbench and plain django-q2 (ARGS="--only wave --rounds 1", "--help")
	@$(BIN)/python -m tests.bench $(ARGS)

soak: setup ## Hold a mixed load for MINUTES and see whether anything drifts
	@$(BIN)/python -m tests.bench.soak --minutes "$(MINUTES)" $(ARGS)

check: setup ## Check formatting, style, types, imports, migrations, documents, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MANAGE) makemigrations --check --dry-run
	$(BIN)/python -m tests.docs.links
	$(BIN)/python -m tests.docs.reference --check
	@$(BIN)/python -m tests.audit

reference: setup ## Write the pages of docs/reference that follow from the code
	@$(BIN)/python -m tests.docs.reference

fuzz: setup ## Try hostile input for long, each time another one
	@HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --timeout 3600 tests/hostile $(ARGS)

screenshots: setup ## Take the pictures of the admin in docs/screenshots; needs Chromium
	@$(BIN)/python -m tests.screenshots

lock: setup ## Compile the requirements anew (ARGS=--upgrade takes the newest)
	$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	$(LOCK) $(ARGS) --output-file requirements/base.txt
	$(LOCK) $(ARGS) --extra dev --output-file requirements/dev.txt

clean: ## Stop the embedded PostgreSQL; remove its data and .venv
	@if test -x $(BIN)/python; then DATABASE_URL= DEBUG=1 $(MANAGE) embedded stop; \
	elif test -e var/postgres/postmaster.pid; then \
		echo "The embedded PostgreSQL may be running, and .venv is needed to stop it: make setup" >&2; exit 1; fi
	rm -rf var .venv
