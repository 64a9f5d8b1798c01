# On a bare machine (Python >= 3.11, make, git) begin with `make demo` or `make test`. Everything lives in .venv.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TRAIN  := $(VENV)/.train
TOOLS  := $(VENV)/.tools
COMMA  := ,

# where it is set, each process that a test starts compiles this package anew
unexport PYTHONDONTWRITEBYTECODE
# tests/conftest.py lets the folders that take longest begin; xdist alone would take the files with most tests first
# a test that hangs where no exception reaches it (in its cleaning up, say) ends its process, which tells where it hung
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	-o faulthandler_timeout=720 -o faulthandler_exit_on_timeout=true --max-worker-restart 2

.DEFAULT_GOAL := help
.PHONY: help setup demo lint check quick test test-long trainers bench up alerts down clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(TOOLS)  ## make .venv with the versions in constraints.txt, and what checks and tests need

# pip says a line or two for each of some hundred packages, and nothing while it installs them; Python compiles what it imports, so pip
# need not compile all of it before the first command can run
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile --progress-bar off --constraint constraints.txt

define install
@{ PYTHONWARNINGS='ignore:Editable installation' $(PIP) --no-build-isolation --editable '$(1)' || echo FAILED; } | { found=0; failed=0; counter=; \
	while read -r line; do case "$$line" in \
	"Collecting "* | "Processing "*) found=$$((found + 1)); [ $$((found % 10)) -gt 0 ] || echo "  $$found packages found …";; \
	"Installing collected"*) echo "  installing them …"; \
		while sleep 3; do echo "  $$(ls -d $(VENV)/lib/python*/site-packages/*.dist-info | wc -l) packages installed …"; done & counter=$$!;; \
	FAILED) failed=1;; \
	esac; done; [ -z "$$counter" ] || kill $$counter; exit $$failed; }
endef

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "convoforge needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (a minute or two) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "  the newest pip, which takes half the time …"
	@$(PIP) --quiet --upgrade pip setuptools
	$(call install,.)
	@touch $@

$(TOOLS): $(READY)
	@echo "adding what checks and tests need …"
	$(call install,.[dev])
	@touch $@

# on Linux, pip takes the CUDA build of torch (several GB) unless PIP_EXTRA_INDEX_URL names PyTorch's own index of CPU builds
$(TRAIN): $(TOOLS)
	@echo "adding what trains (torch, TRL, PEFT) …"
	$(call install,.[dev$(COMMA)train])
	@touch $@

demo: $(READY)  ## build the demo dataset with the simulator: no key, no cost
	@$(BIN)/convoforge build demo --simulate

lint: $(TOOLS)  ## lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: $(TOOLS)  ## lint, and every test that needs no server, starts no command and waits for no clock: before each commit
	@$(MAKE) --no-print-directory --jobs 2 lint quick  # types are checked while the tests wait for the disk

quick: $(TOOLS)
	$(PYTEST) -m 'not long and not server' --hypothesis-profile=check

test: lint  ## everything that checks: lint, and all tests but the long ones
	$(PYTEST)

test-long: $(TRAIN)  ## the long tests alone: crashes, storms, shared rates, many machines, training
	$(BIN)/python -m pytest -m long

trainers:  ## install axolotl, LLaMA-Factory and unsloth: their code loads their snippets in test-long (10 GB)
	@for one in axolotl==0.19.0 llamafactory==0.9.5 unsloth==2026.10.9; do folder=.trainers/$${one%%=*}; echo "installing $$one …"; \
		$(PYTHON) -m venv $$folder && $$folder/bin/python -m pip install --quiet torch==2.13.0 $$one || exit 1; \
		$$folder/bin/python -m pip uninstall --quiet --yes torchvision torchaudio; done  # they fit no CPU build of torch

bench: $(TOOLS)  ## measure speed, CPU, memory and the shared rate (about 20 minutes)
	@$(BIN)/python -m benchmarks

up: $(READY)  ## start a Prefect server and a worker, register the deployments; they stay
	@$(BIN)/python -m deployments.local up

alerts: $(READY)  ## WEBHOOK=…: be told of budgets, runs that end badly or do not end, and schedules that are missed
	@$(BIN)/python -m convoforge.orchestration.alerts deployments/automations.yaml

down: $(READY)  ## stop what `make up` started
	@$(BIN)/python -m deployments.local down

clean:  ## remove .venv, caches and builds; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
