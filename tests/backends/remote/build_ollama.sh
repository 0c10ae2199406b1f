#!/bin/sh
# Builds the real Ollama that the tests run against, once, outside the repository. `make ollama` calls it.
# Where it cannot be built it says why and ends well: the tests that want it skip then, and say so too.
set -eu
version=0.13.5
place=${XDG_CACHE_HOME:-$HOME/.cache}/paragone-ollama

if [ -x "$place/ollama" ] && [ "$(cat "$place/version" 2>/dev/null)" = "$version" ]; then
  echo "Ollama $version is there: $place/ollama"
  exit 0
fi
new_enough() { # Go 1.24 or later
  [ "$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')" -ge 24 ] 2>/dev/null
}
if ! new_enough || ! command -v c++ >/dev/null; then
  echo "No Ollama: it is built with Go 1.24 or later and a C++ compiler. The tests against it will skip."
  exit 0
fi
mkdir -p "$place"
work=$(mktemp -d "$place/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A Go module comes without the folders named vendor in it, and Ollama has three libraries of headers
# in one. The source of llama-cpp-python, which is needed here anyhow, has the same three.
source=$(sh "$(dirname "$0")/fetch_llama_cpp.sh" "$work")
headers=$source/vendor

# Left alone, cgo compiles for the oldest processor of its kind, on which a token takes several times as long.
fast="-O3"
if grep -qs avx2 /proc/cpuinfo; then fast="-O3 -march=x86-64-v3"; fi
echo "Building Ollama $version into $place; this takes some minutes, once."
if ! GOBIN=$work CGO_CFLAGS=$fast CGO_CXXFLAGS=$fast CGO_CPPFLAGS=-I$headers \
  go install -ldflags "-X=github.com/ollama/ollama/version.Version=$version" "github.com/ollama/ollama@v$version" \
  > "$place/build.log" 2>&1; then
  tail -n 40 "$place/build.log" >&2
  echo "Ollama did not build; the whole log is in $place/build.log" >&2
  exit 1
fi
mv "$work/ollama" "$place/ollama"
echo "$version" > "$place/version"
