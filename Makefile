# What one does with a clone. Everything lives in .venv; the packages are pinned with their digests in requirements/.
SHELL := bash
PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
READY := .venv/ready
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(READY) ## Make .venv with everything in it

.PHONY: demo
demo: $(READY) ## A generated day through the whole path, on real parts (KEEP=1 stays up)
	KEEP=$(KEEP) $(BIN)/python -m handlers.demo

.PHONY: test
test: $(READY) ## All tests, on real parts they start themselves (JOBS=2 ARGS="-k name")
	$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist worksteal $(ARGS)

.PHONY: check
check: $(READY) ## Format, lint, both type checkers, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_layers.py

.PHONY: proof
proof: $(READY) ## Longer kill matrices and soaks
	$(BIN)/python -m pytest -m proof $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure: NAME=hot_path|end_to_end|clocks OUT=file.json [SIZE=100000]
	$(BIN)/python -m benchmarks.$(or $(NAME),hot_path) $(if $(OUT),--out $(OUT)) $(if $(SIZE),--size $(SIZE))

.PHONY: replay
replay: $(READY) ## A log against an independent fold: LOG=path|tickets=500|calls=500 [DUP=0.05] [WORKERS=3] [KILL=10] [REOPEN=20] [CRASH=1]
	$(BIN)/python -m tests.replay $(LOG) $(if $(DUP),--dup $(DUP)) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(KILL),--kill $(KILL)) $(if $(REOPEN),--reopen $(REOPEN)) $(if $(CRASH),--crash)

.PHONY: simulate
simulate: $(READY) ## The engine in memory under seeds: SEEDS=10000 FROM=0 JOBS=2, or one that failed: SEED=1234
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --trace,--seeds $(or $(SEEDS),1000) --from $(or $(FROM),0) --jobs $(or $(JOBS),2))

.PHONY: chaos
chaos: $(READY) ## Faults while a load runs, judged by oracles: SEED=1 EVENTS=20000 FAULTS=20, or STORM=zombies|commits|rebalances|relays
	$(BIN)/python -m tests.chaos$(if $(STORM),.storms $(STORM)) --seed $(or $(SEED),1) \
		$(if $(EVENTS),--events $(EVENTS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(OUT),--out $(OUT))

.PHONY: jaeger
jaeger: $(READY) ## Build Jaeger into the user's cache, once (Go, 5 minutes)
	$(BIN)/python -m stream.dev.build_jaeger

# No --index-url may get into the files: they serve every index.
.PHONY: requirements
requirements: ## Pin the packages anew, with digests (uv needed)
	$(UV) pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		--extra fast --extra calendars -o requirements/run.txt pyproject.toml
	$(UV) pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		--all-extras --group dev -o requirements/dev.txt pyproject.toml

.PHONY: clean
clean: ## Forget .venv and what tools cached here (not the user's cache)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
