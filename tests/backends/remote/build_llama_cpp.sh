#!/bin/sh
# Builds llama-server, llama-perplexity (for the tests) or llama-bench (for the benchmarks), as named by $1, once, outside
# the repository. The make targets of these names call this script.
# The source is the llama.cpp that llama-cpp-python contains, the build flags are the same: Release, for this machine's CPU,
# without AMX where the compiler breaks it.
set -eu
program=$1
here=$(dirname "$0")
root=$(cd "$here/../../.." && pwd)
place=${XDG_CACHE_HOME:-$HOME/.cache}/paragone-$program
version=$(sed -n 's/^llama-cpp-python==\([^ ]*\).*/\1/p' "$root/requirements/native.txt")
amx_flags=$(sh "$root/tools/amx_flags.sh")
export CFLAGS="${CFLAGS-} $amx_flags" CXXFLAGS="${CXXFLAGS-} $amx_flags"
built=$(echo $version $CXXFLAGS) # with other flags it is built anew; echo drops the unneeded spaces

if [ -x "$place/$program" ] && [ "$(cat "$place/version" 2>/dev/null)" = "$built" ]; then
  echo "$program of llama-cpp-python $version is already built: $place/$program"
  exit 0
fi
if ! command -v c++ >/dev/null; then
  echo "Cannot build $program: no C++ compiler found." >&2
  exit 1
fi
mkdir -p "$place"
work=$(mktemp -d "$place/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

source=$(sh "$here/fetch_llama_cpp.sh" "$work")
# Use the same versions of cmake and ninja as for llama-cpp-python.
awk '/^(cmake|ninja)==/ { found = 1 } found { print } found && !/\\$/ { found = 0 }' \
  "$root/requirements/build.txt" > "$work/tools.txt"
PIP_ROOT_USER_ACTION=ignore ${PYTHON:-python3} -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/tools" \
  --require-hashes --requirement "$work/tools.txt"
PATH=$work/tools/bin:$PATH
export PATH PYTHONPATH="$work/tools"

echo "Building $program of llama-cpp-python $version in $place; this takes about ten minutes, once."
build() {
  cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF &&
    cmake --build "$work/build" --target "$program"
}
if ! build > "$place/build.log" 2>&1; then
  tail -n 40 "$place/build.log" >&2
  echo "Building $program failed; the whole log is in $place/build.log" >&2
  exit 1
fi
mv "$work/build/bin/$program" "$place/$program"
echo "$built" > "$place/version"
