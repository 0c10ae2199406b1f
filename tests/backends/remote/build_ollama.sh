#!/bin/sh
# Builds the real Ollama that the tests run against, once, outside the repository. `make ollama` calls this script.
# If Go or a C++ compiler is missing, it prints the reason and exits with 0: the tests that need Ollama are skipped.
set -eu
version=0.13.5
place=${XDG_CACHE_HOME:-$HOME/.cache}/paragone-ollama

if [ -x "$place/ollama" ] && [ "$(cat "$place/version" 2>/dev/null)" = "$version" ]; then
  echo "Ollama $version is already built: $place/ollama"
  exit 0
fi
new_enough() { # Go 1.24 or newer
  [ "$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')" -ge 24 ] 2>/dev/null
}
if ! new_enough || ! command -v c++ >/dev/null; then
  echo "Cannot build Ollama: it needs Go 1.24 or newer and a C++ compiler. The tests against it will be skipped."
  exit 0
fi
mkdir -p "$place"
work=$(mktemp -d "$place/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Go modules are distributed without their vendor folders, and Ollama has three header-only libraries in one.
# The source of llama-cpp-python, which is needed anyway, contains the same three.
source=$(sh "$(dirname "$0")/fetch_llama_cpp.sh" "$work")
headers=$source/vendor

# By default, cgo compiles for the oldest CPU of the architecture, which makes each token take several times as long.
# x86-64-v3 has no AMX, which some compilers break (see tools/amx_flags.sh).
fast="-O3"
if grep -qs avx2 /proc/cpuinfo; then fast="-O3 -march=x86-64-v3"; fi
echo "Building Ollama $version in $place; this takes a few minutes, once."
if ! GOBIN=$work CGO_CFLAGS=$fast CGO_CXXFLAGS=$fast CGO_CPPFLAGS=-I$headers \
  go install -ldflags "-X=github.com/ollama/ollama/version.Version=$version" "github.com/ollama/ollama@v$version" \
  > "$place/build.log" 2>&1; then
  tail -n 40 "$place/build.log" >&2
  echo "Building Ollama failed; the whole log is in $place/build.log" >&2
  exit 1
fi
mv "$work/ollama" "$place/ollama"
echo "$version" > "$place/version"
