#!/bin/sh
# Builds llama-server or llama-bench, named by $1, once, outside the repository: the tests run against llama-server, and
# the bench measures against llama-bench. `make llama-server` and `make llama-bench` call this.
# The source is the llama.cpp in llama-cpp-python's, the flags are those of its own build: Release, for this machine's CPU.
set -eu
program=$1
here=$(dirname "$0")
root=$(cd "$here/../../.." && pwd)
place=${XDG_CACHE_HOME:-$HOME/.cache}/paragone-$program
version=$(sed -n 's/^llama-cpp-python==\([^ ]*\).*/\1/p' "$root/requirements/demo.txt")

if [ -x "$place/$program" ] && [ "$(cat "$place/version" 2>/dev/null)" = "$version" ]; then
  echo "The $program of llama-cpp-python $version is there: $place/$program"
  exit 0
fi
if ! command -v c++ >/dev/null; then
  echo "No $program: it is built with a C++ compiler." >&2
  exit 1
fi
mkdir -p "$place"
work=$(mktemp -d "$place/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

source=$(sh "$here/fetch_llama_cpp.sh" "$work")
# The cmake and ninja that build llama-cpp-python here build this too.
awk '/^(cmake|ninja)==/ { found = 1 } found { print } found && !/\\$/ { found = 0 }' \
  "$root/requirements/build.txt" > "$work/tools.txt"
PIP_ROOT_USER_ACTION=ignore ${PYTHON:-python3} -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/tools" \
  --require-hashes --requirement "$work/tools.txt"
PATH=$work/tools/bin:$PATH
export PATH PYTHONPATH="$work/tools"

echo "Building the $program of llama-cpp-python $version into $place; this takes ten minutes or so, once."
build() {
  cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF &&
    cmake --build "$work/build" --target "$program"
}
if ! build > "$place/build.log" 2>&1; then
  tail -n 40 "$place/build.log" >&2
  echo "$program did not build; the whole log is in $place/build.log" >&2
  exit 1
fi
mv "$work/build/bin/$program" "$place/$program"
echo "$version" > "$place/version"
