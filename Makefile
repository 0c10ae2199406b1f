# Requirements: python3 (3.11 or newer), make, and the Python registry or a mirror of it; `make native` and the real servers
# of the tests also need a C++ compiler.
# Everything else is pinned with hashes in requirements/*.txt, which `make lock` writes from pyproject.toml.

PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin

# paragone runs with the installed python3: uv must not download another.
export UV_PYTHON_DOWNLOADS := never
# Compile llama.cpp on all cores, even if its build falls back from ninja to make.
export CMAKE_BUILD_PARALLEL_LEVEL := $(or $(CMAKE_BUILD_PARALLEL_LEVEL),$(shell getconf _NPROCESSORS_ONLN))

# Make uv trust the certificates of the system, as pip and git do, instead of its bundled list. Older versions of uv
# read the second name.
export UV_SYSTEM_CERTS := 1
export UV_NATIVE_TLS := 1

# uv does not read pip's settings: pass it the mirror that is configured for pip.
PIP_MIRROR = $$($(PYTHON) -m pip config list 2>/dev/null | sed -n "s/^[a-z]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1)
UV_PIP = mirror="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$(PIP_MIRROR)}}"; \
  env $${mirror:+UV_DEFAULT_INDEX="$$mirror"} $(UV) pip
IN_VENV := --python $(BIN)/python --build-constraints requirements/build.txt
# llama.cpp is compiled without AMX where the compiler breaks it. uv keeps the wheels that it builds: these settings are
# part of a wheel's key, so that uv does not take one that was built before with AMX.
WITHOUT_BROKEN_AMX = amx="$$(sh tools/amx_flags.sh)"; set -- $${amx:+ \
  --config-settings-package "llama-cpp-python:cmake.define.CMAKE_C_FLAGS=$$CFLAGS $$amx" \
  --config-settings-package "llama-cpp-python:cmake.define.CMAKE_CXX_FLAGS=$$CXXFLAGS $$amx"};
COMPILE = $(UV_PIP) compile --quiet --universal --python $(PYTHON) --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock' $(UPGRADE)

CORES := $(shell getconf _NPROCESSORS_ONLN)
# tests/conftest.py decides which tests share a process.
DISTRIBUTED := --dist loadgroup --no-loadscope-reorder
# $(1) processes, at most eight: forks of a process that has imported the tests. The options $(2) select the tests.
PROCESSES = --tx "$(shell echo $$(($(1) < 8 ? $(1) : 8)))*popen//python=$(BIN)/python tests/process_forks.py $(2)" $(DISTRIBUTED)
# Tests often wait for engines and screens: three processes for each core keep the cores busy.
PARALLEL = $(call PROCESSES,3 * $(CORES),$(1))
NATIVE := tests/backends/llama_cpp tests/backends/remote
WITH_TOOLS := PATH="$(CURDIR)/.tools/bin:$$PATH"
PYTEST := $(WITH_TOOLS) $(BIN)/pytest
# The tests of make check. It would run no test of the excluded folders (MARKS_BY_FOLDER in tests/conftest.py).
EXCLUDED := $(addprefix --ignore tests/,cli end_to_end on_ray screen)
FAST := $(EXCLUDED) -q --hypothesis-profile quick \
  -m 'not (model or server or install or gpu or program or slow or thorough)'
# Tests that coverage disturbs: an exception from another thread, which stops a template, can leave coverage's lock taken;
# the others list the modules that a new interpreter imports.
NOT_TRACED := --ignore tests/plugins/chat/test_template.py \
  --deselect tests/workbench/test_paths.py::test_importing_the_packages_loads_nothing_heavy \
  --deselect tests/workbench/test_store_history.py::test_importing_the_store_loads_nothing_heavy
# Before the first run, the process that forks compiles the tests and their libraries. Meanwhile, compile those that it comes
# to last, on another core.
COMPILE_LATER_TESTS = test .venv/compiled -nt .venv/dev || { touch .venv/compiled; { \
  $(BIN)/python -c "import genai_prices, plotext, pypdf, scipy.stats"; \
  $(BIN)/pytest --collect-only -p no:cacheprovider tests/workbench tests/tui; } >/dev/null 2>&1 & }
# Let Python cache compiled modules: the tests start thousands of programs, and each would compile them again.
unexport PYTHONDONTWRITEBYTECODE

# Install the wheel in the folder $(1) in an empty environment, outside of this folder, and start the program there.
START_INSTALLED = folder="$$(mktemp -d)"; trap 'rm -rf "$$folder"' EXIT; \
  $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" "$$folder/env" && \
  ($(UV_PIP) install --quiet --python "$$folder/env/bin/python" $(1)/*.whl) && \
  cd "$$folder" && HOME="$$folder" env -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_CACHE_HOME -u XDG_STATE_HOME sh -ec ' \
    env/bin/paragone --version && env/bin/paragone doctor llama_cpp && env/bin/paragone fit --help >/dev/null'

.PHONY: help demo native test test-native test-ray check quick ollama llama-server llama-bench llama-perplexity bench soak scale simulate screens reference site release changelog coverage lint formatted linted typed format lock upgrade clean
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/demo ## run paragone with two small models side by side
	@$(BIN)/paragone demo

native: .venv/native ## compile llama.cpp for this machine and use it, which is faster; needs a C++ compiler and some minutes

test: .venv/dev ## run all tests
	@$(COMPILE_LATER_TESTS)
	$(PYTEST) $(call PARALLEL)

test-native: .venv/dev .venv/native ## run the tests of llama.cpp and of the servers with the build for this machine
	$(PYTEST) $(call PARALLEL,$(NATIVE)) -m 'model or server' $(NATIVE)

test-ray: .tools/ray/installed ## run the tests of suites on a Ray cluster of two nodes, in a separate environment
	$(WITH_TOOLS) .tools/ray/bin/pytest -q tests/on_ray

check: .venv/dev ## run the fast checks, in about a minute: lint, types, tests without models, servers or installations
	@$(MAKE) --no-print-directory --jobs 2 formatted linted quick typed

ollama: ## build the real Ollama that tests run against, once, outside this folder; without Go, these tests are skipped
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_ollama.sh

llama-server: ## build the real llama-server that tests run against, once, outside this folder
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_llama_cpp.sh llama-server

llama-bench: ## build the llama-bench that `make bench` compares decoding with, once, outside this folder
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_llama_cpp.sh llama-bench

llama-perplexity: ## build the llama-perplexity that `paragone fidelity` is tested against, once, outside this folder
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_llama_cpp.sh llama-perplexity

bench: .venv/dev .venv/native ## measure the figures in docs/performance.md, each compared with a baseline
	$(BIN)/python -m bench

soak: .venv/dev ## use the program for MINUTES (10) while workers, servers and the history fail; SEED repeats a run
	$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(FOLDER),--folder $(FOLDER))

