"""The processor's instruction sets that a build of llama.cpp uses, and what another build would add."""

from __future__ import annotations

import re
from pathlib import Path

from paragone.installation import install_command
from paragone_llama_cpp.c_api.loading import InstalledBuild, installed_builds
from paragone_llama_cpp.crash_causes import FLAGS_WITHOUT_AMX

_NOT_INSTRUCTIONS = frozenset({"LLAMAFILE", "OPENMP", "REPACK", "ACCELERATE", "KLEIDIAI"})

_FLAGS = {
    "avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI", "avx512_vbmi": "AVX512_VBMI", "avx512_bf16": "AVX512_BF16",
    "avx_vnni": "AVX_VNNI", "asimddp": "DOTPROD", "i8mm": "MATMUL_INT8", "sve": "SVE",
}  # fmt: skip
"""Instruction sets that a native build uses if the processor has them: their names in Linux and in llama.cpp."""


def features(system_info: str) -> list[str]:
    """Return the names of the features that are on in llama.cpp's system information, such as `AVX2` and `REPACK`."""
    return re.findall(r"(\w+) = 1\b", system_info)


def instructions(system_info: str) -> list[str]:
    """Return the names of the instruction sets in llama.cpp's system information, such as `AVX2`."""
    return [name for name in features(system_info) if name not in _NOT_INSTRUCTIONS]


def other_build(build: InstalledBuild, used: list[str], cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Describe the build other than `build`: its speed, and how to choose or install it.

    `used` are the instruction sets that `build` uses.
    """
    others = [other for other in installed_builds() if other.name != build.name]
    if build.name == "native":
        if others:
            return f"prebuilt: {others[0]}, slower on the CPU; choose it with the option build=prebuilt"
        return "prebuilt: needs no compiler, and is slower on the CPU"
    flags = _cpu_flags(cpuinfo)
    more = [name for flag, name in _FLAGS.items() if flag in flags and name not in used]
    gain = f"with {', '.join(more)}, faster on the CPU" if more else "not faster on this processor"
    if others:  # this build is in use because the option `build` names it
        return f"native: {others[0]}, {gain}; choose it with the option build=native"
    return f"native: compiled for this machine, {gain}; needs a C++ compiler. {_native_command(flags)}"


def _native_command(flags: frozenset[str]) -> str:
    clone = Path(__file__).parents[3]
    if (clone / "Makefile").exists():
        return f"To install it, run `make native` in {clone}."
    options = f"{FLAGS_WITHOUT_AMX} " if "amx_tile" in flags else ""
    return f"To install it: {options}{install_command('llama-cpp')}"


def _cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """Return Linux's names of the processor's features; empty on other systems."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
