# Each target sets up what it needs; the second run sets nothing up again.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
FOLDERS := models hw sim dataflow hls_templates reports
APT := apt-get install

.PHONY: venv demo test nightly faults bench check typing clean
.DEFAULT_GOAL := venv
MAKEFLAGS += --no-print-directory

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml setup.py
	@missing=; \
	for tool in g++ make perl; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then echo "missing:$$missing; $(APT)$$missing" >&2; exit 1; fi; \
	if [ ! -x $(BIN)/python ]; then \
	    for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	        $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	        python=; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "missing: Python 3.11 or newer with venv; $(APT) python3 python3-venv" >&2; exit 1; \
	    fi; \
	    $$python -m venv $(VENV); \
	fi
	@echo "setting up $(VENV)"
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import find_libpython as f, sys; sys.exit(f.find_libpython() is None)' || \
	    { echo "missing: Python's shared library; $(APT) libpython3-dev" >&2; exit 1; }
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m moesaic.reports.demo

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not nightly" tests

nightly: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests

faults: $(STAMP)
	@$(BIN)/python tests/plant_faults.py

bench: $(STAMP)
	@$(BIN)/python -m moesaic.reports.bench

# Symbolic links, because type checkers do not follow the installed name `moesaic`.
typing:
	@mkdir -p .typing/moesaic
	@for folder in $(FOLDERS); do ln -sfn ../../$$folder .typing/moesaic/$$folder; done

check: $(STAMP) typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.typing $(BIN)/mypy -p moesaic
	MYPYPATH=.typing $(BIN)/mypy tests
	$(BIN)/lint-imports --no-logo

clean:
	rm -rf $(VENV) .typing build dist runs *.egg-info .*_cache .hypothesis
