# Everything a newcomer needs: `make demo`, `make test`. `make help` lists the rest.
# The first of these that runs and is 3.11 or 3.12 makes the environment.
PYTHON ?= python3.11 python3.12 python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# uv, where it is installed, is several times as fast as pip; `make setup UV=` takes pip all the same.
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet --disable-pip-version-check)
# uv does not read pip's settings: where packages come from is passed on. What stands in a pip.conf is not: `UV=`.
COMMA := ,
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(subst $(SPACE),$(COMMA),$(strip $(PIP_FIND_LINKS)))
endif
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_EXTRA_INDEX_URL
export UV_INDEX ?= $(PIP_EXTRA_INDEX_URL)
endif
# Keep Ray on loopback, and let DeepSpeed's compiled operators find the ninja of the venv.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER := 0
export GLOO_SOCKET_IFNAME := lo
export PATH := $(CURDIR)/$(BIN):$(PATH)
DATA ?=
SEED ?=
EXAMPLES ?= 200
SBOM ?= dist/sbom.cdx.json
# cyclonedx-bom has an environment of its own: it brings rfc3987-syntax, which jsonschema imports where it finds it, and
# with jsonschema each of Ray's processes: 1.4 s of computing in each.
CYCLONEDX := $(VENV)/sbom/bin/cyclonedx-py

# Processes that run tests, each on one core. All tests that use the tests' own Ray run in the same process.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest
SHARED_OUT := -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# Prints the URI of the MLflow store. Python builds it, since the folder's name may need encoding, and updates the paths
# in the database of a folder that was moved.
RUNS_STORE := from pipelines.runs import runs_folder; from vlm3.job import run_job; from vlm3.tracking.client import prepare_tracking; from vlm3.tracking.config import TrackingConfig; run_job(lambda: print(prepare_tracking(TrackingConfig(), runs_folder())))

.PHONY: help setup demo test test-long test-properties test-floats test-infra test-kills check fix lock docs dist sbom stack stack-down stack-status bench bench-data dashboard
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(STAMP) ## create .venv and install the pinned packages, with uv if it is there, else with pip
$(STAMP): pyproject.toml constraints.txt
	@for python in $(PYTHON); do \
	  "$$python" -c 'import sys$(if $(UV),,, ensurepip); sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || continue; \
	  echo "== creating $(VENV) with $$("$$python" --version) and $(if $(UV),uv,pip): downloads torch and 200 packages, 2.7 GB on disk, or 6 GB with CUDA, which PyPI's torch brings along (1-5 minutes)"; \
	  exec $(if $(UV),$(UV) venv --quiet --seed --allow-existing --python "$$python","$$python" -m venv) $(VENV); \
	done; \
	echo "error: none of '$(PYTHON)' is Python 3.11 or 3.12 with its venv module: install one (Debian: apt-get install python3-venv), or name it with 'make setup PYTHON=/path/to/python3.11'" >&2; exit 1
	@# torch first, by its pin: a plain 'torch' would pull gigabytes of CUDA where a CPU build is at hand.
	@$(INSTALL) -c constraints.txt torch
	@$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: setup ## make data, train, evaluate, register, search, serve one answer (DATA=folder adds real frames, SEED=2 draws anew)
	@$(BIN)/python jobs/demo.py $(if $(DATA),--data $(DATA)) $(if $(SEED),--seed $(SEED))

test: setup ## run the tests, ten minutes on two cores
	@$(PYTEST) $(SHARED_OUT)

test-long: setup ## run the long tests: processes that are killed, whole submitted jobs, the servers of infra/
	@$(PYTEST) $(SHARED_OUT) -m long

test-infra: setup ## run those long tests alone that start the servers of infra/: the local stack, an autoscaler, units, the CPU image
	@$(PYTEST) $(SHARED_OUT) -m infra

test-properties: setup ## run the property tests with many examples (EXAMPLES=200 of each)
	@VLM3_EXAMPLES=$(EXAMPLES) $(PYTEST) $(SHARED_OUT) -m hypothesis --hypothesis-profile=large

