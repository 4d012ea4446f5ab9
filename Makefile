# Everything here needs only Python >= 3.12, make and a package index.
# What is installed lives in $(VENV); it is installed again when pyproject.toml or constraints.txt change.

VENV ?= .venv
OUT ?= nestor-out/demo
PYTEST_ARGS ?=
FUZZ_CASES ?= 20000
# Two processes; a file stays in one of them, since its tests share compiled models. Files in their order, so
# that the many short ones of tests/unit come last and neither process ends long before the other.
PYTEST_JOBS ?= -n 2 --dist loadfile --no-loadscope-reorder
BENCH_ARGS ?=
SPHINX_ARGS ?=
RESULTS ?= benchmarks/results
WHEELS ?= wheels
GPU_HAS ?=
# Backends that `make conformance` checks, and reference posteriors that `make references` makes (none: all).
BACKENDS ?= reference numba numpyro pymc
REFERENCES ?=

BIN := $(VENV)/bin
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test fuzz lint format types docs readme bench figures wheels conformance references study constraints clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'
	@echo 'PYTHON=/path/to/python3.12 chooses the interpreter of a new $(VENV); PYTEST_ARGS="-k index" goes to pytest.'

demo: $(VENV)/.installed-all  ## fit a simulated tree with every engine, compare them, draw pictures
	$(BIN)/nestor demo --out $(OUT)

test: $(VENV)/.installed-dev  ## run the tests
	$(BIN)/python -m pytest $(PYTEST_JOBS) $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev  ## 20,000 new cases of odd tables, files, arguments and paths (a quarter of an hour)
	NESTOR_FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest tests/fuzz --timeout 3600 $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## check style, formatting and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

format: $(VENV)/.installed-dev  ## repair style and formatting where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev  ## check types
	$(BIN)/mypy

# Warnings are errors: a link to a page, a heading or a name that is not there is one. Tutorials are run; those that
# did not change are taken from the cache. HTML is in build/docs/html.
docs: $(VENV)/.installed-docs  ## build the documentation site; five tutorials are run (a few minutes, seconds when nothing changed)
	$(BIN)/python -m sphinx -b html -W --keep-going -n -q $(SPHINX_ARGS) \
	  -d build/docs/doctrees docs build/docs/html
	@echo "Look at build/docs/html/index.html"

readme: $(VENV)/.installed-dev  ## run what README and the worked example show, renew their output and pictures (minutes)
	$(BIN)/python docs/renew.py

bench: $(VENV)/.installed-dev  ## run the benchmarks
	$(BIN)/python -m pytest benchmarks/ $(BENCH_ARGS)

figures: $(VENV)/.installed-dev  ## run what docs/benchmarks.md shows (an hour; continues where it stopped), renew its tables and charts
	$(BIN)/nestor bench chem97 --out $(RESULTS)/chem97
	$(BIN)/nestor bench simulated-3-level --quick --out $(RESULTS)/simulated-3-level-quick
	$(BIN)/python benchmarks/site_tables.py $(RESULTS)

# What benchmarks/gpu.sh needs on a machine with JAX and NumPyro that can download nothing; GPU_HAS names
# packages that it has besides: GPU_HAS="pandas pyarrow".
wheels: $(VENV)/.installed-dev  ## pack nestor and its needs for a GPU machine without a network, into WHEELS
	rm -f $(WHEELS)/*.whl
	$(BIN)/python -m build --wheel --no-isolation --outdir $(WHEELS) >/dev/null
	$(BIN)/python benchmarks/needs.py $(GPU_HAS) | xargs $(PIP) download --quiet --no-deps \
	  --only-binary=:all: --python-version 3.12 --implementation cp \
	  $(foreach n,2_35 2_34 2_31 2_28 2_27 2_24 2_17,--platform manylinux_$(n)_x86_64) --platform manylinux2014_x86_64 \
	  --platform manylinux1_x86_64 --dest $(WHEELS)
	@du -sh $(WHEELS)

conformance: $(VENV)/.installed-dev  ## the whole conformance kit on every backend (about half an hour)
	@failed=; for name in $(BACKENDS); do $(BIN)/nestor conformance $$name || failed="$$failed $$name"; done; \
	if [ -n "$$failed" ]; then echo "does not conform:$$failed" >&2; exit 1; fi

references: $(VENV)/.installed-dev  ## make the reference posteriors anew (about twenty minutes)
	$(BIN)/python -m nestor.references.build $(REFERENCES)

study: $(VENV)/.installed-dev  ## measure the procedure's errors and both backends' calibration (an hour); renews docs/agreement.md
	$(BIN)/python studies/mutants.py
	$(BIN)/python studies/false_alarms.py
	$(BIN)/python studies/calibration.py

constraints: $(VENV)/pyvenv.cfg  ## move constraints.txt to the newest versions
	@$(FIND_UV); "$${uv:?is needed here, and could not be installed}" pip compile --quiet --upgrade \
	  pyproject.toml --all-extras --group dev --group docs --python-version 3.12 --no-header --no-annotate \
	  --output-file constraints.txt
	@echo "Now: make test, and look at git diff constraints.txt."

clean:  ## remove the environment, caches and build products; results in nestor-out stay
	rm -rf $(VENV) build dist docs/reference/generated docs/reference/cli.md .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find src backends tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that runs and is new enough: a launcher may exist and fail.
IS_NEW := import sys; sys.exit(sys.version_info < (3, 12))
DESCRIBE := import platform, sys; print(platform.python_version(), "at", sys.executable)

$(VENV)/pyvenv.cfg:
	@found=none; \
	for python in $(PYTHONS); do \
	  if "$$python" -c '$(IS_NEW)' 2>/dev/null; then exec "$$python" -m venv $(VENV); fi; \
	  if [ "$$found" = none ]; then found=$$("$$python" -c '$(DESCRIBE)' 2>/dev/null) || found=none; fi; \
	done; \
	echo "nestor needs Python >= 3.12; found $$found. Set PYTHON=/path/to/python3.12" >&2; exit 1

# uv installs in seconds what takes pip minutes. It does not read pip's settings: where it cannot
# reach the package index, pip does the work. Compiled once here, or by every process where Python must not write.
FIND_UV = uv=$$(command -v uv) \
  || { $(PIP) install --quiet uv >/dev/null 2>&1 && uv=$(BIN)/uv; } || uv=
INSTALL = $(FIND_UV); \
  if [ -n "$$uv" ] && "$$uv" pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt $(1); then :; else \
    echo "uv could not install; trying pip, which takes a few minutes." >&2; \
    $(PIP) install --quiet --upgrade 'pip>=25.1' && $(PIP) install --quiet -c constraints.txt $(1); \
  fi

$(VENV)/.installed-all: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing nestor and its engines into $(VENV)"
	@$(call INSTALL,-e '.[all]')
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing nestor, its engines and the development tools into $(VENV)"
	@$(call INSTALL,-e '.[all]' --group dev)
	@touch $@ $(VENV)/.installed-all

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing nestor, its engines and what builds the documentation into $(VENV)"
	@$(call INSTALL,-e '.[all]' --group docs)
	@touch $@ $(VENV)/.installed-all
