PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: demo test check docs clean

# One thread: more gain little on so small a network and wait for each other on a busy machine. Timing uses all cores.
demo: $(READY)  ## quantize the packaged network, time it, write pictures into demo/
	OMP_NUM_THREADS=1 $(BIN)/srquant demo -o demo --overwrite

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

docs: $(READY)  ## the documentation as a site in build/site
	$(BIN)/python docs_site/prepare.py build
	$(BIN)/mkdocs build --strict -f build/mkdocs.yml

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# CPU torch first: from the configured package index if that has it, else from PyTorch's own.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "srquant needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Use: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-deps -c constraints.txt torch 2> $(VENV)/torch.log || \
	  $(BIN)/pip install -q --no-deps -c constraints.txt --index-url $(CPU_WHEELS) torch || \
	  { cat $(VENV)/torch.log; exit 1; }
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@
