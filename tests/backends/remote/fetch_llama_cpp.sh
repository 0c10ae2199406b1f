#!/bin/sh
# Downloads the source of llama-cpp-python, unpacks it in the folder $1, and prints the path of the llama.cpp source in it.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
awk '/^llama-cpp-python==/ { found = 1 } found { print } found && !/\\$/ { exit }' \
  "$root/requirements/native.txt" > "$1/source.txt"
${PYTHON:-python3} -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
  --require-hashes --requirement "$1/source.txt" --dest "$1"
tar -xzf "$1"/llama_cpp_python-*.tar.gz -C "$1"
echo "$1"/llama_cpp_python-*/vendor/llama.cpp
