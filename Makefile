# make demo, make test: each sets up what it needs in .venv first, once. Needs Python >= 3.11 and a network.

PYTHON ?=
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/stamp

.PHONY: demo test check bench format clean

demo: $(STAMP)-engine  ## the code graph over the standard library, edited while you look
	@$(RUN) examples/demo.py

test: $(STAMP)-test  ## every test
	$(RUN) -m pytest -n auto

check: $(STAMP)-test $(STAMP)-check  ## lint, format, types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pyright --pythonpath $(RUN)

bench: $(STAMP)-test  ## the figures of docs/benchmarks.md
	$(RUN) -m benchmarks

format: $(STAMP)-check
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) build dist demo-work .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUN):
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "setting up $(VENV) with $$($$python --version)"; \
	        $$python -m venv $(VENV) && exit; \
	        rm -rf $(VENV); exit 1; \
	    fi; \
	done; \
	echo "No Python >= 3.11 with the venv module was found. Install one (on Debian and Ubuntu with its" \
	    "python3-venv package), or name it: make PYTHON=/path/to/python3" >&2; exit 1

# A stamp that is newer than pyproject.toml says that its packages are installed.
$(STAMP)-engine: pyproject.toml | $(RUN)
	@echo "installing engine"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMP)-test $(STAMP)-check: $(STAMP)-%: $(STAMP)-engine
	@echo "installing what make $* needs"
	@$(RUN) -m pip install --quiet --disable-pip-version-check "pip>=25.1"  # the first that knows --group
	@$(RUN) -m pip install --quiet --disable-pip-version-check --group $*
	@touch $@
