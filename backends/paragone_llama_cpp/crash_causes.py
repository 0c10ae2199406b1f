"""Known causes of llama.cpp's crashes."""

from __future__ import annotations

import signal

from paragone.crash_causes import CrashCause

__all__ = ["CRASH_CAUSES", "WITHOUT_AMX"]

WITHOUT_AMX = "CFLAGS=-mno-amx-int8 CXXFLAGS=-mno-amx-int8"
"""The environment for a build without ggml's AMX code, which depends on this instruction set alone."""

CRASH_CAUSES = (
    # llama.cpp's issue 20824: GCC's bug 114098 leaves the tile configuration of ggml's AMX code unwritten.
    CrashCause(
        signals=(signal.SIGSEGV, signal.SIGILL),
        build=r"\bAMX_INT8 = 1\b",
        cause="probably the Intel AMX code in its llama.cpp, which GCC before 13.3 compiles wrongly",
        cure=f"Compile it again without AMX: in a clone of paragone, `make native`; elsewhere, {WITHOUT_AMX} pip "
        "install --force-reinstall --no-deps --no-cache-dir llama-cpp-python. Or set the engine's option build to "
        "prebuilt.",
    ),
    CrashCause(
        signals=(signal.SIGILL,),
        build=r"^xllamacpp ",
        cause="the prebuilt llama.cpp needs a processor with AVX2, FMA and F16C",
        cure="Compile llama.cpp for this machine: in a clone of paragone, `make native`; elsewhere, pip install "
        "llama-cpp-python.",
    ),
)
