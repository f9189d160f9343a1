# The one command file. `make demo` and `make test` set everything up by themselves in a private virtual environment;
# PYTHON=... names the interpreter to use for it, VENV=... another place for it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test soak newcomer fuzz check lint format types arch docs verify prove-the-proof bench bench-guard bench-baseline diagrams build wheel-test setup clean distclean

PYTHON ?=
VENV ?= .venv
TESTS ?= tests
SECONDS ?= 60
JOBS ?= 1
BIN := $(VENV)/bin
# one process more than there are cores: some tests wait for others' clocks
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 4)))
PARALLEL ?= -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready-%: pyproject.toml tools/setup.sh
	PYTHON="$(PYTHON)" tools/setup.sh $(VENV) $(subst run,,$*)
	@touch $@

setup: $(VENV)/.ready-dev  ## everything that a developer needs

demo: $(VENV)/.ready-run  ## a simulated node, a sync through all five phases, the chart and what was found
	$(BIN)/phasegate demo

test: export PYTHONDONTWRITEBYTECODE :=  # modules that three processes and many children compile anew cost minutes
test: $(VENV)/.ready-test  ## the test suite
	$(BIN)/pytest -m "not soak" $(PARALLEL) $(TESTS)

soak: $(VENV)/.ready-test  ## the long runs that `make test` leaves out
	$(BIN)/pytest -m soak --timeout 3600 $(TESTS)

newcomer:  ## what the README prints, from an empty folder to a found payment, with a stop watch
	$(or $(PYTHON),python3) tools/newcomers-path.py

fuzz: $(VENV)/.ready-fuzz  ## SECONDS of fuzzing, shared by every decoder and the whole connection
	$(BIN)/python -m phasegate.verification.fuzzing --seconds $(SECONDS) --jobs $(JOBS)

check: lint types arch  ## all that is checked without running the code

lint: $(VENV)/.ready-dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready-dev  ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.ready-dev  ## mypy, strict
	$(BIN)/mypy

arch: $(VENV)/.ready-dev  ## import-linter: imports only point down
	$(BIN)/lint-imports

docs: $(VENV)/.ready-docs  ## the documentation, into build/docs; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

verify: $(VENV)/.ready-run  ## charts, their mutants, the engine and whole clients: prove them
	$(BIN)/phasegate verify

prove-the-proof: $(VENV)/.ready-run  ## bugs planted one at a time: each must make `phasegate verify` fail
	$(BIN)/python tools/prove-the-proof.py --jobs $(JOBS)

bench bench-guard bench-baseline: export PYTHONDONTWRITEBYTECODE :=  # else each client compiles its modules anew
bench: $(VENV)/.ready-run  ## what each part of a sync costs, in multiples of its physical floor (BENCH="--quick": a minute)
	$(BIN)/phasegate bench $(BENCH)

GUARDED := headers-validate,headers2,filter-headers,match,masternode-list,chainlock,rotation,full
bench-guard: $(VENV)/.ready-run  ## ratios of processor time on short chains, against the last committed ones
	$(BIN)/phasegate bench --quick --only $(GUARDED) --against docs/bench-baseline.json

bench-baseline: $(VENV)/.ready-run  ## write down what bench-guard compares with
	$(BIN)/phasegate bench --quick --only $(GUARDED) --record docs/bench-baseline.json

diagrams: $(VENV)/.ready-run  ## draw docs/charts again (needs graphviz)
	for chart in sync interleaved peer; do for form in mermaid:mmd md:md svg:svg; do \
	  $(BIN)/phasegate diagram --chart $$chart --format $${form%:*} -o docs/charts/$$chart.$${form#*:} || exit 1; \
	done; done

build: $(VENV)/.ready-dev  ## dist/: the sdist, and the wheel made from it
	rm -rf dist
	$(BIN)/python -m build

wheel-test: build  ## the wheel against the tree, and the test suite (or TESTS=...) against the wheel
	tools/wheel-test.sh $(BIN)/python dist $(TESTS)

clean:  ## what was built or cached
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## that, and the virtual environment
	rm -rf $(VENV)
