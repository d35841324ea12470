# The two commands a newcomer needs: make demo, make test. Each does all its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The tests that touch a database.
STORED := tests/gateway tests/journeys $(addprefix tests/audit/test_,check.py faults.py log.py package.py)

.PHONY: help demo serve test mutants test-long check bench bench-full setup clean
help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(READY) ## the virtual environment with the locked dependencies

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@# --no-deps: the lock is whole, and an old pip would look for newer releases of what has extras
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $@

demo: $(READY) ## run the main job start to end and exit
	$(BIN)/hgr demo

serve: $(READY) ## keep a filled demo bank running; prints addresses, keys and logins
	$(BIN)/hgr demo --serve

check: $(READY) ## everything but tests: format, lint, types, floors, packs, contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py
	$(BIN)/hgr packs check
	$(BIN)/hgr packs readme --check
	$(BIN)/hgr packs coverage --check
	$(BIN)/python -m openapi.check

test: $(READY) ## all tests, with the coverage floors; those that touch a database on PostgreSQL too
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term -m "not long"
	$(BIN)/python -m coverage report --include='policies/*,audit/*' --fail-under=100 --skip-covered
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not long" --on postgresql $(STORED)

mutants: $(READY) ## rules changed in one place that no case notices, by name
	$(BIN)/python -m tests.oracle.test_mutation

test-long: $(READY) ## the long campaigns
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m pytest -m long --on postgresql $(STORED)

bench: $(READY) ## what things cost, beside baselines of the same run: a table, bench/results/ (some minutes)
	$(BIN)/python -m bench

bench-full: $(READY) ## the same at full sizes (half an hour)
	$(BIN)/python -m bench --full

clean: ## remove what make has made
	rm -rf $(VENV) bench/$(VENV) .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
