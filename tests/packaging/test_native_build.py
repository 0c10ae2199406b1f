"""The builds of llama.cpp for this machine leave AMX out where the compiler breaks it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
COMPILER = """#!/bin/sh
# A test double of a C++ compiler: says whether this machine has AMX, and makes programs that end in the given way.
for argument; do last=$argument; done
case "$*" in
  *-dM*) echo "{macro}" ;;
  *) printf '#!/bin/sh\\n{end}\\n' > "$last"; chmod +x "$last" ;;
esac
"""


@pytest.fixture
def compiler(tmp_path):
    def make(*, macro="#define __AMX_INT8__ 1", end="exit 0") -> str:
        path = tmp_path / "compiler"
        path.write_text(COMPILER.format(macro=macro, end=end))
        path.chmod(0o755)
        return str(path)

    return make


def amx_flags(checkout: Path, **environment: str) -> str:
    script = checkout / "tools" / "amx_flags.sh"
    done = subprocess.run(["sh", script], env=os.environ | environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("compiles", "flags"),
    [
        ({}, ""),
        ({"end": "kill -SEGV $$"}, FLAGS),
        ({"end": "exit 1"}, FLAGS),  # the kernel does not give tile data to this process
        ({"macro": "#define __AVX2__ 1", "end": "kill -SEGV $$"}, ""),
    ],
    ids=["AMX works", "SIGSEGV", "no permission", "no AMX"],
)
def test_llama_cpp_is_built_without_amx_where_amx_crashes(checkout, compiler, compiles, flags):
    assert amx_flags(checkout, CXX=compiler(**compiles), CXXFLAGS="") == flags


def test_a_missing_compiler_is_reported_by_the_build(checkout):
    assert amx_flags(checkout, CXX="/nowhere/c++") == ""


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_flags_disable_amx(checkout):
    """With the flags, the real compiler defines no name of AMX for this machine, so that nothing is left to add."""
    if not (flags := amx_flags(checkout, CXXFLAGS="")):
        pytest.skip("this compiler has no AMX for this machine, or compiles it correctly")
    assert amx_flags(checkout, CXXFLAGS=flags) == ""


@pytest.mark.parametrize(
    ("version", "rebuilt"),
    [("{}", True), ("{} " + FLAGS, False)],
    ids=["built with AMX", "built without AMX"],
)
def test_a_program_built_with_broken_amx_is_rebuilt(checkout, compiler, tmp_path, version, rebuilt):
    pins = (checkout / "requirements" / "native.txt").read_text()
    pinned = pins.partition("\nllama-cpp-python==")[2].split()[0]
    place = tmp_path / "paragone-llama-bench"
    place.mkdir()
    (place / "llama-bench").touch(0o755)
    (place / "version").write_text(version.format(pinned) + "\n")
    tools = tmp_path / "tools"  # without c++, so that nothing is really built
    tools.mkdir()
    for tool in ("sh", "cat", "chmod", "dirname", "grep", "mktemp", "rm", "sed"):
        (tools / tool).symlink_to(shutil.which(tool))
    environment = {
        "PATH": str(tools),
        "XDG_CACHE_HOME": str(tmp_path),
        "CXX": compiler(end="kill -SEGV $$"),
    }
    script = checkout / "tests" / "backends" / "remote" / "build_llama_cpp.sh"
    done = subprocess.run(
        [tools / "sh", script, "llama-bench"], env=environment, capture_output=True, text=True
    )
    if rebuilt:
        assert (done.returncode, done.stdout) == (1, "")
        assert "no C++ compiler found" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert "is already built" in done.stdout


@pytest.mark.thorough
def test_make_compiles_llama_cpp_without_broken_amx(checkout, compiler, tmp_path):
    """The recipe runs with a double of uv that prints its arguments."""
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\nfor argument; do echo "[$argument]"; done\n')
    uv.chmod(0o755)
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", f"UV={uv}", ".venv/native"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    (command,) = (line for line in recipe if "amx_flags.sh" in line)
    for end, flags in ("kill -SEGV $$", FLAGS), ("exit 0", ""):
        environment = os.environ | {"CXX": compiler(end=end), "CFLAGS": "-g", "CXXFLAGS": "-g1"}
        called = subprocess.run(
            ["sh", "-c", command], env=environment, cwd=checkout, capture_output=True, text=True
        )
        settings = [line for line in called.stdout.splitlines() if "llama-cpp-python" in line]
        wanted = [
            f"[llama-cpp-python:cmake.define.CMAKE_C_FLAGS=-g {flags}]",
            f"[llama-cpp-python:cmake.define.CMAKE_CXX_FLAGS=-g1 {flags}]",
        ]
        assert settings == (wanted if flags else [])