scale: .venv/dev ## measure the costs of suites of RUNS (20,000 and 100,000) runs, without their engines
	$(BIN)/python -m bench.scale $(RUNS)

simulate: .venv/dev ## simulate how often intervals contain the true value and claims are false; takes some minutes
	$(BIN)/python -m bench.simulate

screens: .venv/dev ## create the pictures of the pages
	$(BIN)/python -m docs.screens

reference: .venv/dev ## write the pages of commands, keys and settings from their declarations
	$(BIN)/python -m docs.reference

site: .tools/site/bin/zensical ## build the website of the documentation, in dist/site
	.tools/site/bin/python docs/site.py $(CURDIR)/.tools/site/bin/zensical

release: .venv/dev ## build the packages in dist, and start the installed wheel; TAG must be v and the version in pyproject.toml
	@test "$(TAG)" = "v$$($(BIN)/hatchling version)" || { echo "TAG has to be v$$($(BIN)/hatchling version): v and the version in pyproject.toml." >&2; exit 1; }
	@rm -rf dist/release
	$(BIN)/hatchling build -d dist/release
	@$(call START_INSTALLED,dist/release)
	@mv dist/release/* dist; rmdir dist/release

changelog: .venv/dev ## show the section of the changelog that the files in changes make
	@$(BIN)/towncrier build --draft --version next

coverage: .venv/dev ## run the tests of make check, and list how many lines of each module they run
	@rm -f .coverage .coverage.*
	-$(WITH_TOOLS) $(BIN)/coverage run -m pytest -n $(CORES) $(DISTRIBUTED) $(FAST) $(NOT_TRACED)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

lint: .venv/dev ## run ruff and mypy
	@$(MAKE) --no-print-directory --jobs 2 formatted linted typed

formatted: .venv/dev
	$(BIN)/ruff format --check

linted: .venv/dev
	$(BIN)/ruff check

typed: .venv/dev
	$(BIN)/mypy

quick: .venv/dev
	@$(COMPILE_LATER_TESTS)
	$(PYTEST) $(call PROCESSES,1 + 2 * $(CORES),$(EXCLUDED)) $(FAST)

format: .venv/dev ## format the code and fix lint errors
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# A separate cache: locking reads the metadata from llama.cpp's source, and in the shared cache uv would then discard the
# wheel that it built.
lock: export UV_CACHE_DIR := .tools/cache
lock: $(UV) ## pin dependencies after a change in pyproject.toml; versions that still fit are kept
	@$(COMPILE) --group uv -o requirements/uv.txt
	@$(COMPILE) --group build -o requirements/build.txt
	@$(COMPILE) pyproject.toml --group model -o requirements/demo.txt
	@$(COMPILE) pyproject.toml --extra json-schema --extra keyring --group model --group dev \
	  -c requirements/demo.txt -c requirements/build.txt -o requirements/dev.txt
	@$(COMPILE) --group native -c requirements/dev.txt -o requirements/native.txt
	@$(COMPILE) pyproject.toml --extra json-schema --extra keyring --extra ray --group model --group dev \
	  -c requirements/dev.txt -o requirements/ray.txt
	@$(COMPILE) --group site -c requirements/dev.txt -o requirements/site.txt

upgrade: UPGRADE := --upgrade
upgrade: lock ## pin the newest versions that pyproject.toml allows

clean: ## remove everything that make and the tests created in this folder
	rm -rf .venv .tools dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* snapshot_report.html

# The environment for the program; .venv/dev adds the development tools to it. If the prebuilt llama.cpp does not work
# here, the native one may.
.venv/demo: requirements/demo.txt requirements/build.txt pyproject.toml $(BIN)/python
	@echo "Installing paragone in .venv."
	@$(UV_PIP) install $(IN_VENV) --require-hashes -r requirements/demo.txt
	@$(UV_PIP) install $(IN_VENV) --no-deps --editable .
	@$(BIN)/paragone doctor llama_cpp || true
	@touch $@

.venv/dev: requirements/dev.txt requirements/build.txt pyproject.toml $(BIN)/python
	@echo "Installing paragone and its development tools in .venv."
	@$(UV_PIP) sync $(IN_VENV) --require-hashes requirements/dev.txt
	@$(UV_PIP) install $(IN_VENV) --no-deps --editable .
	@rm -f .venv/native
	@touch .venv/demo $@

# llama.cpp compiled for this machine, beside the prebuilt one. uv would keep an installed build with AMX.
.venv/native: requirements/native.txt requirements/build.txt .venv/demo
	@$(HAS_COMPILER) || { echo "No C++ compiler found; llama.cpp needs one. Install g++ or clang, then run make native again." >&2; exit 1; }
	@echo "Compiling llama.cpp for this machine, which takes a few minutes."
	@$(UV) pip uninstall --quiet --python $(BIN)/python llama-cpp-python 2>/dev/null
	@$(WITHOUT_BROKEN_AMX) $(UV_PIP) install $(IN_VENV) "$$@" --compile-bytecode --require-hashes -r requirements/native.txt
	@$(BIN)/paragone doctor llama_cpp
	@touch $@

.tools/ray/installed: requirements/ray.txt requirements/build.txt pyproject.toml | $(UV)
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .tools/ray
	@$(UV_PIP) install --quiet --python .tools/ray/bin/python --require-hashes -r requirements/ray.txt
	@$(UV_PIP) install --quiet --python .tools/ray/bin/python --build-constraints requirements/build.txt --no-deps --editable .
	@touch $@

.tools/site/bin/zensical: requirements/site.txt | $(UV)
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .tools/site
	@$(UV_PIP) install --quiet --python .tools/site/bin/python --require-hashes -r requirements/site.txt
	@touch $@

HAS_COMPILER = command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null

$(BIN)/python: | $(UV)
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv

# The uv on PATH is used if it satisfies required-version in pyproject.toml; a broken link is replaced.
$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "paragone needs Python 3.11 or newer. If yours has another name than $(PYTHON), pass it: make demo PYTHON=python3.12" >&2; exit 1; }
	@mkdir -p $(@D)
	@if uv cache dir >/dev/null 2>&1; then ln -sf "$$(command -v uv)" $@; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then echo "Downloading uv into .tools."; \
	  PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target .tools --only-binary :all: \
	    --require-hashes --requirement requirements/uv.txt && touch $@; \
	else echo "Neither uv nor pip found. Install one of them (on Debian and Ubuntu: apt install python3-pip), then run make again." >&2; \
	  exit 1; fi
