# Everything a newcomer needs: `make demo`, `make test`. `make help` lists the rest.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Keep Ray on loopback, and let DeepSpeed's compiled operators find the ninja of the venv.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER := 0
export GLOO_SOCKET_IFNAME := lo
export PATH := $(CURDIR)/$(BIN):$(PATH)
DATA ?=
SEED ?=

# Processes that run tests, each on one core. All tests that use the tests' own Ray run in the same process.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest
SHARED_OUT := -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# Prints the URI of the MLflow store. Python builds it, since the folder's name may need encoding, and updates the paths
# in the database of a folder that was moved.
RUNS_STORE := from pipelines.runs import runs_folder; from vlm3.job import run_job; from vlm3.tracking.client import prepare_tracking; from vlm3.tracking.config import TrackingConfig; run_job(lambda: print(prepare_tracking(TrackingConfig(), runs_folder())))

.PHONY: help setup demo test test-long test-properties test-floats check fix bench bench-data dashboard
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(STAMP) ## create .venv and install the pinned packages
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: install Python 3.11 with its venv module, or name one with 'make setup PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@echo "== creating $(VENV) and installing the pinned packages (2-5 minutes)"
	@$(PYTHON) -m venv $(VENV)
	@# torch first and pinned: a plain 'torch' would pull gigabytes of CUDA where a CPU build is at hand.
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: setup ## make data, train, evaluate, register, search, serve one answer (DATA=folder adds real frames, SEED=2 draws anew)
	@$(BIN)/python jobs/demo.py $(if $(DATA),--data $(DATA)) $(if $(SEED),--seed $(SEED))

test: setup ## run the tests, 11 minutes on two cores
	@$(PYTEST) $(SHARED_OUT)

test-long: setup ## run the long tests: processes that are killed, whole submitted jobs
	@$(PYTEST) $(SHARED_OUT) -m long

test-properties: setup ## run the property tests with many examples
	@$(PYTEST) $(SHARED_OUT) -m hypothesis --hypothesis-profile=large

test-floats: setup ## run the tests that compare floats, under each instruction set that torch has kernels for
	@# Ray's workers yield to all other work (niceness 15), and would get next to no time beside a load.
	@export RAY_worker_niceness=0; failed=; for set in default avx2 ""; do \
	  echo "== ATEN_CPU_CAPABILITY=$${set:-(unset)}"; \
	  if [ -n "$$set" ]; then export ATEN_CPU_CAPABILITY=$$set; else unset ATEN_CPU_CAPABILITY; fi; \
	  $(PYTEST) $(SHARED_OUT) -m floats || failed="$$failed $${set:-unset}"; \
	done; [ -z "$$failed" ] || { echo "error: failed with ATEN_CPU_CAPABILITY:$$failed" >&2; exit 1; }

check: setup ## check lint, format and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

fix: setup ## format and apply safe lint fixes
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup ## run every benchmark except those of bench-data; each prints a table
	@for b in bench/bench_*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

bench-data: setup ## compare data loading with bare loops and other loaders, hours (RUNS=1 RUN_SECONDS=5: a quick look)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps mosaicml-streaming==0.13.0
	@for b in decode_unify shares first_batch; do \
	  echo "== $$b"; $(BIN)/python bench/data/bench_$$b.py $(if $(RUNS),--runs $(RUNS)) || exit 1; done
	@for b in stream_bare loaders; do echo "== $$b"; $(BIN)/python bench/data/bench_$$b.py \
	  $(if $(RUNS),--runs $(RUNS)) $(if $(RUN_SECONDS),--seconds $(RUN_SECONDS)) || exit 1; done

dashboard: setup ## show MLflow on http://127.0.0.1:5000 (PORT=5001: another port), also during a run
	@uri=$$($(BIN)/python -c '$(RUNS_STORE)') && MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --host 127.0.0.1 --port $(or $(PORT),5000) --backend-store-uri "$$uri"