test-floats: setup ## run the tests that compare floats, under each instruction set that torch has kernels for
	@# Ray's workers yield to all other work (niceness 15), and would get next to no time beside a load.
	@export RAY_worker_niceness=0; failed=; for set in default avx2 ""; do \
	  echo "== ATEN_CPU_CAPABILITY=$${set:-(unset)}"; \
	  if [ -n "$$set" ]; then export ATEN_CPU_CAPABILITY=$$set; else unset ATEN_CPU_CAPABILITY; fi; \
	  $(PYTEST) $(SHARED_OUT) -m floats || failed="$$failed $${set:-unset}"; \
	done; [ -z "$$failed" ] || { echo "error: failed with ATEN_CPU_CAPABILITY:$$failed" >&2; exit 1; }

test-kills: setup ## kill each part of the local stack in turn; make test-long kills two of them
	@VLM3_KILL_ALL=1 $(PYTEST) -n0 -m long tests/infra/test_stack_ends.py

check: setup ## check lint, format and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

fix: setup ## format and apply safe lint fixes
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock: ## write requirements.lock, the pins of constraints.txt with hashes, after a change of dependencies (needs uv and PyPI)
	@env -u UV_FIND_LINKS -u UV_INDEX uv pip compile --quiet --no-config --default-index https://pypi.org/simple --universal --python-version 3.11 --extra server \
	  --constraint constraints.txt --generate-hashes --no-annotate --custom-compile-command 'make lock' \
	  --output-file requirements.lock pyproject.toml

stack: setup ## start PostgreSQL, S3, MLflow, Ray and Prometheus on loopback (infra/local/README.md)
	@$(BIN)/python -m infra.local.stack up

stack-down: setup ## end them; their data stay
	@$(BIN)/python -m infra.local.stack down

stack-status: setup ## show them; exit code 0 only when all are healthy
	@$(BIN)/python -m infra.local.stack status

docs: setup ## build the guide as a site in site/; dead links end it
	@$(BIN)/python -m zensical build --strict --clean
	@echo "open site/index.html; its search needs a server: python -m http.server --bind 127.0.0.1 --directory site 8001"

dist: setup ## build the wheel and the sdist in dist/
	@$(BIN)/python -m build --quiet --outdir dist

$(CYCLONEDX): constraints.txt
	@$(BIN)/python -m venv $(VENV)/sbom
	@$(VENV)/sbom/bin/pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom
	@touch $@

# The tool warns that the lock does not say which package needs which.
sbom: setup $(CYCLONEDX) ## list all dependencies with their hashes in dist/sbom.cdx.json (CycloneDX), validated
	@mkdir -p $(dir $(SBOM))
	@PYTHONWARNINGS=ignore $(CYCLONEDX) requirements --pyproject pyproject.toml --output-reproducible --validate \
	  --output-file $(SBOM) requirements.lock

bench: setup ## run every benchmark except those of bench-data; each prints a table
	@for b in bench/bench_*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

bench-data: setup ## compare data loading with bare loops and other loaders, hours (RUNS=1 RUN_SECONDS=5: a quick look)
	@$(INSTALL) -c constraints.txt -e '.[bench]'
	@$(INSTALL) --no-deps mosaicml-streaming==0.13.0
	@for b in decode_unify shares first_batch; do \
	  echo "== $$b"; $(BIN)/python bench/data/bench_$$b.py $(if $(RUNS),--runs $(RUNS)) || exit 1; done
	@for b in stream_bare loaders; do echo "== $$b"; $(BIN)/python bench/data/bench_$$b.py \
	  $(if $(RUNS),--runs $(RUNS)) $(if $(RUN_SECONDS),--seconds $(RUN_SECONDS)) || exit 1; done

# One worker: more are started by a supervisor that ends those which do not answer within 5 s, as beside a training.
dashboard: setup ## show MLflow on http://127.0.0.1:5000 (PORT=5001: another port), also during a run
	@uri=$$($(BIN)/python -c '$(RUNS_STORE)') || exit $$?; \
	case "$$uri" in http*) echo "the runs are recorded at $$uri: open that"; exit;; esac; \
	export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false; exec $(BIN)/mlflow server --workers 1 --host 127.0.0.1 --port $(or $(PORT),5000) --backend-store-uri "$$uri"
