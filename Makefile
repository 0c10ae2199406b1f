# A clone needs python3 (3.11 or newer), a C++ compiler, make, and the Python registry or a mirror of it.
# requirements/*.txt pin everything else, with hashes; `make lock` writes them from pyproject.toml.

PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin

# The python3 that is here is the one that runs paragone: uv must not fetch another.
export UV_PYTHON_DOWNLOADS := never
# All cores for llama.cpp, also where its build falls back from ninja to make.
export CMAKE_BUILD_PARALLEL_LEVEL := $(or $(CMAKE_BUILD_PARALLEL_LEVEL),$(shell getconf _NPROCESSORS_ONLN))

# The certificates that this machine trusts, as pip and git use them; uv brings a list of its own otherwise. The
# second name is what older versions of uv read.
export UV_SYSTEM_CERTS := 1
export UV_NATIVE_TLS := 1

# uv does not read pip's settings: a mirror that pip is set to use is told to it.
PIP_MIRROR = $$($(PYTHON) -m pip config list 2>/dev/null | sed -n "s/^[a-z]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1)
UV_PIP = mirror="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$(PIP_MIRROR)}}"; \
  env $${mirror:+UV_DEFAULT_INDEX="$$mirror"} $(UV) pip
IN_VENV := --python $(BIN)/python --build-constraints requirements/build.txt
COMPILE = $(UV_PIP) compile --quiet --universal --python $(PYTHON) --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock' $(UPGRADE)

# tests/conftest.py says which tests keep together, and which run alone.
PYTEST := PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/pytest --maxprocesses 8 --dist loadgroup --no-loadscope-reorder

.PHONY: help demo test check quick ollama llama-server llama-bench bench screens lint formatted linted typed format lock upgrade clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/demo ## two small models side by side, in this terminal
	@$(BIN)/paragone demo

test: lint ## every check
	$(PYTEST) -n logical

check: .venv/dev ## the checks that take less than a minute: no model, no server, no program, nothing installed
	@$(MAKE) --no-print-directory --jobs 2 formatted linted quick typed

ollama: ## the real Ollama that the tests run against, built once, outside this folder; without Go they skip
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_ollama.sh

llama-server: ## the real llama-server that the tests run against, built once, outside this folder; without it they skip
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_llama_cpp.sh llama-server

llama-bench: ## the llama-bench that `make bench` measures decoding against, built once, outside this folder
	@PYTHON=$(PYTHON) sh tests/backends/remote/build_llama_cpp.sh llama-bench

bench: .venv/dev ## measure what the README claims, each figure beside its baseline
	$(BIN)/python -m bench

screens: .venv/dev ## the README's pictures of the program, made by the program
	$(BIN)/python docs/screens.py

lint: .venv/dev ## the checks of what is written alone: ruff and mypy
	@$(MAKE) --no-print-directory --jobs 2 formatted linted typed

formatted: .venv/dev
	$(BIN)/ruff format --check

linted: .venv/dev
	$(BIN)/ruff check

typed: .venv/dev
	$(BIN)/mypy

quick: .venv/dev
	$(PYTEST) -n 4 -q -m 'not (model or server or install or gpu or program or slow or alone)'

format: .venv/dev ## lay the code out
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Its own cache: locking looks into llama.cpp's source anew, and uv would forget the wheel that it built from it.
lock: export UV_CACHE_DIR := .tools/cache
lock: $(UV) ## after a change of pyproject.toml's dependencies: pin what is new, keep what still fits
	@$(COMPILE) --group uv -o requirements/uv.txt
	@$(COMPILE) --group build -o requirements/build.txt
	@$(COMPILE) pyproject.toml --extra demo --extra remote -o requirements/demo.txt
	@$(COMPILE) pyproject.toml --extra demo --extra remote --group dev \
	  -c requirements/demo.txt -c requirements/build.txt -o requirements/dev.txt

upgrade: UPGRADE := --upgrade
upgrade: lock ## the newest of everything that pyproject.toml allows

clean: ## remove what make and the tests made here
	rm -rf .venv .tools dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis snapshot_report.html

# The environment for the program; `make test` adds its own tools to the same one.
.venv/demo: requirements/demo.txt requirements/build.txt pyproject.toml $(BIN)/python
	@echo "Installing paragone in .venv. The first time, llama.cpp is compiled for this machine; that takes some minutes."
	@$(UV_PIP) install $(IN_VENV) --compile-bytecode --require-hashes -r requirements/demo.txt $(OR_SAY_WHY)
	@$(UV_PIP) install $(IN_VENV) --no-deps --editable .
	@touch $@

.venv/dev: requirements/dev.txt requirements/build.txt pyproject.toml $(BIN)/python
	@echo "Installing paragone and its checks in .venv. The first time, llama.cpp is compiled for this machine; that takes some minutes."
	@$(UV_PIP) sync $(IN_VENV) --compile-bytecode --require-hashes requirements/dev.txt $(OR_SAY_WHY)
	@$(UV_PIP) install $(IN_VENV) --no-deps --editable .
	@touch .venv/demo $@

OR_SAY_WHY = || { command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
  echo "No C++ compiler was found: llama.cpp needs one. Install g++ or clang, then run make again." >&2; exit 1; }

$(BIN)/python: | $(UV)
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv

# A uv on PATH serves if pyproject.toml's required-version lets it; a link that broke is made anew.
$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "paragone needs Python 3.11 or newer. If yours is not called $(PYTHON), say so: make demo PYTHON=python3.12" >&2; exit 1; }
	@mkdir -p $(@D)
	@if uv cache dir >/dev/null 2>&1; then ln -sf "$$(command -v uv)" $@; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then echo "Fetching uv into .tools."; \
	  PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target .tools --only-binary :all: \
	    --require-hashes --requirement requirements/uv.txt && touch $@; \
	else echo "Neither uv nor pip was found. Install one of them (on Debian and Ubuntu: apt install python3-pip), then run make again." >&2; \
	  exit 1; fi
